from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Iterator

import pytest

import macaque
from commands import Command
from macaque.cli.services import _seconds, _span
from macaque.observe.discovery import TOPIC
from processes import Server, Spawn, start_server, wait_until


@pytest.fixture
def app(server: Server) -> Iterator[macaque.Server]:
    app = macaque.Server(broker=server.url, cid="shop_1")

    @app.service("orders/new", share_id="shop")
    def order(item: str) -> int:
        return len(item)

    with app, macaque.Client(broker=server.url) as client:
        assert client.call("orders/new", "milk").result() == 4
        wait_until(lambda: not isinstance(client.call(TOPIC, None).exception(), macaque.NoResponders))
        yield app


def test_services_are_listed_with_their_figures(server: Server, app: macaque.Server) -> None:
    done = Command("services", broker=server.url)
    assert (done.code, done.err) == (0, "")
    heads, row = done.out.splitlines()
    assert heads.split() == ["TOPIC", "SHARE", "SERVER", "PROCESS", "UP", "BUSY", "CALLS", "ERRORS", "P50", "P99"]
    assert re.fullmatch(r"orders/new +shop +shop_1 +\S+:\d+ +\d+ s +0/5 +1 +0 +\d+\.\d+ m?s +\d+\.\d+ m?s", row), row


def test_services_are_listed_as_json_with_their_schemas(server: Server, app: macaque.Server) -> None:
    (info,) = json.loads(Command("services", "--json", "orders/new", broker=server.url).out)
    assert info["id"] == "shop_1"
    assert info["services"][0]["request"] == {"type": "string"}


def test_a_topic_without_a_service_is_one_line_and_status_1(server: Server, app: macaque.Server) -> None:
    done = Command("services", "orders/old", broker=server.url)
    assert done.code == 1 and done.err == "macaque: no server serves orders/old\n"


def test_ping_prints_each_server_and_names_the_nearest_topic(server: Server, app: macaque.Server) -> None:
    done = Command("ping", "orders/new", broker=server.url)
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"shop_1 on \S+, process \d+: \d+\.\d ms\n", done.out)
    assert Command("ping", broker=server.url).out.startswith("shop_1 on ")
    said = Command("ping", "orders/nwe", broker=server.url).failed(1)
    assert said == "macaque: no server serves orders/nwe; did you mean orders/new?\n"


@pytest.mark.parametrize("command", ["services", "ping"])
def test_no_broker_no_server_and_a_silent_server_are_told_apart(server: Server, command: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"amqp://127.0.0.1:{taken.getsockname()[1]}"
        assert "No connection to the broker" in Command(command, broker=url).failed(2)
    assert "no server is registered at this broker" in Command(command, broker=server.url).failed(1)
    silent = macaque.Server(broker=server.url, discovery=False)
    silent.service(TOPIC, share_id="gone")(lambda data: data)
    silent.connect()
    silent.close()  # its share still takes questions
    said = Command(command, "--timeout", "0.3", broker=server.url).failed(1)
    assert "servers are registered, but none has answered within 0.3 s" in said


def test_a_broker_that_does_not_tell_whether_a_server_is_registered_is_named_as_the_cause() -> None:
    server = start_server("--like-ibm-mq")
    try:
        said = Command("ping", "--timeout", "0.3", broker=server.url).failed(1)
        assert "This broker does not tell whether there are any" in said
    finally:
        server.close()


def test_services_are_watched_until_ctrl_c(server: Server, app: macaque.Server, spawn: Spawn) -> None:
    watching = spawn(["-m", "macaque", "services", "--watch", "--timeout", "0.2", "--broker", server.url])
    watching.expect(r"orders/new[^\n]*\n(.*\n)*.*orders/new")
    watching.signal(signal.SIGINT)
    assert watching.wait() == 130


def test_times_are_shown_in_units_that_people_read() -> None:
    spans = [_span(milliseconds) for milliseconds in (-1, 59_000, 61_000, 7_200_000, 172_800_000)]
    assert spans == ["0 s", "59 s", "1 min", "2 h", "2 d"]
    assert [_seconds(seconds) for seconds in (None, 0.00123, 1.5)] == ["-", "1.23 ms", "1.50 s"]
