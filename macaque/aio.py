"""asyncio as a guest: tasks of event loops that wait for events of other threads.

The rules of this file:

* Nothing here belongs to one event loop for ever. A program may have many loops, one after the other or in threads.
* A loop is woken up once for many events. If a loop is closed, its events are dropped.
* Nothing here needs more of a loop than `create_future` and `call_soon_threadsafe`. So each loop of asyncio works:
  uvloop, the loops of Windows, and anyio over asyncio.
* asyncio is slow to import, and many programs do not need it. It is imported where a loop runs, so it is there already.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio

__all__ = ["Wakeup", "Wakeups", "in_thread"]

T = TypeVar("T")


class Wakeups:
    """The wakeups of tasks in the event loops of a process, for one client."""

    def __init__(self) -> None:
        self._local = threading.local()

    def new(self) -> Wakeup:
        """Return a wakeup for a task of the running loop. Raises RuntimeError if no loop runs in this thread."""
        import asyncio

        loop = asyncio.get_running_loop()
        bell: _Bell | None = getattr(self._local, "bell", None)
        if bell is None or bell.loop is not loop:
            bell = self._local.bell = _Bell(loop)
        return Wakeup(bell)


class Wakeup:
    """Wakes one task of an event loop. Calling it, from any thread and with any argument, ends the wait."""

    __slots__ = ("_bell", "_future")

    def __init__(self, bell: _Bell) -> None:
        self._bell = bell
        self._future: asyncio.Future[None] = bell.loop.create_future()

    def __call__(self, _: object = None) -> None:
        self._bell.ring(self._future)

    def __await__(self) -> Generator[Any, None, None]:
        return self._future.__await__()


class _Bell:
    """Sets futures of one loop, from other threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._due: deque[asyncio.Future[None]] = deque()
        self._rung = False

    def ring(self, future: asyncio.Future[None]) -> None:
        """Set a future soon. It is the first of many, or the loop knows already that some are due."""
        self._due.append(future)
        if not self._rung:  # else `_answer` has not begun, and will find this future
            self._rung = True
            try:
                self.loop.call_soon_threadsafe(self._answer)
            except RuntimeError:  # the loop is closed, and its tasks with it
                self._rung = False
                self._due.clear()

    def _answer(self) -> None:
        self._rung = False
        due = self._due
        while due:
            future = due.popleft()
            if not future.done():  # else its task was cancelled
                future.set_result(None)


async def in_thread(function: Callable[[], T]) -> T:
    """Run a function that blocks in a thread of its own, and wait for it. The thread may outlive the task."""
    import asyncio

    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]
        else:
            future.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            pass  # the loop is closed

    threading.Thread(target=run, name="macaque-aio", daemon=True).start()
    return await future
