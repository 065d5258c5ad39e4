"""A call as a future of concurrent.futures."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import Any

import pytest

import macaque

BOUND = 10.0


def test_a_call_is_a_future_of_concurrent_futures(client: macaque.Client, app: Any) -> None:
    futures = [client.call("echo", number).future() for number in range(20)]
    done, waiting = concurrent.futures.wait(futures, BOUND)
    assert not waiting
    assert sorted(future.result() for future in done) == list(range(20))
    assert {future.result() for future in concurrent.futures.as_completed(futures, BOUND)} == set(range(20))
    assert isinstance(client.call("nobody", 1).future().exception(BOUND), macaque.NoResponders)


def test_to_cancel_the_future_is_to_cancel_the_call(client: macaque.Client, app: Any) -> None:
    call = client.call("stuck", 1)
    future = call.future()
    assert future.cancel() and future.cancelled() and call.cancelled()
    assert concurrent.futures.wait([future], BOUND).done == {future}
    other = client.call("stuck", 2)
    future = other.future()
    assert other.cancel()
    assert concurrent.futures.wait([future], BOUND).done == {future}
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()


def test_a_slow_callback_delays_no_future(client: macaque.Client, app: Any) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(_: Any) -> None:
        begun.set()
        go.wait(BOUND)

    client.call("echo", 1, slow)
    assert begun.wait(BOUND)
    assert client.call("echo", 2).future().result(BOUND) == 2
    go.set()


def test_asyncio_wraps_the_future(client: macaque.Client, app: Any) -> None:
    async def main() -> Any:
        return await asyncio.wrap_future(client.call("echo", 3).future())

    assert asyncio.run(main()) == 3
