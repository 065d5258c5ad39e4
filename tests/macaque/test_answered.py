"""Whatever a function does, its caller is answered and its place in the credit comes back."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import macaque
from macaque.dead_letters import DeadLetters
from macaque.observe.health import Health
from macaque.observe.metrics import Metrics
from mqlight.addresses import Addresses
from mqlight.amqp.message import Message, decode, encode
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


class Silent(Exception):
    def __str__(self) -> Any:
        return None


class Stop(BaseException):
    """Such as gevent.Timeout: no Exception, and no request to end the process."""


class Unspeakable:
    def __repr__(self) -> str:
        raise OSError


def recursive(data: Any) -> Any:
    return recursive(data)


def fail(error: Callable[[], BaseException]) -> Callable[[Any], Any]:
    def function(data: Any) -> Any:
        raise error()

    return function


FAILING = [
    (fail(Silent), 500, "Silent"),
    (fail(Stop), 500, "Stop"),
    (fail(asyncio.CancelledError), 500, "CancelledError"),
    (fail(GeneratorExit), 500, "GeneratorExit"),
    (fail(MemoryError), 500, "MemoryError"),
    (fail(lambda: ValueError("\ud800")), 500, "ValueError"),
    (recursive, 500, "RecursionError"),
    (lambda data: Unspeakable(), 500, "TypeError"),
    (lambda data: macaque.abort(400, "wrong", details=Unspeakable()), 500, "TypeError"),
    (lambda data: macaque.abort(400, "\ud800"), 400, None),
    (lambda data: macaque.abort(10**5000, "far"), 500, "ValueError"),
    (lambda data: macaque.abort(10**100, "far"), 10**100, None),
]


@pytest.mark.parametrize("function, code, kind", FAILING, ids=range(len(FAILING)))
@pytest.mark.parametrize("idempotent_for", [None, 60])
def test_every_failure_is_answered_after_one_run_and_gives_its_place_back(
    shared_server: Server, function: Any, code: int, kind: str | None, idempotent_for: float | None
) -> None:
    runs: list[Any] = []
    app = macaque.Server(broker=shared_server.url)

    @app.service("pick", credit=1, idempotent_for=idempotent_for)
    def pick(data: Any) -> Any:
        runs.append(data)
        return data if data == "good" else function(data)

    with app, macaque.Client(broker=shared_server.url, timeout=10.0) as client:
        call = client.call("pick", "bad")
        with pytest.raises(macaque.RemoteError) as raised:
            call.result()
        assert (raised.value.code, raised.value.type) == (code, kind)
        if idempotent_for:
            assert client.call("pick", "bad", uuid=call.uuid).exception(5.0) is not None
        assert client.call("pick", "good").result() == "good"
        assert runs == ["bad", "good"]
        assert not app.unready()


class Broken(logging.Handler):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def emit(self, record: logging.LogRecord) -> None:
        raise self.error


@pytest.fixture
def broken_log() -> Iterator[None]:
    handler = Broken(OSError("the disk is full"))
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)


def test_a_log_handler_that_raises_costs_neither_answers_nor_places_nor_letters(
    broken_log: None, app: macaque.Server, client: macaque.Client, server: Server
) -> None:
    @app.service("work", share_id="w", credit=1, max_deliveries=1)
    def work(data: Any) -> Any:
        return data if data == "good" else 1 / 0

    with app:
        assert isinstance(client.call("work", "bad").exception(), macaque.RemoteError)
        assert client.call("work", "bad", callback=lambda data: None).exception() is not None
        client.notify("work", "bad").result()
        assert client.call("work", "good").result() == "good"
        told = threading.Event()
        client.call("work", "good", callback=lambda data: 1 / 0)
        client.call("work", "good", callback=lambda data: told.set())
        assert told.wait(10.0)
        with DeadLetters(server.url) as box:
            wait_until(lambda: len(box.letters) == 1)


@pytest.mark.parametrize("error", [Stop(), SystemExit(4)], ids=lambda error: type(error).__name__)
def test_a_log_handler_that_asks_for_an_exit_or_times_out_costs_no_answer(
    error: BaseException, app: macaque.Server, client: macaque.Client
) -> None:
    runs: list[Any] = []

    @app.service("work", credit=1)
    def work(data: Any) -> Any:
        runs.append(data)
        macaque.abort(400, "wrong", details=Unspeakable()) if data == "details" else fail(Silent)(data)

    handler, loggers = Broken(error), [logging.getLogger(f"macaque.{name}") for name in ("worker", "replies")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with app:
            assert isinstance(client.call("work", "text").exception(), macaque.RemoteError)
            assert isinstance(client.call("work", "details").exception(), macaque.RemoteError)
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    assert runs == ["text", "details"]


def test_a_metric_that_raises_costs_neither_answers_nor_callbacks(
    app: macaque.Server, client: macaque.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from macaque import metrics

    def broken(*_: object) -> float:
        raise RuntimeError("a metric")

    metrics.observe(app)
    metrics.observe(client)
    for name in "request_began", "request_ended", "retried", "redelivered", "connected", "call_ended":
        monkeypatch.setattr(Metrics, name, broken)
    app.service("work", share_id="w", credit=1)(lambda data: data if data else 1 / 0)
    told = threading.Event()
    with app:
        assert client.call("work", 1, callback=lambda data: told.set()).result() == 1
        assert told.wait(10.0)
        assert isinstance(client.call("work", 0).exception(), macaque.RemoteError)
        client.notify("work", 0).result()
        assert client.gather("work", 1, replies=1).result() == [1]


def test_a_fault_of_the_worker_itself_leaves_no_request_unsettled(
    app: macaque.Server, client: macaque.Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from macaque import worker

    def out_of_memory(*_: object, **__: object) -> None:
        raise MemoryError

    seen: list[int] = []

    @app.service("work", share_id="w", credit=1, idempotent_for=60, max_deliveries=3)
    def work(data: int) -> int:
        seen.append(data)
        return data

    with app:
        with monkeypatch.context() as patch:
            patch.setattr(worker.Worker, "_finish", out_of_memory)
            error = client.call("work", 1).exception()
        assert isinstance(error, macaque.RemoteError) and error.code == "undeliverable"
        assert seen == [1, 1, 1]
        assert client.call("work", 2).result() == 2
        (entry,) = app._workers.values()
        assert entry._duplicates is not None and not entry._duplicates.running


def test_a_one_way_message_whose_function_is_cancelled_is_tried_again(
    app: macaque.Server, client: macaque.Client
) -> None:
    runs: list[float] = []

    @app.service("news", share_id="w")
    def news(data: Any) -> None:
        runs.append(time.monotonic())
        if len(runs) == 1:
            raise Stop

    with app:
        client.notify("news", 1).result()
        wait_until(lambda: len(runs) == 2)
    assert runs[1] - runs[0] >= 0.25


def test_the_work_that_a_one_way_message_returns_is_done(
    app: macaque.Server, client: macaque.Client, server: Server
) -> None:
    done: list[str] = []
    app.service("news", share_id="w", max_deliveries=1)(lambda data: (done.append(letter) for letter in data))
    with app:
        client.notify("news", "abc").result()
        wait_until(lambda: done == ["a", "b", "c"])


GEVENT = """
from gevent import monkey; monkey.patch_all()
import gevent, macaque
runs = []
app = macaque.Server()
@app.service("fetch", share_id="s", credit=1)
def fetch(data):
    runs.append(data)
    if data == "killed":
        gevent.getcurrent().kill(block=False)
        gevent.sleep(5)
    if data == "slow":
        with gevent.Timeout(0.05):
            gevent.sleep(5)
    return data
with app, macaque.Client(timeout=10) as client:
    for data in "slow", "killed", "good":
        print(data, repr(client.call("fetch", data).exception()), len(runs))
"""


def test_the_timeouts_of_gevent_are_failures_as_any_other(server: Server, spawn: Spawn) -> None:
    pytest.importorskip("gevent")
    program = spawn(["-c", GEVENT], env={"MACAQUE_BROKER": server.url})
    program.expect(r"^slow RemoteError\('Timeout: 0.05 seconds \(code 500\)'\) 1$")
    program.expect(r"^killed RemoteError\('GreenletExit: .*\(code 500\)'\) 2$")
    program.expect(r"^good None 3$")
    assert program.wait() == 0


# exit()

LEAVING = """
import macaque, sys, threading
app = macaque.Server()
go = threading.Event()
@app.service("work", share_id="w")
def work(data):
    if data == "exit":
        go.set()
        sys.exit(7)
    go.wait(10)
    return data
if sys.argv[1] == "run":
    app.run(debug=True)
else:
    with app:
        print("serves work", flush=True)
        threading.Event().wait(20)
"""


@pytest.mark.parametrize("way", ["run", "start"])
def test_an_exit_is_answered_and_ends_the_process_when_what_is_in_hand_is_done(
    server: Server, spawn: Spawn, client: macaque.Client, way: str
) -> None:
    worker = spawn(["-c", LEAVING, way], ready="serves work", env={"MACAQUE_BROKER": server.url})
    other, call = client.call("work", 1), client.call("work", "exit")
    error = call.exception()
    assert isinstance(error, macaque.RemoteError)
    assert (error.code, error.type) == ("exit", "SystemExit")
    assert "ended its process: SystemExit(7)" in error.message
    assert other.result() == 1
    assert worker.wait() == 7


def test_an_exit_is_counted_by_a_code_of_its_own() -> None:
    from macaque.observe.metrics import code_of

    assert code_of("exit") == "exit"


# Functions that take too long


def slow_app(url: str, go: threading.Event, **options: Any) -> macaque.Server:
    app = macaque.Server(broker=url)

    @app.service("slow", share_id="w", **options)
    def slow(data: Any) -> Any:
        if data != "quick":
            assert go.wait(20.0)
        return {"done": data}

    return app


def test_a_function_that_does_not_return_is_answered_for_in_time_and_told_by_log_and_health(
    server: Server, client: macaque.Client, caplog: pytest.LogCaptureFixture
) -> None:
    go = threading.Event()
    app = slow_app(server.url, go, credit=2, timeout=0.2)
    with app, Health(app):
        first = client.call("slow", 1)
        with pytest.raises(macaque.RemoteError, match="slow was not done within 0.2 s") as raised:
            first.result()
        assert (raised.value.code, raised.value.type, raised.value.retryable) == (504, "Timeout", True)
        assert "slow runs for longer than its timeout of 0.2 s" in caplog.text and "1 of 2 are taken" in caplog.text
        assert client.call("slow", "quick").result() == {"done": "quick"}
        assert app.unready() == {}
        with pytest.raises(macaque.RemoteError):
            client.call("slow", 2).result()
        wait_until(app.unready)
        assert app.unready() == {
            "slow (share w)": "all 2 places are taken by functions that run for longer than their timeout"
        }
        waiting = client.call("slow", "quick")
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
        go.set()
        assert waiting.result() == {"done": "quick"}
        wait_until(lambda: not app.unready())
        assert [client.call("slow", "quick").result() for _ in range(5)] == [{"done": "quick"}] * 5
    wait_until(lambda: "too late for its caller" in caplog.text)


def test_a_function_that_is_done_in_time_is_not_told_of(
    server: Server, client: macaque.Client, caplog: pytest.LogCaptureFixture
) -> None:
    go = threading.Event()
    app = slow_app(server.url, go, timeout=5)
    with app:
        assert client.call("slow", "quick").result() == {"done": "quick"}
        (worker,) = app._workers.values()
        assert len(worker.overruns or ()) == 0
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_one_way_message_that_takes_too_long_is_tried_again_and_then_a_dead_letter(
    server: Server, client: macaque.Client
) -> None:
    go = threading.Event()
    app = slow_app(server.url, go, credit=2, timeout=0.1, max_deliveries=2)
    try:
        with app:
            client.notify("slow", 1).result()

            def letter() -> Any:
                with DeadLetters(server.url) as box:
                    return box.letters

            (found,) = wait_until(letter)
            assert (found.reason, found.count) == ("Timeout: slow was not done within 0.1 s", 2)
    finally:
        go.set()


def test_a_repeated_call_gets_the_late_result_of_the_first_and_runs_nothing(
    server: Server, client: macaque.Client
) -> None:
    go = threading.Event()
    app = slow_app(server.url, go, credit=3, timeout=0.2, idempotent_for=60)
    with app, macaque.Client(broker=server.url, timeout=10.0) as other:
        first = client.call("slow", 1, uuid="pay-1")
        second = other.call("slow", 1, uuid="pay-1")
        for call in first, second:
            error = call.exception()
            assert isinstance(error, macaque.RemoteError) and error.code == 504
        go.set()
        assert wait_until(lambda: client.call("slow", 1, uuid="pay-1").exception() is None)
        assert client.call("slow", 2, uuid="pay-1").result() == {"done": 1}
        (worker,) = app._workers.values()
        assert worker._duplicates is not None and not worker._duplicates.running
        assert len(worker.overruns or ()) == 0


# Services that call themselves


def test_a_service_that_waits_for_itself_is_told_by_name(
    app: macaque.Server, client: macaque.Client, caplog: pytest.LogCaptureFixture
) -> None:
    @app.service("sum", credit=1)
    def total(data: int) -> Any:
        return data + client.call("sum", data - 1, timeout=0.2).result() if data else 0

    with app:
        error = client.call("sum", 1).exception()
        assert isinstance(error, macaque.RemoteError) and error.type == "Timeout"
        wait_until(lambda: client.call("sum", 0).exception() is None)
    (said,) = [record.getMessage() for record in caplog.records if "waits for" in record.getMessage()]
    assert said.startswith("sum waits for sum: ") and "credit (1)" in said


def test_a_call_with_a_callback_in_a_service_is_no_circle(
    app: macaque.Server, client: macaque.Client, caplog: pytest.LogCaptureFixture
) -> None:
    told = threading.Event()

    @app.service("sum", credit=1)
    def total(data: int) -> Any:
        if data:
            client.call("sum", data - 1, lambda data: told.set())
            client.notify("sum", 0).result()
        return data

    with app:
        assert client.call("sum", 1).result() == 1
        assert told.wait(10.0)
    assert "waits for" not in caplog.text


# What the broker cannot take for now


class Listener:
    """A topic whose messages are taken only when it is told."""

    def __init__(self, url: str, topic: str) -> None:
        self.messages: list[Message] = []
        self.connection = Connection(Addresses.of(url), "listener")
        self.connection.start()
        self.connection.wait_started(10.0)
        ready = threading.Event()
        self.subscription = self.connection.subscribe(
            topic, ttl=60, credit=0, on_delivery=self._take, on_subscribed=lambda _: ready.set()
        )
        assert ready.wait(10.0)

    def _take(self, delivery: Delivery) -> None:
        self.messages.append(decode(delivery.message))
        delivery.accept()

    def send(self, topic: str, body: Any, **more: Any) -> None:
        self.connection.publish(topic, encode(Message(body=body, to=topic, **more)))


def test_a_reply_that_finds_its_queue_full_is_sent_again_until_there_is_room(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = start_server("--max-queue-bytes", "3000")
    seen: list[Any] = []
    app = macaque.Server(broker=server.url)
    app.service("work", share_id="w", credit=1)(lambda data: seen.append(data) or data)
    try:
        with app:
            caller = Listener(server.url, "response/slow")
            caller.send("response/slow", "x" * 2500)
            body = json.dumps({"uuid": "u-1", "data": "y" * 1000, "replyTo": "response/slow"})
            with caplog.at_level(logging.INFO):
                caller.send("work", body, ttl=20_000)
                wait_until(lambda: "is sent again in" in caplog.text)
            caller.connection.add_credit(caller.subscription, 10)
            wait_until(lambda: len(caller.messages) == 2)
            assert json.loads(caller.messages[1].body)["uuid"] == "u-1"
            caller.connection.stop()
        assert seen == ["y" * 1000]
    finally:
        server.close()


def test_a_reply_waits_for_a_caller_that_comes_back(app: macaque.Server, server: Server) -> None:
    app.service("work", share_id="w")(lambda data: data)
    with app:
        sender = Listener(server.url, "elsewhere")
        sender.send("work", json.dumps({"uuid": "u-1", "data": 1, "replyTo": "response/back"}), ttl=20_000)
        wait_until(lambda: next(iter(app._workers.values()))._retries._retries)
        back = Listener(server.url, "response/back")
        back.connection.add_credit(back.subscription, 10)
        wait_until(lambda: back.messages)
        assert json.loads(back.messages[0].body) == {"uuid": "u-1", "data": 1}
        for each in sender, back:
            each.connection.stop()


def test_a_dead_letter_that_is_too_large_is_kept_without_its_request(client: macaque.Client) -> None:
    server = start_server("--max-message-size", "2000")
    app = macaque.Server(broker=server.url)
    app.service("work", share_id="w", max_deliveries=1)(lambda data: 1 / 0)
    try:
        with app, macaque.Client(broker=server.url) as sender:
            sender.notify("work", "x" * 1700).result()

            def letter() -> Any:
                with DeadLetters(server.url) as box:
                    return box.letters

            (found,) = wait_until(letter)
            assert (found.count, found.data, found.message) == (1, None, b"")
            assert found.reason.startswith("ZeroDivisionError") and "the request is left out" in found.reason
            with DeadLetters(server.url) as box:
                _, failed = box.replay([found.id])
            assert "cannot be sent again" in failed[found.id]
    finally:
        server.close()


# What is no request


def test_a_bare_request_that_cannot_be_decoded_gets_an_error_reply(app: macaque.Server, server: Server) -> None:
    app.service("work", share_id="w", credit=1)(lambda data: data)
    with app:
        caller = Listener(server.url, "answers")
        caller.connection.add_credit(caller.subscription, 10)
        for number, body in enumerate(("{", "[1]")):
            caller.send("work", body, reply_to="answers", message_id=number, content_type="application/json")
        broken = encode(Message(body="x", to="work", reply_to="answers", message_id=2))[:-1] + b"\xff"
        caller.connection.publish("work", broken)
        wait_until(lambda: len(caller.messages) == 3)
        replies = {message.correlation_id: message for message in caller.messages}
        assert json.loads(replies[1].body) == [1]
        for number in 0, 2:
            properties = replies[number].properties
            assert properties is not None and properties["error-code"] == 400
            assert json.loads(replies[number].body)["type"] == "BadRequest"
        caller.connection.stop()


# Deadlines


def test_a_caller_whose_clock_is_wrong_is_answered_and_the_difference_is_told_once(
    app: macaque.Server, client: macaque.Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    app.service("echo", share_id="w")(lambda data: seen.append(data) or data)
    with app:
        for difference in -3600.0, 3600.0:
            with monkeypatch.context() as patch:
                patch.setattr(client._calls, "wall", lambda difference=difference: time.time() + difference)
                assert client.call("echo", difference, timeout=5).result() == difference
                client.notify("echo", "notice", ttl=5).result()
        wait_until(lambda: seen.count("notice") == 2)
    (said,) = [record.getMessage() for record in caplog.records if "the clock of" in record.getMessage()]
    assert f"the clock of response/{client.client_id} is 3600.0 s behind this machine's" in said


def test_a_request_without_a_time_to_live_is_judged_by_what_it_says_itself(
    app: macaque.Server, client: macaque.Client, server: Server
) -> None:
    seen: list[Any] = []
    app.service("work", share_id="w", credit=1)(seen.append)
    with app:
        sender = Listener(server.url, "elsewhere")
        for data, expires in (("late", time.time() - 60), ("early", time.time() + 60)):
            sender.send("work", json.dumps({"uuid": data, "data": data, "expires": expires * 1000}))
        wait_until(lambda: seen == ["early"])
        sender.connection.stop()


def test_the_time_that_a_request_waits_in_its_client_goes_off_its_time_to_live() -> None:
    server = start_server()
    port = server.port
    seen: list[Any] = []
    with macaque.Client(broker=server.url, timeout=20.0) as client:
        client.connect()
        server.kill()
        wait_until(lambda: not client.connected)
        short = client.notify("work", "short", ttl=0.2)
        long = client.notify("work", "long", ttl=20)
        with pytest.raises(TimeoutError):
            short.result(0.4)
        server.close()
        server = start_server(port=port)
        app = macaque.Server(broker=server.url)
        app.service("work", share_id="w")(seen.append)
        try:
            error = short.exception()
            assert isinstance(error, macaque.Timeout) and "before its time was over" in str(error)
            with app:
                if long.exception() is None:
                    wait_until(lambda: seen == ["long"])
        finally:
            server.close()
