"""Things that arrive on any thread, for one consumer: a thread that waits, or a task of a running event loop."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from macaque.aio import Wakeup

__all__ = ["Empty", "Home", "Mailbox"]

T = TypeVar("T")


class Empty(Exception):
    """There is nothing in the mailbox."""


class Home(Protocol):
    """The part of a client's calls that a mailbox uses."""

    def wait(self, lock: threading.Lock, seconds: float) -> bool:
        """Acquire a lock that is released when something arrives. Return False after `seconds`."""

    def wakeup(self) -> Wakeup:
        """Return a wakeup of a task of the running event loop."""


class Mailbox(Generic[T]):
    """A queue. `put` never blocks, so it may be called where a call ends."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._things: deque[T] = deque()
        self._waiter: Callable[[], object] | None = None
        self._busy = False
        """Whether a task waits."""

    def __len__(self) -> int:
        return len(self._things)

    def put(self, thing: T) -> None:
        with self._lock:
            self._things.append(thing)
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter()

    def get_nowait(self) -> T:
        """Return a thing that is there. Raises Empty."""
        try:
            return self._things.popleft()
        except IndexError:
            raise Empty from None

    def get(self, timeout: float) -> T:
        """Wait `timeout` seconds for a thing. Raises Empty if none has come."""
        lock = threading.Lock()
        lock.acquire()
        if self._wait_with(lock.release) and not self._home.wait(lock, max(0.0, timeout)):
            self._waiter = None
        return self.get_nowait()

    async def wait(self) -> T:
        """Wait for a thing in a task.

        Raises:
            RuntimeError: another task waits.
        """
        if self._busy:
            raise RuntimeError("Another task waits for the next value already: iterate in one task at a time.")
        self._busy = True
        try:
            if not self._things:
                wakeup = self._home.wakeup()
                if not self._wait_with(wakeup):
                    wakeup()  # something has come meanwhile
                await wakeup
        finally:
            self._busy, self._waiter = False, None
        return self.get_nowait()

    def _wait_with(self, waiter: Callable[[], object]) -> bool:
        """Have `waiter` called for the next thing. Return False if there is one now."""
        with self._lock:
            if not self._things:
                self._waiter = waiter
            return self._waiter is waiter
