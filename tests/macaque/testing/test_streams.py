"""Streams of replies in memory: a generator runs aside, while the test takes its parts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

import macaque
import macaque.testing

app = macaque.Server()
closed: list[str] = []


@app.service("count", share_id="count")
def count(number: int) -> Iterator[int]:
    try:
        for each in range(number):
            if each == 500:
                raise LookupError("no 500")
            yield each
    finally:
        closed.append("count")


@app.service("later", share_id="later")
async def later(number: int) -> AsyncIterator[int]:
    for each in range(number):
        await asyncio.sleep(0)
        yield each


@app.service("hang", timeout=None)
def hang(data: object) -> Iterator[int]:
    yield 1
    with pytest.raises(macaque.NoResponders):
        own.call("nobody", None).result()
    yield 2


own = macaque.Client()


@pytest.mark.parametrize("topic", ["count", "later"])
def test_a_stream_is_read_to_its_end_without_any_time(topic: str) -> None:
    before = set(threading.enumerate())
    with macaque.testing.client(app) as client:
        assert list(client.stream(topic, 200)) == [*range(200)]
        assert client.clock.now() == 1000.0
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("topic", ["count", "later"])
def test_a_stream_is_read_by_a_task(topic: str) -> None:
    async def test(client: macaque.testing.Client) -> list[int]:
        return [part async for part in client.stream(topic, 100)]

    with macaque.testing.client(app) as client:
        assert asyncio.run(asyncio.wait_for(test(client), 20.0)) == [*range(100)]


def test_a_stream_that_is_left_closes_its_generator() -> None:
    closed.clear()
    with macaque.testing.client(app) as client:
        with client.stream("count", 400) as parts:
            assert next(parts) == 0
        client.broker._hub.until(lambda: closed, 5.0)
        assert closed == ["count"]


def test_an_error_comes_after_the_parts_before_it() -> None:
    with macaque.testing.client(app) as client:
        parts, taken = client.stream("count", 1000), list[int]()
        with pytest.raises(macaque.RemoteError, match="no 500"):
            taken.extend(parts)
        for part in client.stream("count", 3):
            taken.append(part)
    assert taken[-3:] == [0, 1, 2]


def test_a_generator_may_call_others_between_its_parts() -> None:
    with macaque.testing.client(app, clients=[own]) as client:
        assert list(client.stream("hang", None)) == [1, 2]


def test_the_time_jumps_while_a_stream_waits_for_its_consumer() -> None:
    with macaque.testing.client(app) as client:
        parts = client.stream("count", 400, timeout=30)
        assert next(parts) == 0
        client.clock.advance(60)
        with pytest.raises(macaque.Timeout):
            list(parts)
