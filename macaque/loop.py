"""The event loop of a server, on which its coroutines run.

The rules of this file:

* The loop has a thread of its own, which starts with the first coroutine. It lives as long as the server, so that the
  connections which coroutines keep open belong to one loop.
* The loop is woken up once for many coroutines. Each runs in the Context of its request.
* However a coroutine ends, `on_end` is called once, also if it was cancelled before its first step.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio

__all__ = ["Loop"]

T = TypeVar("T")


class Loop:
    """The event loop of a server, on a thread of its own. The thread starts with the first coroutine."""

    def __init__(self, name: str) -> None:
        self.busy = 0
        """The number of coroutines that were started and have not ended."""
        self._name = name
        self._changing = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._due: deque[_Task] = deque()
        self._rung = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(
        self, make: Callable[[], Coroutine[Any, Any, T]], context: Context, on_end: Callable[[T | None], object]
    ) -> Callable[[], object]:
        """Run a coroutine in a context. Return a function that cancels it, from any thread.

        Args:
            make: makes the coroutine, in the loop.
            on_end: called in the loop with the result; with None if the coroutine was cancelled or raised.

        Raises:
            RuntimeError: the thread cannot be started.
        """
        task = _Task(make, context, on_end)
        with self._changing:
            loop = self._loop or self._open()
            self.busy += 1
            self._due.append(task)
            rings, self._rung = not self._rung, True
        if rings:
            loop.call_soon_threadsafe(self._begin, loop)
        return lambda: self._cancel(loop, task)

    def runs(self, loop: object) -> bool:
        """Return whether `loop` is the event loop of asyncio that runs the coroutines."""
        return loop is self._loop

    def stop(self, timeout: float) -> None:
        """Cancel the coroutines, give them `timeout` seconds to end, and end the loop. `start` begins a new one."""
        with self._changing:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout)

    def _open(self) -> asyncio.AbstractEventLoop:
        import asyncio  # slow, and most servers have no coroutine

        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._run, args=(loop,), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            loop.close()
            raise
        self._loop, self._thread = loop, thread
        return loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        import asyncio

        try:
            loop.run_forever()
            self._begin(loop)
            while self._tasks:
                for task in self._tasks:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(self._tasks))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._rung = False
        while self._due:
            self._begin_task(loop, self._due.popleft())

    def _begin_task(self, loop: asyncio.AbstractEventLoop, task: _Task) -> None:
        if sys.version_info >= (3, 11):
            running = loop.create_task(task.make(), context=task.context)
        else:  # the task has a copy of the context
            running = task.context.run(loop.create_task, task.make())
        task.running = running
        self._tasks.add(running)
        running.add_done_callback(partial(self._ended, task))
        if task.cancelled:
            running.cancel()

    def _ended(self, task: _Task, running: asyncio.Task[Any]) -> None:
        self._tasks.discard(running)
        failed = running.cancelled() or running.exception() is not None
        try:
            task.on_end(None if failed else running.result())
        finally:
            with self._changing:
                self.busy -= 1

    def _cancel(self, loop: asyncio.AbstractEventLoop, task: _Task) -> None:
        def cancel() -> None:
            task.cancelled = True
            if task.running is not None:
                task.running.cancel()

        try:
            loop.call_soon_threadsafe(cancel)
        except RuntimeError:
            pass  # the loop is closed, and the task has ended


class _Task:
    """A coroutine that is to run, or runs."""

    def __init__(self, make: Callable[[], Any], context: Context, on_end: Callable[[Any], object]) -> None:
        self.make = make
        self.context = context
        self.on_end = on_end
        self.running: asyncio.Task[Any] | None = None
        self.cancelled = False
