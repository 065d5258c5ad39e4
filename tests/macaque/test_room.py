"""Calls that cannot be sent at once: an event loop is never blocked. Threads are in test_calls.py."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import macaque
from macaque.aio import in_thread
from processes import Server


@contextmanager
def few_places(client: macaque.Client, places: int) -> Iterator[None]:
    pending = client._calls._pending
    before, pending._maximum = pending._maximum, places
    yield
    pending._maximum = before


def test_a_call_without_room_waits_outside_the_loop(client: macaque.Client, app: Any) -> None:
    async def main() -> list[Any]:
        with few_places(client, 3):
            stuck = [client.call("stuck", number) for number in range(3)]
            waiting = [client.call("echo", number) for number in range(20)]
            assert not any(call.done() for call in waiting)
            assert client._in_flight == 23
            app.go.set()
            return await asyncio.gather(*stuck, *waiting)

    assert asyncio.run(main()) == [0, 1, 2, *range(20)]


def test_a_call_without_room_ends_by_its_deadline_or_by_its_cancellation(client: macaque.Client, app: Any) -> None:
    async def main() -> None:
        with few_places(client, 1):
            stuck = client.call("stuck", 1)
            first = client.call("echo", 0, timeout=20.0)
            late, unwanted = client.call("echo", 1, timeout=0.1), client.call("echo", 2)
            with pytest.raises(ValueError, match="has not ended yet"):
                client.call("echo", 3, uuid=unwanted.uuid)
            assert unwanted.cancel()
            with pytest.raises(macaque.Timeout, match="did not take the request to 'echo' within 0.1 s"):
                await late
            app.go.set()
            assert await stuck == 1
            assert await first == 0
        assert unwanted.cancelled()

    asyncio.run(main())
    assert client._in_flight == 0


def test_a_call_without_a_connection_does_not_block_the_loop(nowhere: str) -> None:
    async def main() -> None:
        client = macaque.Client(broker=nowhere)
        began = time.thread_time()
        calls = [client.call("echo", number, timeout=1.0) for number in range(1200)]  # the connection takes 1000
        waiting = asyncio.gather(*calls, return_exceptions=True)
        ticks = 0
        while not waiting.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert {type(error) for error in await waiting} == {macaque.ConnectionLost}
        assert ticks > 5
        assert time.thread_time() - began < 5.0
        await in_thread(client.close)

    asyncio.run(main())


def test_an_event_loop_neither_looks_up_names_nor_connects(shared_server: Server, app: Any) -> None:
    threads: list[int] = []

    def find(callback: Any) -> None:
        threads.append(threading.get_ident())
        callback(None, shared_server.url)

    async def main() -> Any:
        async with macaque.Client(broker=find) as client:
            return await client.call("echo", 1)

    assert asyncio.run(main()) == 1
    assert threads and threading.get_ident() not in threads


def test_a_closed_client_ends_the_calls_without_room(shared_server: Server, app: Any) -> None:
    async def main() -> None:
        client = macaque.Client(broker=shared_server.url)
        with few_places(client, 1):
            calls = [client.call("stuck", 1), client.call("echo", 2)]
            await in_thread(client.close)
            errors = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(error) for error in errors} == {macaque.ConnectionLost}

    asyncio.run(main())
