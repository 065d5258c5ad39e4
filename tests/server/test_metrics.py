"""The server's figures, as Prometheus fetches them from a real server."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

import macaque
from processes import Server, start_server, wait_until

TOPIC = "figures/queue"


@pytest.fixture
def measured() -> Iterator[tuple[Server, str]]:
    """A server, and where its figures are."""
    server = start_server("--metrics-port", "0")
    yield server, server.expect(r"figures at (http://127\.0\.0\.1:\d+)/metrics")[1]
    server.close()


def figures(url: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_what_waits_for_a_share_is_a_figure_until_it_is_done(measured: tuple[Server, str]) -> None:
    server, url = measured
    queue = f'mqlight_queue_messages{{destination="share:workers:{TOPIC}"}}'
    subscribers = f'mqlight_subscribers{{destination="share:workers:{TOPIC}"}}'
    app = macaque.Server(server.url)
    done: list[int] = []
    app.service(TOPIC, share_id="workers")(done.append)
    with app:
        assert figures(url)[subscribers] == 1
        assert figures(url)["mqlight_connections"] == 1
    assert figures(url)[subscribers] == 0
    with macaque.Client(server.url) as client:
        for number in range(3):
            client.notify(TOPIC, number).result()
        assert figures(url)[queue] == 3
        assert figures(url)[queue.replace("messages", "bytes")] > 100
        with app:
            wait_until(lambda: figures(url)[queue] == 0)
            wait_until(lambda: figures(url)[queue.replace("mqlight_queue", "mqlight_unsettled")] == 0)
            assert sorted(done) == [0, 1, 2]


def test_other_paths_have_nothing(measured: tuple[Server, str]) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{measured[1]}/", timeout=5)


def test_a_port_in_use_is_one_line(measured: tuple[Server, str]) -> None:
    port = measured[1].rpartition(":")[2]
    with pytest.raises(AssertionError, match=f"cannot listen on 127.0.0.1:{port}: .*--metrics-port"):
        start_server("--metrics-port", port)


def test_messages_whose_time_is_over_are_counted() -> None:
    from mqlight.amqp.message import Message, encode
    from mqlight.server.broker import Broker
    from mqlight.server.destination import DestinationName
    from mqlight.server.publication import read_publication

    broker = Broker()
    consumer = broker.subscribe(DestinationName("t", client_id="c"), 60, lambda message, now: None, at_most_once=False)
    for _ in range(2):
        broker.publish(read_publication(encode(Message(body="x", to="t", ttl=1000)), None), 0.0)
    assert broker.expired == 0
    broker.sweep(2.0)
    assert broker.expired == 2
    broker.publish(read_publication(encode(Message(body="x", to="t", ttl=1000)), None), 10.0)
    broker.give_credit(consumer, 1, 12.0)
    assert broker.expired == 3
