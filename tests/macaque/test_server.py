from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import macaque
from mqlight.addresses import Addresses
from mqlight.amqp.message import Message, decode, encode
from mqlight.connection import Connection
from mqlight.delivery import Delivery
from processes import Server, wait_until


@pytest.fixture
def app(server: Server) -> Iterator[macaque.Server]:
    app = macaque.Server(broker=server.url)
    yield app
    app.close()


@pytest.fixture
def client(server: Server) -> Iterator[macaque.Client]:
    with macaque.Client(broker=server.url, timeout=10.0) as client:
        yield client


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    wire = Wire(server.url)
    yield wire
    wire.close()


class Wire:
    """A client that knows nothing of macaque."""

    def __init__(self, url: str) -> None:
        self.connection = Connection(Addresses.of(url), "plain")
        self.messages: list[Message] = []
        self.connection.start()
        self.connection.wait_started(10.0)

    def close(self) -> None:
        self.connection.stop()

    def listen(self, topic: str) -> None:
        def received(delivery: Delivery) -> None:
            self.messages.append(decode(delivery.message))
            delivery.accept()

        ready = threading.Event()
        self.connection.subscribe(topic, on_delivery=received, on_subscribed=lambda _: ready.set())
        assert ready.wait(10.0)

    def send(self, topic: str, body: Any, **more: Any) -> None:
        self.connection.publish(topic, encode(Message(body=body, to=topic, **more)))

    def answer(self) -> Message:
        wait_until(lambda: self.messages, what="an answer")
        return self.messages.pop(0)


# Services


def test_the_decorator_returns_the_function_unchanged(app: macaque.Server) -> None:
    def double(data: int) -> int:
        return data * 2

    assert app.service("double")(double) is double


def test_a_service_answers_with_what_its_function_returns(app: macaque.Server, client: macaque.Client) -> None:
    @app.service("double")
    def double(data: Any) -> Any:
        return data * 2

    with app:
        assert client.call("double", 21).result() == 42
        assert client.call("double", "ab").result() == "abab"
        assert client.call("double", [None]).result() == [None, None]


def test_a_service_that_is_added_while_the_server_runs_is_served(app: macaque.Server, client: macaque.Client) -> None:
    with app:
        app.service("late")(lambda data: "here")
        app.connect()
        assert client.call("late", None).result() == "here"


def test_a_service_may_serve_a_pattern_of_topics(app: macaque.Server, client: macaque.Client) -> None:
    app.service("tasks/+")(lambda data: data)
    with app:
        assert client.call("tasks/7", "x").result() == "x"


def test_a_decorator_without_its_parentheses_is_refused(app: macaque.Server) -> None:
    with pytest.raises(TypeError, match="my/topic"):
        app.service(lambda data: data)  # type: ignore[arg-type]


@pytest.mark.parametrize("credit, expected", [(1, 1), (3, 3)])
def test_credit_is_how_many_requests_are_in_work_at_a_time(
    app: macaque.Server, client: macaque.Client, credit: int, expected: int
) -> None:
    lock, go = threading.Lock(), threading.Event()
    running = most = 0

    @app.service("slow", credit=credit)
    def slow(data: Any) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go.wait(10.0)
        with lock:
            running -= 1

    with app:
        calls = [client.call("slow", number) for number in range(6)]
        wait_until(lambda: running == expected)
        go.set()
        for call in calls:
            call.result()
    assert most == expected


# Errors


def test_abort_reaches_the_caller_as_it_was_given(
    app: macaque.Server, client: macaque.Client, caplog: pytest.LogCaptureFixture
) -> None:
    @app.service("tasks")
    def tasks(data: Any) -> Any:
        macaque.abort(404, "no such task", details={"id": data}, retryable=True)

    with app, pytest.raises(macaque.RemoteError) as raised:
        client.call("tasks", 7).result()
    error = raised.value
    assert (error.code, error.message, error.type, error.details, error.retryable) == (
        404, "no such task", None, {"id": 7}, True,
    )  # fmt: skip
    assert [record for record in caplog.records if record.name.startswith("macaque") and record.exc_info] == []


def test_an_exception_answers_the_caller_and_is_logged_once_with_its_traceback(
    app: macaque.Server, client: macaque.Client, caplog: pytest.LogCaptureFixture
) -> None:
    @app.service("tasks")
    def tasks(data: Any) -> Any:
        return data["missing"]

    with app, pytest.raises(macaque.RemoteError) as raised:
        client.call("tasks", {}).result()
    error = raised.value
    assert (error.code, error.type, error.message, error.traceback) == (500, "KeyError", "'missing'", None)
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(logged) == 1 and logged[0].exc_info is not None
    assert "tasks failed on the request" in logged[0].getMessage()


def test_after_an_exception_the_service_goes_on(app: macaque.Server, client: macaque.Client) -> None:
    app.service("divide", credit=1)(lambda data: 6 / data)
    with app:
        for _ in range(20):
            with pytest.raises(macaque.RemoteError, match="ZeroDivisionError"):
                client.call("divide", 0).result()
        assert client.call("divide", 3).result() == 2.0


def test_a_result_that_json_has_no_place_for_is_an_error_of_the_service(
    app: macaque.Server, client: macaque.Client
) -> None:
    app.service("odd")(lambda data: {"value": 3j})
    with app, pytest.raises(macaque.RemoteError, match="3j is of type complex") as raised:
        client.call("odd", None).result()
    assert (raised.value.code, raised.value.type) == (500, "TypeError")


def test_details_that_json_has_no_place_for_still_make_an_error(app: macaque.Server, client: macaque.Client) -> None:
    app.service("odd")(lambda data: macaque.abort(400, "wrong", details=3j))
    with app, pytest.raises(macaque.RemoteError, match="the error of the service cannot be sent"):
        client.call("odd", None).result()


def test_a_reply_that_is_too_large_for_the_broker_is_an_error_of_the_service(spawn: Any) -> None:
    small = spawn(
        ["-m", "mqlight.server", "--port", "0", "--max-message-size", "20000"], ready=r"amqp://127\S+$"
    )  # fmt: skip
    url = small.expect(r"amqp://127\S+$")[0]
    app = macaque.Server(broker=url)
    app.service("large")(lambda size: "x" * size)
    with app, macaque.Client(broker=url, timeout=10.0) as client:
        with pytest.raises(macaque.RemoteError, match="broker refused the reply"):
            client.call("large", 30_000).result()
        assert client.call("large", 3).result() == "xxx"


# What is no request


def test_a_malformed_request_is_rejected_with_one_warning_and_the_service_goes_on(
    app: macaque.Server, client: macaque.Client, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    app.service("echo")(lambda data: data)
    with app:
        wire.send("echo", "not JSON")
        wait_until(lambda: [record for record in caplog.records if "rejected a message to echo" in record.getMessage()])
        assert client.call("echo", 1).result() == 1
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_a_request_that_has_expired_is_not_run(app: macaque.Server, client: macaque.Client, wire: Wire) -> None:
    seen: list[Any] = []
    app.service("echo", credit=1)(lambda data: seen.append(data))
    with app:
        wire.send("echo", json.dumps({"uuid": "u", "data": "old", "replyTo": "answers", "expires": 1000}))
        wait_until(lambda: client.call("echo", "new").result() is None and seen)
    assert seen == ["new"]


def test_a_request_without_an_address_for_the_reply_is_run_and_settled(app: macaque.Server, wire: Wire) -> None:
    seen: list[Any] = []
    app.service("echo", share_id="one", credit=1)(seen.append)
    with app:
        for number in range(3):
            wire.send("echo", json.dumps({"uuid": "u", "data": number}))
        wait_until(lambda: len(seen) == 3)
    with app:
        wire.send("echo", json.dumps({"uuid": "u", "data": 3}))
        wait_until(lambda: 3 in seen)
    assert seen == [0, 1, 2, 3]


# Other clients


def test_a_client_that_knows_only_amqp_can_call_a_service(app: macaque.Server, wire: Wire) -> None:
    app.service("upper")(lambda data: {"word": data["word"].upper()})
    wire.listen("answers")
    with app:
        wire.send("upper", '{"word": "one"}', reply_to="answers", message_id="m-1")
        answer = wire.answer()
        assert (json.loads(answer.body), answer.correlation_id) == ({"word": "ONE"}, "m-1")
        wire.send("upper", {"word": "two"}, reply_to="answers", correlation_id=b"\x07")
        answer = wire.answer()
        assert (json.loads(answer.body), answer.correlation_id) == ({"word": "TWO"}, b"\x07")
        wire.send("upper", 5, reply_to="answers", message_id="m-2")
        answer = wire.answer()
        reason = "'int' object is not subscriptable"
        said = {"error-code": 500, "error-message": reason, "error_code": 500, "error_message": reason}
        assert answer.properties == said


def test_a_caller_of_the_first_macaque_gets_the_reply_it_knows(app: macaque.Server, wire: Wire) -> None:
    app.service("upper")(lambda data: {"word": data["word"].upper()})
    wire.listen("response/old")
    with app:
        wire.send("upper", '{"uuid": "u-1", "data": {"word": "one"}, "replyTo": "response/old"}')
        assert json.loads(wire.answer().body) == {"uuid": "u-1", "data": {"word": "ONE"}}


def test_a_reply_that_nobody_waits_for_is_a_warning_and_its_request_is_done(
    app: macaque.Server, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []
    app.service("echo", share_id="one")(seen.append)
    with app:
        wire.send("echo", '{"uuid": "u-1", "data": 1, "replyTo": "response/gone"}')
        wait_until(lambda: [record for record in caplog.records if "no client was subscribed" in record.getMessage()])
    with app:
        pass
    assert seen == [1]


WORKER = """
import macaque, os, sys
app = macaque.Server()
@app.service("work", share_id="workers", credit=5)
def work(data):
    if data == "die":
        os.kill(os.getpid(), 9)
    return 1 / 0 if data == "fail" else os.getpid()
app.run(debug=True)
"""


# Life


def test_close_finishes_the_requests_in_hand_and_takes_no_more(server: Server, client: macaque.Client) -> None:
    app = macaque.Server(broker=server.url)
    started, go = threading.Event(), threading.Event()

    @app.service("slow", share_id="one", credit=1)
    def slow(data: int) -> int:
        started.set()
        go.wait(10.0)
        return data

    app.connect()
    first, second = client.call("slow", 1), client.call("slow", 2)
    assert started.wait(10.0)
    closing = threading.Thread(target=app.close)
    closing.start()
    with pytest.raises(TimeoutError):
        first.result(0.2)
    go.set()
    assert first.result() == 1
    closing.join(10.0)
    assert not closing.is_alive()
    with pytest.raises(TimeoutError):
        second.result(0.2)
    with app:
        assert second.result() == 2


def test_close_may_be_called_twice_and_before_the_start(app: macaque.Server) -> None:
    app.close()
    app.start()
    app.close()
    app.close()


def test_close_ends_run(app: macaque.Server, client: macaque.Client) -> None:
    app.service("echo")(lambda data: data)
    running = threading.Thread(target=app.run)
    running.start()
    app.connect()
    assert client.call("echo", 1).result() == 1
    app.close()
    running.join(10.0)
    assert not running.is_alive()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_run_and_handlers_are_what_they_were(app: macaque.Server, number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    app.service("echo")(lambda data: data)

    def interrupt() -> None:
        wait_until(lambda: signal.getsignal(number) not in before)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    app.run()
    thread.join()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_run_goes_on_trying_when_there_is_no_broker(spawn: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        env = {"MACAQUE_BROKER": f"amqp://127.0.0.1:{taken.getsockname()[1]}"}
        worker = spawn(["-c", WORKER], ready="trying again until it works", env=env)
    assert worker.returncode is None
    assert worker.stop() == 0
    assert "Traceback" not in worker.log()


def test_connect_says_at_once_that_there_is_no_broker() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"amqp://127.0.0.1:{taken.getsockname()[1]}"
        app = macaque.Server(broker=url)
        app.service("echo")(lambda data: data)
        with pytest.raises(macaque.ConnectionLost, match=url) as raised:
            app.connect()
        app.close()
    assert raised.value.url == url


def test_debug_sends_the_traceback_to_the_caller(server: Server, spawn: Any, client: macaque.Client) -> None:
    worker = spawn(["-c", WORKER], ready="serves work", env={"MACAQUE_BROKER": server.url})
    with pytest.raises(macaque.RemoteError, match="ZeroDivisionError") as raised:
        client.call("work", "fail").result()
    assert raised.value.traceback is not None and "in work" in raised.value.traceback
    worker.expect("Traceback")


def test_a_client_id_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(ValueError, match="has the character ':'"):
        macaque.Server(cid="a:b")


def test_a_broker_that_is_no_url_is_refused() -> None:
    with pytest.raises(ValueError, match="has the scheme ftp; use amqp or amqps"):
        macaque.Server(broker="ftp://nowhere")
