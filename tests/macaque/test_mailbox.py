from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from macaque.aio import Wakeup, Wakeups
from macaque.mailbox import Empty, Mailbox


class Home:
    def __init__(self) -> None:
        self.waits = 0
        self._wakeups = Wakeups()

    def wait(self, lock: threading.Lock, seconds: float) -> bool:
        self.waits += 1
        return lock.acquire(timeout=seconds)

    def wakeup(self) -> Wakeup:
        return self._wakeups.new()


def test_things_come_out_in_the_order_in_which_they_went_in() -> None:
    mailbox: Mailbox[int] = Mailbox(home := Home())
    for number in range(3):
        mailbox.put(number)
    assert [mailbox.get_nowait(), mailbox.get(1.0), mailbox.get(1.0)] == [0, 1, 2]
    assert home.waits == 0
    with pytest.raises(Empty):
        mailbox.get_nowait()
    with pytest.raises(Empty):
        mailbox.get(-1.0)
    assert home.waits == 1


def test_a_thread_and_a_task_wait_for_things_of_other_threads() -> None:
    mailbox: Mailbox[int] = Mailbox(Home())

    async def main() -> list[int]:
        timer = threading.Timer(0.01, lambda: [mailbox.put(number) for number in (2, 3)])
        timer.start()
        return [await mailbox.wait(), await mailbox.wait()]

    timer = threading.Timer(0.01, mailbox.put, [1])
    timer.start()
    assert mailbox.get(10.0) == 1
    assert asyncio.run(main()) == [2, 3]


def test_a_task_that_is_cancelled_takes_nothing() -> None:
    mailbox: Mailbox[int] = Mailbox(Home())

    async def main() -> int:
        task = asyncio.ensure_future(mailbox.wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        mailbox.put(1)
        return await mailbox.wait()

    assert asyncio.run(main()) == 1


def test_only_one_task_may_wait() -> None:
    async def main() -> None:
        mailbox: Mailbox[Any] = Mailbox(Home())
        first = asyncio.ensure_future(mailbox.wait())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="iterate in one task at a time"):
            await mailbox.wait()
        mailbox.put(1)
        assert await first == 1

    asyncio.run(main())
