from __future__ import annotations

import asyncio
import concurrent.futures
from typing import Any

import pytest

import macaque
from processes import wait_until


def test_a_call_returns_a_future_for_the_data_of_the_reply(client: macaque.Client, app: macaque.Server) -> None:
    call = client.call("echo", {"word": "one"})
    assert call.result() == {"word": "one"}
    assert call.done()
    assert call.exception() is None
    assert call.result() == {"word": "one"}


def test_several_threads_may_wait_for_one_call(client: macaque.Client, app: Any) -> None:
    call = client.call("stuck", 1)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(call.result) for _ in range(4)]
        app.go.set()
        assert [each.result(10.0) for each in waiting] == [1, 1, 1, 1]


def test_waiting_no_longer_does_not_end_the_call(client: macaque.Client, app: Any) -> None:
    call = client.call("stuck", 1)
    with pytest.raises(TimeoutError, match="it goes on"):
        call.result(0.05)
    with pytest.raises(TimeoutError):
        call.exception(0)
    assert not call.done()
    assert "pending" in repr(call)
    app.go.set()
    assert call.result() == 1
    assert "returned" in repr(call)


def test_done_callbacks_are_told_at_the_end_or_at_once(client: macaque.Client, app: Any) -> None:
    told: list[Any] = []
    call = client.call("stuck", 1)
    call.add_done_callback(told.append)
    call.add_done_callback(told.append)
    assert told == []
    app.go.set()
    wait_until(lambda: told == [call, call])
    call.add_done_callback(lambda done: told.append(done.result()))
    assert told == [call, call, 1]


def test_a_done_callback_that_would_run_nothing_is_refused(client: macaque.Client) -> None:
    call = client.call("t", 1)
    for function, said in (None, "None is not a function"), (asyncio.sleep, "is async"):
        with pytest.raises(TypeError, match=said):
            call.add_done_callback(function)  # type: ignore[arg-type]
