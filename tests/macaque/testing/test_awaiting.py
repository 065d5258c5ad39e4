"""Calls that are awaited in memory, and services that are coroutines."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import macaque
import macaque.testing

app = macaque.Server()


@app.service("greet")
def greet(name: Any) -> str:
    return f"Hello {name}"


@app.service("late", share_id="late", ttl=3600)
def late(data: Any) -> Any:
    return data


def test_a_call_is_awaited() -> None:
    before = set(threading.enumerate())

    async def test() -> None:
        with macaque.testing.client(app) as client:
            assert await client.call("greet", "Ada") == "Hello Ada"
            replies = await asyncio.gather(*(client.call("greet", number) for number in range(100)))
            assert replies == [f"Hello {number}" for number in range(100)]
            with pytest.raises(macaque.NoResponders):
                await client.call("grete", "Ada")
            assert client.clock.now() == 1000.0

    asyncio.run(test())
    assert set(threading.enumerate()) <= before


def test_an_await_takes_no_time_and_ends_at_the_deadline() -> None:
    async def test() -> None:
        with macaque.testing.Broker() as broker:
            broker.serve(app)
            broker._servers[0].close()  # its share keeps the requests
            client = broker.client()
            with pytest.raises(macaque.Timeout, match="No reply from 'late' within 30 s"):
                await client.call("late", 1)
            assert broker.clock.now() == pytest.approx(1030.0, abs=0.1)

    asyncio.run(asyncio.wait_for(test(), 20.0))


def test_other_tasks_go_on_while_one_awaits_a_call() -> None:
    async def test() -> None:
        with macaque.testing.Broker() as broker:
            broker.serve(app)
            broker._servers[0].close()
            client = broker.client()
            waiting = asyncio.ensure_future(client.call("late", 1, timeout=60))
            await asyncio.sleep(0)
            broker.serve(app)
            assert await waiting == 1
            assert broker.clock.now() < 1060.0

    asyncio.run(asyncio.wait_for(test(), 20.0))


def test_a_client_that_is_borrowed_is_awaited_too() -> None:
    async def test() -> None:
        own = macaque.Client()
        with macaque.testing.Broker() as broker, broker.borrow(own):
            broker.serve(app)
            broker._servers[0].close()
            with pytest.raises(macaque.Timeout):
                await own.call("late", 1)

    asyncio.run(asyncio.wait_for(test(), 20.0))


def coroutines(client: macaque.Client) -> macaque.Server:
    """Return an app of coroutines, some of which call others."""
    app = macaque.Server()

    @app.service("double")
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    @app.service("plain")
    def plain(number: int) -> int:
        result: int = client.call("double", number).result()
        return result

    @app.service("nested")
    async def nested(number: int) -> Any:
        return await client.call("plain", number)

    @app.service("impatient")
    async def impatient(data: Any) -> Any:
        return await client.call("late", data, timeout=5)

    @app.service("fails")
    async def fails(data: Any) -> Any:
        raise LookupError(f"no {data}")

    return app


def test_coroutines_are_called_from_a_thread_and_by_await() -> None:
    own, before = macaque.Client(), set(threading.enumerate())

    async def test(client: macaque.testing.Client) -> None:
        assert await client.call("double", 4) == 8
        assert await client.call("nested", 4) == 8
        assert await asyncio.gather(*(client.call("nested", number) for number in range(20))) == [*range(0, 40, 2)]

    with macaque.testing.client(coroutines(own), clients=[own]) as client:
        assert client.call("double", 4).result() == 8
        assert client.call("nested", 4).result() == 8
        assert list(client.map("nested", range(20))) == [*range(0, 40, 2)]
        with pytest.raises(macaque.RemoteError, match="no milk") as caught:
            client.call("fails", "milk").result()
        assert "in fails" in (caught.value.traceback or "")
        asyncio.run(asyncio.wait_for(test(client), 20.0))
    assert set(threading.enumerate()) <= before


def test_the_time_jumps_for_a_coroutine_that_awaits_a_call() -> None:
    own = macaque.Client()
    with macaque.testing.Broker() as broker, broker.borrow(own):
        broker.serve(app, coroutines(own))
        broker._servers[0].close()  # its share keeps the requests
        with pytest.raises(macaque.RemoteError, match="No reply from 'late' within 5 s"):
            broker.client().call("impatient", 1).result()
        assert broker.clock.now() == pytest.approx(1005.0, abs=0.1)


def test_a_map_is_read_in_memory_by_threads_and_tasks() -> None:
    async def test(client: macaque.testing.Client) -> list[Any]:
        return [reply async for reply in client.map("greet", range(300))]

    with macaque.testing.client(app) as client:
        expected = [f"Hello {number}" for number in range(300)]
        assert list(client.map("greet", range(300))) == expected
        assert asyncio.run(asyncio.wait_for(test(client), 20.0)) == expected


def test_a_coroutine_that_never_ends_delays_neither_its_caller_nor_the_end_for_long() -> None:
    stuck = macaque.Server()
    cancelled: list[bool] = []

    @stuck.service("stuck")
    async def hang(data: Any) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.append(True)

    with macaque.testing.client(stuck) as client:
        with pytest.raises(macaque.Timeout):
            client.call("stuck", None, timeout=0.2).result()
    assert cancelled == [True]
