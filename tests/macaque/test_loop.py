from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from macaque.loop import Loop
from processes import wait_until

BOUND = 10.0


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop("test-loop")
    yield loop
    loop.stop(BOUND)


class Ends:
    """The results of coroutines."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.ended = threading.Semaphore(0)

    def __call__(self, result: Any) -> None:
        self.results.append(result)
        self.ended.release()

    def wait(self, count: int = 1) -> list[Any]:
        for _ in range(count):
            assert self.ended.acquire(timeout=BOUND)
        return self.results


async def name() -> str:
    return threading.current_thread().name


async def forever() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise KeyError("gone")


def test_coroutines_run_on_one_thread_with_the_name_of_the_loop(loop: Loop) -> None:
    ends = Ends()
    for _ in range(3):
        loop.start(name, contextvars.copy_context(), ends)
    assert ends.wait(3) == ["test-loop"] * 3
    wait_until(lambda: not loop.busy, what="an idle loop")


def test_a_coroutine_runs_in_its_context(loop: Loop) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")
    context = contextvars.copy_context()
    context.run(variable.set, 7)
    ends = Ends()

    async def read() -> int:
        return variable.get()

    loop.start(read, context, ends)
    assert ends.wait() == [7]


def test_a_cancelled_coroutine_ends_with_none(loop: Loop) -> None:
    ends = Ends()
    cancel = loop.start(forever, contextvars.copy_context(), ends)
    assert loop.busy == 1
    cancel()
    assert ends.wait() == [None]
    cancel()


def test_a_coroutine_that_raises_ends_with_none(loop: Loop) -> None:
    ends = Ends()
    loop.start(fail, contextvars.copy_context(), ends)
    assert ends.wait() == [None]


def test_a_loop_that_stops_cancels_its_coroutines_and_their_finally_runs() -> None:
    loop, ends, cleaned = Loop("test-loop"), Ends(), threading.Event()
    begun = threading.Event()

    async def work() -> None:
        try:
            begun.set()
            await forever()
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    loop.start(work, contextvars.copy_context(), ends)
    assert begun.wait(BOUND)
    loop.stop(BOUND)
    assert cleaned.is_set() and ends.results == [None] and not loop.busy
    assert "test-loop" not in [thread.name for thread in threading.enumerate()]
    loop.stop(BOUND)
    loop.start(name, contextvars.copy_context(), ends)
    assert ends.wait(2) == [None, "test-loop"]
    loop.stop(BOUND)
