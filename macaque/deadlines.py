"""Things that are to end by a time, which all have the same number of seconds from when they are added.

The rules of this file:

* Whoever takes a thing out ends it, and nobody else can: that is how each ends exactly once.
* A thing that was taken leaves nothing behind. Time comes in as an argument, and the lock that it is given is held for
  dict operations only.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

__all__ = ["Deadlines"]

T = TypeVar("T", bound=Hashable)


class Deadlines(Generic[T]):
    """See the module. `lock` is a `threading.Lock()`, or anything else where one thread is enough."""

    def __init__(self, lock: AbstractContextManager[Any]) -> None:
        self._lock = lock
        self._ends: dict[T, float] = {}
        """Things to their deadlines, the earliest first."""

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, thing: T, at: float) -> None:
        """Keep a thing until `at`, which is not before the deadline of a thing that was added earlier."""
        with self._lock:
            self._ends[thing] = at

    def take(self, thing: T) -> bool:
        """Take a thing out. Return False when it was taken already, or is overdue and taken so."""
        with self._lock:
            return self._ends.pop(thing, None) is not None

    def overdue(self, now: float) -> list[T]:
        """Take out the things whose deadline has passed."""
        found: list[T] = []
        with self._lock:
            while self._ends:
                thing, at = next(iter(self._ends.items()))
                if at > now:
                    break
                del self._ends[thing]
                found.append(thing)
        return found

    def next(self) -> float | None:
        """Return the earliest deadline; None when there is nothing."""
        with self._lock:
            return next(iter(self._ends.values()), None)
