"""Features of RabbitMQ alone: its queues, its limits, and its answers to requests that it cannot meet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

import macaque
from mqlight import NotPermittedError
from mqlight.addresses import Addresses
from mqlight.amqp.message import Message, encode
from mqlight.amqp.types import Condition, Outcome
from mqlight.connection import Connection
from processes import ROOT, wait_until
from real_brokers import RabbitMq, script


@pytest.fixture(scope="module")
def rabbitmq() -> RabbitMq:
    return RabbitMq()


@pytest.fixture
def broker_url(rabbitmq: RabbitMq) -> str:
    return rabbitmq.url


@pytest.fixture
def connection(broker_url: str) -> Iterator[Connection]:
    connection = Connection(Addresses.of(broker_url), "rabbitmq-tests")
    connection.start()
    connection.wait_started(20)
    yield connection
    connection.stop()


def subscribe(connection: Connection, pattern: str, share: str | None = None, ttl: int = 0) -> Exception | None:
    """Return the answer of the broker or of the dialect."""
    answers: list[Exception | None] = []
    connection.subscribe(pattern, share, ttl=ttl, on_delivery=lambda delivery: None, on_subscribed=answers.append)
    wait_until(lambda: answers, 20, "an answer")
    return answers[0]


def ctl(url: str, *args: str) -> str:
    return script("rabbitmq", f"--port={urlsplit(url).port}", "ctl", *args)


def queues(url: str, topic: str) -> dict[str, str]:
    """Type by name of the queues whose name has `topic` in it."""
    lines = ctl(url, "list_queues", "name", "type", "--no-table-headers").splitlines()
    return {name: kind for name, kind in (line.split("\t") for line in lines if topic in line)}


def test_what_outlives_its_subscribers_is_a_quorum_queue_and_all_else_is_the_connections(
    connection: Connection, broker_url: str, topic: str
) -> None:
    for share, ttl in (("workers", 60), ("workers", 60), (None, 60), (None, 0)):
        subscribe(connection, f"{topic}/{share}/{ttl}/+", share, ttl)
    found = queues(broker_url, topic)
    exclusive = found.popitem() if len(found) != 3 else next(item for item in found.items() if item[1] == "classic")
    assert exclusive[0].startswith(f"private:rabbitmq-tests:{topic}/None/0/+:")
    assert {name: kind for name, kind in found.items() if name != exclusive[0]} == {
        f"share:workers:{topic}/workers/60/+": "quorum",
        f"private:rabbitmq-tests:{topic}/None/60/+": "quorum",
    }
    connection.stop()
    wait_until(lambda: exclusive[0] not in queues(broker_url, topic), what="the end of the exclusive queue")


def test_the_url_may_ask_for_classic_queues(broker_url: str, topic: str) -> None:
    connection = Connection(Addresses.of(f"{broker_url}?queues=classic"), "rabbitmq-classic")
    connection.start()
    connection.wait_started(20)
    try:
        assert subscribe(connection, topic, "workers", 60) is None
        assert queues(broker_url, topic) == {f"share:workers:{topic}": "classic"}
    finally:
        connection.stop()


def test_the_url_may_name_a_virtual_host(broker_url: str, topic: str) -> None:
    name = topic.replace("/", "-")
    ctl(broker_url, "add_vhost", name)
    try:
        ctl(broker_url, "set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        app = macaque.Server(broker=f"{broker_url}?vhost={name}")
        app.service(topic)(lambda data: data)
        with app, macaque.Client(broker=f"{broker_url}?vhost={name}") as client:
            assert client.call(topic, 1).result() == 1
            with macaque.Client(broker=broker_url) as elsewhere, pytest.raises(macaque.NoResponders):
                elsewhere.call(topic, 1).result()
    finally:
        ctl(broker_url, "delete_vhost", name)


def test_a_topic_that_makes_too_long_a_key_is_refused_with_the_limit(connection: Connection, topic: str) -> None:
    long = topic + "/" + "ü" * 128
    error = subscribe(connection, long)
    assert isinstance(error, NotPermittedError) and "limit is 255" in str(error)
    outcomes: list[tuple[Outcome, Condition | None]] = []
    message = encode(Message(body="", to=long))
    connection.publish(long, message, on_outcome=lambda *outcome: outcomes.append(outcome))
    wait_until(lambda: outcomes)
    assert outcomes[0][0] is Outcome.REJECTED and "limit is 255" in str(outcomes[0][1])


def test_a_share_of_a_long_name_has_a_queue_all_the_same(connection: Connection, topic: str) -> None:
    assert subscribe(connection, f"{topic}/{'x' * 200}", "share" * 40, 60) is None


def test_a_second_time_to_live_for_the_same_share_is_refused_with_what_to_do(
    connection: Connection, topic: str
) -> None:
    assert subscribe(connection, topic, "workers", 60) is None
    error = subscribe(connection, topic, "workers", 90)
    assert isinstance(error, NotPermittedError)
    assert "subscribe as the others do, or delete it" in str(error) and "x-expires" in str(error)


def test_an_address_of_rabbitmq_is_no_topic_to_subscribe_to(connection: Connection) -> None:
    error = subscribe(connection, "/queues/private")
    assert isinstance(error, NotPermittedError) and "addresses of its own" in str(error)


def test_a_user_without_the_permission_is_told_which_one(broker_url: str, topic: str) -> None:
    name = topic.replace("/", "-")
    ctl(broker_url, "add_user", name, "secret")
    try:
        ctl(broker_url, "set_permissions", name, "^$", ".*", ".*")
        app = macaque.Server(broker=broker_url.replace("guest:guest", f"{name}:secret"))
        app.service(topic, share_id="workers")(lambda data: data)
        with pytest.raises(macaque.ConnectionLost, match="configure access to queue .* refused"):
            app.connect()
        app.close()
    finally:
        ctl(broker_url, "delete_user", name)


def test_a_queue_that_was_deleted_is_declared_again(broker_url: str, topic: str) -> None:
    app = macaque.Server(broker=broker_url)
    app.service(topic, share_id="workers")(lambda data: data)
    with app, macaque.Client(broker=broker_url) as client:
        assert client.call(topic, 1).result() == 1
        ctl(broker_url, "delete_queue", f"share:workers:{topic}")
        wait_until(lambda: queues(broker_url, topic), 20, "the queue")
        wait_until(lambda: client.call(topic, 2).exception() is None, 20, "an answer")


def test_the_permissions_of_the_manual_are_enough(broker_url: str, topic: str) -> None:
    name = topic.replace("/", "-")
    manual = (ROOT / "docs" / "brokers.md").read_text(encoding="utf-8")
    found = re.search(r"rabbitmqctl set_permissions fish '(\S+)' '(\S+)' '(\S+)'", manual)
    assert found
    ctl(broker_url, "add_user", name, "secret")
    try:
        ctl(broker_url, "set_permissions", name, *found.groups())
        url = broker_url.replace("guest:guest", f"{name}:secret")
        app = macaque.Server(broker=url)
        app.service(topic, share_id="workers")(lambda data: data)
        app.service(f"{topic}/alone")(lambda data: data)
        with app, macaque.Client(broker=url) as client:
            assert [client.call(each, 1).result() for each in (topic, f"{topic}/alone")] == [1, 1]
    finally:
        ctl(broker_url, "delete_user", name)
