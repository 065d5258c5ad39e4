"""Requests that come again, fail, come twice, or can never be done."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import macaque
from macaque.dead_letter import DeadLetter
from macaque.dead_letters import DeadLetters
from mqlight.addresses import Addresses
from mqlight.amqp.capabilities import Marks
from mqlight.amqp.message import Message, encode
from mqlight.connection import Connection
from mqlight.delivery import Delivery
from processes import Server, Spawn, start_server, wait_until


@pytest.fixture
def app(server: Server) -> Iterator[macaque.Server]:
    app = macaque.Server(broker=server.url)
    yield app
    app.close()


@pytest.fixture
def client(server: Server) -> Iterator[macaque.Client]:
    with macaque.Client(broker=server.url, timeout=10.0) as client:
        yield client


def letters(url: str) -> list[DeadLetter]:
    with DeadLetters(url) as box:
        return box.letters


def dead_letter(url: str) -> DeadLetter:
    """The one that there is, or is about to be."""
    found = wait_until(lambda: letters(url), what="a dead letter")
    assert len(found) == 1
    return found[0]


# Requests that nobody survives

COUNTING = """
import macaque, os, sys
app = macaque.Server()
@app.service("deadly", share_id="w", max_deliveries=int(sys.argv[2]))
def deadly(data):
    with open(sys.argv[1], "a") as file:
        file.write("run\\n")
    os.kill(os.getpid(), 9)
app.run(debug=True)
"""


@pytest.mark.parametrize("most", [1, 3])
def test_a_request_that_kills_its_workers_runs_exactly_as_often_as_it_may(
    server: Server, spawn: Spawn, client: macaque.Client, tmp_path: Path, most: int
) -> None:
    log = tmp_path / "runs"
    env = {"MACAQUE_BROKER": server.url}
    for _ in range(most + 1):
        spawn(["-c", COUNTING, str(log), str(most)], ready="serves deadly", env=env)
    with pytest.raises(macaque.RemoteError, match="failed [13] delivery attempts? at"):
        client.call("deadly", "die").result()
    assert log.read_text().split() == ["run"] * most


@pytest.mark.parametrize("most", [1, 2])
def test_a_request_whose_connections_are_cut_before_it_begins_is_never_a_dead_letter(
    app: macaque.Server, server: Server, client: macaque.Client, most: int
) -> None:
    marks = Marks.EVERY if most == 1 else Marks.REDELIVERED
    call = None
    for _ in range(4):
        got: queue.Queue[Delivery] = queue.Queue()
        victim = Connection(Addresses.of(server.url), "victim")
        victim.start()
        victim.wait_started(10.0)
        victim.subscribe("work", "w", ttl=60, credit=1, marks=marks, on_delivery=got.put)
        call = call or client.call("work", 1)
        got.get(timeout=10.0)
        victim._outlet.driver.abort()  # type: ignore[union-attr]
        victim.abandon() if hasattr(victim, "abandon") else victim.stop()
    app.service("work", share_id="w", max_deliveries=most)(lambda data: data + 1)
    with app:
        assert call is not None and call.result() == 2


DEADLY = """
import macaque, os
app = macaque.Server()
@app.service("deadly", share_id="w", max_deliveries=2)
def deadly(data):
    if data == "die":
        os.kill(os.getpid(), 9)
    return data
app.run(debug=True)
"""


def test_a_request_that_kills_its_workers_is_a_dead_letter_and_its_caller_is_told(
    server: Server, spawn: Spawn, client: macaque.Client
) -> None:
    env = {"MACAQUE_BROKER": server.url}
    first, second, last = (spawn(["-c", DEADLY], ready="serves deadly", env=env) for _ in range(3))
    call = client.call("deadly", "die")
    with pytest.raises(macaque.RemoteError, match="failed 2 delivery attempts at deadly") as raised:
        call.result()
    assert (raised.value.code, raised.value.details) == ("undeliverable", {"count": 2})
    assert [worker.returncode for worker in (first, second, last)].count(None) == 1
    assert client.call("deadly", "live").result() == "live"
    letter = dead_letter(server.url)
    assert (letter.endpoint, letter.topic, letter.share, letter.count) == ("deadly", "deadly", "w", 2)
    assert (letter.source, letter.data) == (f"response/{client.client_id}", "die")
    assert letter.reason == "no worker settled it in 2 delivery attempts"
    assert abs(letter.time / 1000 - time.time()) < 60


def test_a_request_that_comes_again_below_the_limit_is_run(app: macaque.Server, server: Server) -> None:
    seen: list[Any] = []
    app.service("work", share_id="w", max_deliveries=3)(seen.append)
    app.service("works", share_id="w", max_deliveries=3)(seen.append)
    redeliver(server.url, "work", {"uuid": "u", "data": "twice tried"}, 2)
    redeliver(server.url, "works", {"uuid": "u", "data": "often tried"}, 3)
    with app:
        wait_until(lambda: seen)
        assert dead_letter(server.url).data == "often tried"
    assert seen == ["twice tried"]


def redeliver(url: str, topic: str, body: object, count: int) -> None:
    """Send a request to the share `w` of a topic, and give it back as tried `count` times."""
    got: queue.Queue[Delivery] = queue.Queue()
    connection = Connection(Addresses.of(url), "plain")
    connection.start()
    connection.wait_started(10.0)
    connection.subscribe(topic, "w", ttl=60, credit=1, on_delivery=got.put)
    send(connection, topic, body)
    for number in range(count):
        delivery = got.get(timeout=10.0)
        if number == count - 1:
            connection.pause()
        delivery.fail()
    connection.stop()


def send(connection: Connection, topic: str, body: object) -> None:
    connection.publish(topic, encode(Message(body=json.dumps(body), to=topic)))


def test_the_dead_letters_outlive_all_servers_and_make_no_other_topic_look_served(
    app: macaque.Server, server: Server, client: macaque.Client
) -> None:
    app.service("work", share_id="w", ttl=0)(lambda data: data)
    redeliver(server.url, "work", {"uuid": "u", "data": 1}, 9)
    with app:
        with pytest.raises(macaque.NoResponders):
            client.call("nobody", 1).result()
        wait_until(lambda: letters(server.url))
    for topic in "work", "nobody", "macaque":
        with pytest.raises(macaque.NoResponders):
            client.call(topic, 1).result()
    assert dead_letter(server.url).data == 1


def test_what_the_broker_does_not_keep_as_a_dead_letter_stays_a_request(caplog: pytest.LogCaptureFixture) -> None:
    server = start_server("--max-queue-bytes", "1024")
    seen: list[int] = []
    try:
        app = macaque.Server(broker=server.url)
        app.service("work", share_id="w")(lambda data: seen.append(len(data)))
        redeliver(server.url, "work", {"uuid": "u", "data": "x" * 2000}, 5)
        with app:
            wait_until(lambda: [record for record in caplog.records if "was not kept" in record.getMessage()])
            assert letters(server.url) == []
        heir = macaque.Server(broker=server.url)
        heir.service("work", share_id="w", max_deliveries=10)(lambda data: seen.append(len(data)))
        with heir:
            wait_until(lambda: seen == [2000])
    finally:
        server.close()


# One-way messages


def test_a_notice_is_done_when_the_server_has_it(app: macaque.Server, client: macaque.Client) -> None:
    seen: list[Any] = []
    app.service("news", share_id="w")(seen.append)
    with app:
        notice = client.notify("news", {"n": 1})
        assert notice.result() is None
        wait_until(lambda: seen == [{"n": 1}])


def test_a_notice_to_nobody_says_so(client: macaque.Client) -> None:
    with pytest.raises(macaque.NoResponders, match="nobody"):
        client.notify("nobody", 1).result()


def test_a_notice_waits_for_a_shared_service_until_its_ttl_is_over(server: Server, client: macaque.Client) -> None:
    seen: list[str] = []

    def worker() -> macaque.Server:
        app = macaque.Server(broker=server.url)
        app.service("news", share_id="w", credit=1)(seen.append)
        return app

    with worker():
        pass
    client.notify("news", "soon old", ttl=0.05).result()
    client.notify("news", "for ever").result()
    expired = threading.Event()
    expired.wait(0.1)
    with worker():
        wait_until(lambda: "for ever" in seen)
    assert seen == ["for ever"]


@pytest.mark.parametrize("ttl, kind", [(0, ValueError), (-1.0, ValueError), ("5", TypeError), (True, TypeError)])
def test_a_ttl_that_cannot_be_one_is_refused(shared_server: Server, ttl: Any, kind: type[Exception]) -> None:
    with macaque.Client(broker=shared_server.url) as client, pytest.raises(kind, match="The ttl"):
        client.notify("news", 1, ttl=ttl)


def test_a_notice_that_fails_is_tried_again_later_and_holds_nobody_up(
    app: macaque.Server, server: Server, client: macaque.Client
) -> None:
    seen: list[Any] = []
    attempts: list[float] = []

    @app.service("news", share_id="w", credit=1)
    def news(data: Any) -> None:
        seen.append(data)
        if data == "flaky":
            attempts.append(time.monotonic())
            if len(attempts) < 3:
                raise KeyError("not yet")

    with app:
        for data in "flaky", "first", "second":
            client.notify("news", data).result()
        wait_until(lambda: len(attempts) == 3)
    assert seen == ["flaky", "first", "second", "flaky", "flaky"]
    assert attempts[1] - attempts[0] >= 0.25 and attempts[2] - attempts[1] >= 0.5
    assert letters(server.url) == []


def test_a_notice_that_fails_too_often_is_a_dead_letter(
    app: macaque.Server, server: Server, client: macaque.Client, caplog: pytest.LogCaptureFixture
) -> None:
    app.service("news/+", share_id="w", max_deliveries=2)(lambda data: data["missing"])
    with app:
        client.notify("news/today", {"n": 1}).result()
        letter = dead_letter(server.url)
    assert (letter.endpoint, letter.topic, letter.count) == ("news/+", "news/today", 2)
    assert (letter.reason, letter.source, letter.data) == ("KeyError: 'missing'", client.client_id, {"n": 1})
    assert letter.server == app.client_id
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_a_notice_that_its_service_aborts_is_a_dead_letter_at_once(
    app: macaque.Server, server: Server, client: macaque.Client
) -> None:
    seen: list[Any] = []

    @app.service("news", share_id="w")
    def news(data: Any) -> None:
        seen.append(data)
        macaque.abort(400, "no such news", retryable=data == "again")

    with app:
        client.notify("news", "wrong").result()
        assert dead_letter(server.url).reason == "no such news"
        client.notify("news", "again").result()
        wait_until(lambda: seen.count("again") == 2)
    assert seen.count("wrong") == 1


def test_a_call_whose_service_raises_is_not_tried_again(app: macaque.Server, client: macaque.Client) -> None:
    seen: list[Any] = []

    @app.service("work", share_id="w")
    def work(data: Any) -> None:
        seen.append(data)
        raise KeyError(data)

    with app:
        with pytest.raises(macaque.RemoteError):
            client.call("work", 1).result()
    with app:
        pass
    assert seen == [1]


def test_what_waits_for_its_next_attempt_goes_to_another_server_when_this_one_leaves(
    server: Server, client: macaque.Client
) -> None:
    failed, seen = threading.Event(), threading.Event()

    def fail(data: Any) -> None:
        failed.set()
        raise KeyError(data)

    first, second = (macaque.Server(broker=server.url) for _ in range(2))
    first.service("news", share_id="w", max_deliveries=100)(fail)
    second.service("news", share_id="w", max_deliveries=100)(lambda data: seen.set())
    redeliver(server.url, "news", {"uuid": "u", "data": 1}, 50)
    with first:  # the next attempt would be in half a minute
        assert failed.wait(10.0)
        second.connect()
    assert seen.wait(10.0)
    second.close()


# Calls that come twice


class Counted:
    """A service that counts, and can be held up."""

    def __init__(self) -> None:
        self.runs = 0
        self.go = threading.Event()
        self.go.set()

    def __call__(self, data: Any) -> Any:
        self.runs += 1
        assert self.go.wait(10.0)
        if data == "busy":
            macaque.abort(503, "busy", retryable=True)
        if data == "wrong":
            raise KeyError("wrong")
        return {"run": self.runs}


@pytest.fixture
def counted(app: macaque.Server) -> Counted:
    counted = Counted()
    app.service("pay", share_id="w", idempotent_for=60)(counted)
    app.connect()
    return counted


def test_a_repeated_call_gets_the_first_answer(counted: Counted, client: macaque.Client, server: Server) -> None:
    first = client.call("pay", 1, uuid="pay-1")
    assert first.uuid == "pay-1"
    assert first.result() == {"run": 1}
    assert client.call("pay", 1, uuid="pay-1").result() == {"run": 1}
    with macaque.Client(broker=server.url, timeout=10.0) as other:
        assert other.call("pay", 1, uuid="pay-1").result() == {"run": 1}
    assert client.call("pay", 1).result() == client.call("pay", 1, uuid=first.uuid).result() | {"run": 2}
    assert counted.runs == 2


def test_a_call_that_comes_while_the_first_is_run_waits_for_its_answer(
    counted: Counted, client: macaque.Client, server: Server
) -> None:
    counted.go.clear()
    with macaque.Client(broker=server.url, timeout=10.0) as other:
        calls = [client.call("pay", 1, uuid="pay-1")]
        wait_until(lambda: counted.runs == 1)
        calls.append(other.call("pay", 1, uuid="pay-1"))
        with pytest.raises(TimeoutError):
            calls[1].result(0.1)
        counted.go.set()
        assert [call.result() for call in calls] == [{"run": 1}, {"run": 1}]
    assert counted.runs == 1


def test_a_request_that_the_broker_delivers_again_is_not_run_again(
    counted: Counted, client: macaque.Client, server: Server
) -> None:
    client.call("pay", 1, uuid="pay-1").result()
    again = macaque.Client(broker=server.url, cid="again", timeout=10.0)
    with again:
        again.connect()
        connection = Connection(Addresses.of(server.url), "plain")
        connection.start()
        connection.wait_started(10.0)
        send(connection, "pay", {"uuid": "pay-1", "data": 1, "replyTo": "response/again"})
        connection.stop()
        assert client.call("pay", 1, uuid="pay-2").result() == {"run": 2}
    assert counted.runs == 2


def test_an_error_is_an_answer_unless_it_may_be_tried_again(counted: Counted, client: macaque.Client) -> None:
    for _ in range(2):
        with pytest.raises(macaque.RemoteError, match="KeyError"):
            client.call("pay", "wrong", uuid="pay-1").result()
    assert counted.runs == 1
    for _ in range(2):
        with pytest.raises(macaque.RemoteError, match="busy"):
            client.call("pay", "busy", uuid="pay-2").result()
    assert counted.runs == 3


def test_after_the_window_a_call_is_run_again(app: macaque.Server, client: macaque.Client) -> None:
    counted = Counted()
    app.service("pay", idempotent_for=0.05)(counted)
    with app:
        assert client.call("pay", 1, uuid="pay-1").result() == {"run": 1}
        wait_until(lambda: client.call("pay", 1, uuid="pay-1").result() != {"run": 1})


def test_without_being_asked_for_a_repeated_call_is_run_again(app: macaque.Server, client: macaque.Client) -> None:
    counted = Counted()
    app.service("pay")(counted)
    with app:
        assert [client.call("pay", 1, uuid="u").result() for _ in range(2)] == [{"run": 1}, {"run": 2}]


def test_a_notice_that_comes_twice_is_run_once(counted: Counted, client: macaque.Client) -> None:
    for _ in range(2):
        client.notify("pay", 1, uuid="pay-1").result()
    assert client.call("pay", 2, uuid="pay-2").result() == {"run": 2}
    assert counted.runs == 2


@pytest.mark.parametrize(
    "uuid, kind, said", [(7, TypeError, "not a str"), ("", ValueError, "1 to 256"), ("a\n", ValueError, "printed")]
)
def test_a_uuid_that_cannot_be_one_is_refused(
    shared_server: Server, uuid: Any, kind: type[Exception], said: str
) -> None:
    with macaque.Client(broker=shared_server.url) as client, pytest.raises(kind, match=said):
        client.call("pay", 1, uuid=uuid)


def test_a_uuid_that_is_in_use_is_refused(counted: Counted, client: macaque.Client) -> None:
    counted.go.clear()
    call = client.call("pay", 1, uuid="pay-1")
    with pytest.raises(ValueError, match="'pay-1' has not ended yet"):
        client.call("pay", 1, uuid="pay-1")
    counted.go.set()
    call.result()


# Their limits


def test_requests_wait_no_longer_than_the_ttl_of_their_service(server: Server, client: macaque.Client) -> None:
    app = macaque.Server(broker=server.url)
    app.service("brief", share_id="w", ttl=0)(lambda data: data)
    app.service("long", share_id="w", ttl=60)(lambda data: data)
    with app:
        pass
    with pytest.raises(macaque.NoResponders):
        client.notify("brief", 1).result()
    assert client.notify("long", 1).result() is None


def test_logging_of_a_quiet_life_has_no_warning(
    app: macaque.Server, client: macaque.Client, caplog: pytest.LogCaptureFixture
) -> None:
    app.service("echo", share_id="w", idempotent_for=1)(lambda data: data)
    with app:
        assert client.call("echo", 1).result() == 1
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
