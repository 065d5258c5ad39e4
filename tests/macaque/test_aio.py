"""Calls that are awaited: any event loop, none of it for ever, and never blocked."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import subprocess
import sys
import threading
from typing import Any

import anyio
import pytest

import macaque
from macaque.aio import Wakeups, in_thread
from processes import Server, wait_until

BOUND = 10.0


def echo_all(client: macaque.Client, count: int) -> list[Any]:
    """Await that many calls of `echo` in a new event loop."""

    async def main() -> list[Any]:
        return await asyncio.gather(*(client.call("echo", number) for number in range(count)))

    return asyncio.run(main())


def test_a_call_is_awaited(client: macaque.Client, app: macaque.Server) -> None:
    async def main() -> Any:
        return await client.call("echo", {"word": "alive"})

    assert asyncio.run(main()) == {"word": "alive"}


def test_one_client_serves_three_event_loops_one_after_the_other(client: macaque.Client, app: macaque.Server) -> None:
    for _ in range(3):
        assert echo_all(client, 50) == list(range(50))


def test_one_client_serves_three_event_loops_in_three_threads(client: macaque.Client, app: macaque.Server) -> None:
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        results = [pool.submit(echo_all, client, 100) for _ in range(3)]
        assert [result.result(BOUND) for result in results] == [list(range(100))] * 3


def test_a_client_is_an_asynchronous_context_manager(shared_server: Server, app: macaque.Server) -> None:
    async def main() -> Any:
        async with macaque.Client(broker=shared_server.url) as client:
            result = await client.call("echo", 1)
        with pytest.raises(macaque.ConnectionLost, match="was closed"):
            client.call("echo", 2)
        return result

    assert asyncio.run(main()) == 1


def test_a_call_is_awaited_under_anyio(client: macaque.Client, app: macaque.Server) -> None:
    async def main() -> list[Any]:
        results = []

        async def one(number: int) -> None:
            results.append(await client.call("echo", number))

        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(one, number)
        with anyio.move_on_after(0.05) as scope:
            await client.call("stuck", 1)
        assert scope.cancelled_caught
        return sorted(results)

    assert anyio.run(main) == list(range(10))
    assert client._in_flight == 0


def test_a_call_is_awaited_on_uvloop(client: macaque.Client, app: macaque.Server) -> None:
    uvloop = pytest.importorskip("uvloop")
    loop = uvloop.new_event_loop()
    try:
        assert loop.run_until_complete(_echo(client, "alive")) == "alive"
    finally:
        loop.close()


async def _echo(client: macaque.Client, data: Any) -> Any:
    return await client.call("echo", data)


def test_several_tasks_and_threads_wait_for_one_call(client: macaque.Client, app: Any) -> None:
    call = client.call("stuck", 7)

    async def main() -> list[Any]:
        tasks = [asyncio.ensure_future(_await(call)) for _ in range(3)]
        await asyncio.sleep(0)
        app.go.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == [7, 7, 7]
    assert call.result() == 7


async def _await(call: macaque.Call) -> Any:
    return await call


def test_an_error_of_the_call_is_raised_by_await(client: macaque.Client) -> None:
    async def main() -> None:
        with pytest.raises(macaque.NoResponders, match="No service listens on the topic 'nobody/here'"):
            await client.call("nobody/here", 1)

    asyncio.run(main())


# Cancellation


def test_a_cancelled_task_ends_its_call_at_once(client: macaque.Client, app: Any) -> None:
    async def main() -> macaque.Call:
        call = client.call("stuck", 1)
        task = asyncio.ensure_future(_await(call))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return call

    call = asyncio.run(main())
    assert client._in_flight == 0
    assert call.done() and call.cancelled()
    with pytest.raises(macaque.Cancelled, match="The call of 'stuck' was cancelled."):
        call.result()
    with pytest.raises(concurrent.futures.CancelledError):
        call.result()
    assert not call.cancel()


def test_wait_for_bounds_a_call_that_is_not_answered(client: macaque.Client, app: Any) -> None:
    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.call("stuck", 1), 0.05)

    asyncio.run(main())
    assert client._in_flight == 0
    app.go.set()
    assert client.call("echo", 2).result() == 2  # and the late reply goes to nobody


def test_a_reply_that_comes_after_the_cancellation_is_dropped(client: macaque.Client, app: Any) -> None:
    calls = [client.call("stuck", number) for number in range(5)]
    wait_until(lambda: all(call._accepted for call in calls), what="the requests")
    assert [call.cancel() for call in calls] == [True] * 5
    app.go.set()
    assert client.call("echo", 1).result() == 1
    assert all(call.cancelled() for call in calls)


def test_a_cancelled_call_tells_its_callbacks(client: macaque.Client, app: Any) -> None:
    told: concurrent.futures.Future[Any] = concurrent.futures.Future()
    ended: concurrent.futures.Future[Any] = concurrent.futures.Future()
    call = client.call("stuck", 1, print, on_error=told.set_result)
    call.add_done_callback(ended.set_result)
    assert call.cancel()
    assert isinstance(told.result(BOUND), macaque.Cancelled)
    assert ended.result(BOUND) is call


def test_a_gathering_is_cancelled_too(client: macaque.Client, app: Any) -> None:
    gathering = client.gather("echo", 1, timeout=20.0)
    wait_until(lambda: client._calls._gatherings, what="the first reply")
    assert gathering.cancel()
    with pytest.raises(macaque.Cancelled):
        gathering.result()


def test_the_timeout_of_a_call_is_every_timeout_error(client: macaque.Client, app: Any) -> None:
    async def main() -> None:
        for kind in TimeoutError, asyncio.TimeoutError, concurrent.futures.TimeoutError:
            with pytest.raises(kind):
                await client.call("stuck", 1, timeout=0.05)

    asyncio.run(main())


# The ends of clients and loops


def test_a_closed_client_fails_every_awaited_call(shared_server: Server, app: Any) -> None:
    async def main() -> list[Any]:
        client = macaque.Client(broker=shared_server.url)
        calls = [client.call("stuck", number) for number in range(3)]
        waiting = asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(0)
        await in_thread(client.close)
        return await waiting

    errors = asyncio.run(main())
    assert [type(error) for error in errors] == [macaque.ConnectionLost] * 3
    assert "The client was closed before 'stuck' answered." in str(errors[0])


def test_a_reply_to_a_closed_event_loop_is_dropped_quietly(
    client: macaque.Client, app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.new_event_loop()
    coroutine = _await(call := client.call("stuck", 1))

    async def first_step() -> None:
        coroutine.send(None)

    loop.run_until_complete(first_step())
    loop.close()
    app.go.set()
    assert call.result() == 1
    assert client.call("echo", 2).result() == 2
    assert not caplog.records
    coroutine.close()


def test_many_replies_wake_a_loop_once() -> None:
    async def main() -> tuple[int, int]:
        loop, wakeups, rung = asyncio.get_running_loop(), Wakeups(), 0
        plain = loop.call_soon_threadsafe

        def counted(*args: Any) -> Any:
            nonlocal rung
            rung += 1
            return plain(*args)

        loop.call_soon_threadsafe = counted  # type: ignore[method-assign]
        waiting = [wakeups.new() for _ in range(100)]
        thread = threading.Thread(target=lambda: [wakeup() for wakeup in waiting])
        thread.start()
        thread.join()  # the loop is busy meanwhile
        for wakeup in waiting:
            await wakeup
        return rung, len(waiting)

    assert asyncio.run(main()) == (1, 100)


def test_an_event_loop_is_needed_to_await() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        Wakeups().new()


def test_a_thread_gives_its_result_or_its_error_to_the_loop() -> None:
    def fail() -> None:
        raise KeyError("gone")

    async def main() -> None:
        assert await in_thread(threading.get_ident) != threading.get_ident()
        with pytest.raises(KeyError, match="gone"):
            await in_thread(fail)

    asyncio.run(main())


def test_an_awaited_call_leaves_nothing_behind(client: macaque.Client, app: Any) -> None:
    echo_all(client, 10)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(3):
        echo_all(client, 100)
    gc.collect()
    assert len(gc.get_objects()) - before < 200


@pytest.mark.skipif(sys.version_info < (3, 11), reason="macaque.Timeout is asyncio's TimeoutError there")
def test_a_program_without_an_event_loop_does_not_import_asyncio() -> None:
    program = "import sys, macaque, macaque.testing; print('asyncio' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
