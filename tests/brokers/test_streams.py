"""Streams, maps and cancelled calls, on every broker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import macaque
from processes import wait_until

BOUND = 30.0


def test_a_stream_arrives_whole_and_in_order(app: macaque.Server, client: macaque.Client, topic: str) -> None:
    @app.service(topic, share_id="w")
    def count(limit: int) -> Iterator[int]:
        yield from range(limit)

    @app.service(f"{topic}/async", share_id="w")
    async def count_too(limit: int) -> AsyncIterator[int]:
        for number in range(limit):
            yield number

    async def main() -> list[Any]:
        async with client.stream(f"{topic}/async", 200) as parts:
            return [part async for part in parts]

    with app:
        assert list(client.stream(topic, 200)) == list(range(200))
        assert asyncio.run(main()) == list(range(200))


def test_a_consumer_that_stops_reading_stops_the_generator(
    app: macaque.Server, client: macaque.Client, topic: str
) -> None:
    yielded = 0
    closed = threading.Event()

    @app.service(topic)
    def endless(_: Any) -> Iterator[int]:
        nonlocal yielded
        try:
            while True:
                yielded += 1
                yield yielded
        finally:
            closed.set()

    with app:
        with client.stream(topic, None) as parts:
            assert [next(parts) for _ in range(100)] == list(range(1, 101))
            assert yielded <= 100 + 32
        assert closed.wait(BOUND)


def test_an_error_comes_after_the_parts(app: macaque.Server, client: macaque.Client, topic: str) -> None:
    @app.service(topic)
    def failing(count: int) -> Iterator[int]:
        yield from range(count)
        macaque.abort(410, "no more")

    with app:
        parts = client.stream(topic, 50)
        assert [next(parts) for _ in range(50)] == list(range(50))
        with pytest.raises(macaque.RemoteError, match="no more"):
            next(parts)


def test_a_cancelled_call_stops_an_async_service(app: macaque.Server, client: macaque.Client, topic: str) -> None:
    begun, ended = threading.Event(), threading.Event()

    @app.service(topic, share_id="w")
    async def wait(_: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with app:
        wait_until(lambda: app._workers and all(w._cancels._listens for w in app._workers.values()), what="the start")
        call = client.call(topic, None)
        assert begun.wait(BOUND)
        assert call.cancel()
        assert ended.wait(BOUND)


def test_a_map_has_a_result_for_each_item(app: macaque.Server, client: macaque.Client, topic: str) -> None:
    app.service(topic, share_id="w", credit=20)(lambda number: number * number)
    with app:
        assert list(client.map(topic, range(300))) == [number * number for number in range(300)]
