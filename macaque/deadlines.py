"""Things with deadlines, for example calls. Each ends the same number of seconds after it was added.

The rules of this file:

* Only the code that takes a thing out ends it: so each thing ends exactly once.
* A thing that was taken out leaves nothing behind. Time is an argument. The given lock is held for dict operations
  only.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

__all__ = ["Deadlines"]

T = TypeVar("T", bound=Hashable)


class Deadlines(Generic[T]):
    """Things with deadlines: see the module. `lock` is a `threading.Lock()`, or a dummy if there is only one thread."""

    def __init__(self, lock: AbstractContextManager[Any]) -> None:
        self._lock = lock
        self._ends: dict[T, float] = {}
        """Things and their deadlines, the earliest first."""

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, thing: T, at: float) -> None:
        """Keep a thing until `at`. Deadlines must be added in order."""
        with self._lock:
            self._ends[thing] = at

    def take(self, thing: T) -> bool:
        """Take a thing out. Return False if it was already taken, by this function or as overdue."""
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
        """Return the earliest deadline, or None if there is no thing."""
        with self._lock:
            return next(iter(self._ends.values()), None)
