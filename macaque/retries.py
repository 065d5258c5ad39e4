"""Items that wait after a failed attempt, and the length of the pause before the next one.

Pure: time and chance are arguments. The given lock is held for a few instructions.
"""

from __future__ import annotations

import heapq
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

__all__ = ["LONGEST", "Retries", "delay"]

SHORTEST = 0.5
LONGEST = 60.0

T = TypeVar("T")


def delay(count: int, chance: float) -> float:
    """Return the seconds to wait after `count` failed attempts.

    The pause doubles each time, from half a second to a minute. `chance` (0 to 1) shortens it by up to a half, so that
    messages that failed together are not tried together.
    """
    return min(LONGEST, SHORTEST * 2.0 ** min(count - 1, 30)) * (1.0 - chance / 2)


class Retries(Generic[T]):
    """Items that wait, each until its own time."""

    def __init__(self, lock: AbstractContextManager[Any]) -> None:
        self._lock = lock
        self._heap: list[tuple[float, int, T]] = []
        self._number = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, at: float, item: T) -> bool:
        """Keep an item until `at`. After `close`, return False and do not keep it."""
        with self._lock:
            if self._closed:
                return False
            self._number += 1
            heapq.heappush(self._heap, (at, self._number, item))
            return True

    def due(self, now: float) -> list[T]:
        """Take out the items whose time has come, in the order of their times."""
        due = []
        with self._lock:
            while self._heap and self._heap[0][0] <= now:
                due.append(heapq.heappop(self._heap)[2])
        return due

    def next_due(self) -> float | None:
        with self._lock:
            return self._heap[0][0] if self._heap else None

    def close(self) -> list[T]:
        """Take out all items, and keep no more."""
        with self._lock:
            self._closed = True
            items = [item for _, _, item in sorted(self._heap, key=lambda entry: entry[:2])]
            self._heap.clear()
            return items
