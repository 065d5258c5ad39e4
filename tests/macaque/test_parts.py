"""Streams of replies, on the side of the service."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import macaque
from processes import Server, wait_until

BOUND = 10.0


@pytest.fixture
def app(shared_server: Server) -> macaque.Server:
    return macaque.Server(broker=shared_server.url)


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


def test_a_decorator_may_hide_the_generator(app: macaque.Server, client: macaque.Client) -> None:
    @functools.wraps(numbers)
    def wrapper(count: int) -> Any:
        return numbers(count)

    app.service("numbers")(wrapper)
    with app:
        assert list(client.stream("numbers", 100)) == list(range(100))
        with pytest.raises(macaque.RemoteError, match=r"call it with client.stream\(\)"):
            client.call("numbers", 3).result()


def test_each_step_runs_in_the_context_of_the_request(app: macaque.Server, client: macaque.Client) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    @app.before_request
    def begin() -> None:
        variable.set(7)

    @app.service("context")
    def context(_: Any) -> Iterator[Any]:
        for _ in range(3):
            variable.set(variable.get() + 1)
            yield [variable.get(), macaque.request.topic]

    with app:
        assert list(client.stream("context", None)) == [[8, "context"], [9, "context"], [10, "context"]]


def test_the_hook_after_a_request_sees_the_end_of_a_stream(app: macaque.Server, client: macaque.Client) -> None:
    seen: list[Any] = []
    app.after_request(lambda reply: seen.append(reply.error))
    app.service("numbers")(numbers)

    @app.service("failing")
    def failing(_: Any) -> Iterator[int]:
        yield 1
        macaque.abort(404, "no such word")

    with app:
        assert list(client.stream("numbers", 3)) == [0, 1, 2]
        with pytest.raises(macaque.RemoteError, match="no such word"):
            list(client.stream("failing", None))
    assert seen[0] is None and seen[1].code == 404


def test_a_one_way_message_runs_a_generator_to_its_end(app: macaque.Server, client: macaque.Client) -> None:
    done = threading.Event()

    @app.service("import")
    def read(count: int) -> Iterator[int]:
        yield from range(count)
        done.set()

    with app:
        client.notify("import", 100).result()
        assert done.wait(BOUND)


def test_the_timeout_of_a_service_ends_its_stream(app: macaque.Server, client: macaque.Client) -> None:
    closed = threading.Event()

    @app.service("endless", timeout=0.3)
    def endless(_: Any) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    with app:
        parts = client.stream("endless", None)
        with pytest.raises(macaque.RemoteError, match=r"endless was not done within 0.3 s \(code 504\)"):
            for _ in parts:
                pass
        assert closed.wait(BOUND)


def test_a_consumer_without_time_ends_the_generator(app: macaque.Server, client: macaque.Client) -> None:
    closed = threading.Event()

    @app.service("endless", credit=1)
    def endless(_: Any) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    with app:
        parts = client.stream("endless", None, timeout=0.3)  # nobody takes its parts
        assert closed.wait(BOUND)
        with pytest.raises(macaque.Timeout):
            list(parts)


def test_a_server_that_closes_sends_the_parts_that_are_granted(app: macaque.Server, client: macaque.Client) -> None:
    go, paused = threading.Event(), threading.Event()

    @app.service("numbers", share_id="w")
    def gated(count: int) -> Iterator[int]:
        for number in range(count):
            if number == 1:
                paused.set()
                go.wait(BOUND)
            yield number

    app.connect()
    short, long = client.stream("numbers", 20), client.stream("numbers", 200)
    assert (next(short), next(long)) == (0, 0)
    assert paused.wait(BOUND)
    closing = threading.Thread(target=app.close)
    closing.start()
    wait_until(lambda: app._inbox.leaving, what="the server that stops")
    go.set()
    assert list(short) == list(range(1, 20))
    assert [next(long) for _ in range(1, 32)] == list(range(1, 32))
    with pytest.raises(macaque.StreamBroken, match="broken after 32 parts: its server stops"):
        next(long)
    closing.join(BOUND)
    assert not closing.is_alive()


def test_a_server_that_closes_breaks_off_a_stream_that_waits(
    app: macaque.Server, client: macaque.Client, caplog: pytest.LogCaptureFixture
) -> None:
    @app.service("news", share_id="w")
    async def news(_: Any) -> AsyncIterator[int]:
        yield 0
        await asyncio.Event().wait()

    app.connect()
    parts = client.stream("news", None)
    assert next(parts) == 0
    app.close(timeout=1.0)
    with pytest.raises(macaque.StreamBroken, match="broken after 1 parts: its server stops"):
        next(parts)
    assert "unfinished" not in caplog.text and "Traceback" not in caplog.text


def test_a_server_that_closes_breaks_off_a_slow_generator_at_its_next_part(
    app: macaque.Server, client: macaque.Client
) -> None:
    go = threading.Event()

    @app.service("news", share_id="w")
    def news(_: Any) -> Iterator[int]:
        for number in range(20):
            yield number
            go.wait(BOUND)

    app.connect()
    parts = client.stream("news", None)
    assert next(parts) == 0
    closing = threading.Thread(target=app.close, args=(2.0,))
    closing.start()
    wait_until(lambda: app._inbox.leaving and app._inbox.left() < 0, what="the time of the streams")
    go.set()
    assert next(parts) == 1
    with pytest.raises(macaque.StreamBroken, match="broken after 2 parts: its server stops"):
        next(parts)
    closing.join(BOUND)
    assert not closing.is_alive()


def test_a_stream_that_ended_leaves_nothing_behind(app: macaque.Server, client: macaque.Client) -> None:
    app.service("numbers")(numbers)
    with app:
        for _ in range(20):
            list(client.stream("numbers", 5))
        with client.stream("numbers", 1000) as parts:
            next(parts)
        (worker,) = app._workers.values()
        wait_until(lambda: not app._inbox._streams, what="the end of all streams")
        assert not worker._cancels._running
    assert client._in_flight == 0


def test_what_a_stream_yields_is_not_remembered(app: macaque.Server) -> None:
    with pytest.raises(ValueError, match="numbers streams its replies, which idempotent_for does not remember"):
        app.service("numbers", idempotent_for=60)(numbers)


def test_a_hidden_generator_is_not_remembered_either(app: macaque.Server, client: macaque.Client) -> None:
    app.service("numbers", idempotent_for=60)(lambda count: numbers(count))
    with app, pytest.raises(macaque.RemoteError, match="which idempotent_for does not remember"):
        list(client.stream("numbers", 3))


def test_a_message_to_the_control_topic_that_is_none_is_rejected(app: macaque.Server, client: macaque.Client) -> None:
    app.service("numbers")(numbers)
    with app:
        call = client.notify(f"macaque/stream/{app.client_id}/1", 1)
        assert call.exception(BOUND) is None
        assert list(client.stream("numbers", 100)) == list(range(100))
