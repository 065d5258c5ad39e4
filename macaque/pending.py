"""The calls that wait for their reply, found by uuid and by deadline.

The rules of this file:

* Adding and taking a call costs the same however many there are, and a call that was taken leaves nothing behind:
  40,000 calls a second with 30 s each must not leave a million dead entries in a heap. So deadlines are kept in
  buckets of 1/64 s, dropped as they empty.
* Whoever takes a call out ends it, and nobody else can: that is how every call ends exactly once.
* Time comes in as an argument. The lock that it is given is held for dict operations only.
"""

from __future__ import annotations

import enum
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["MAXIMUM", "TICKS", "Added", "Pending"]

MAXIMUM = 65_536
"""Calls in flight at a time."""
TICKS = 64
"""Buckets in a second: no call ends by its deadline more than 1/64 s late."""


class Added(enum.Enum):
    """What became of a call that was to be kept."""

    YES = enum.auto()
    FULL = enum.auto()
    TAKEN = enum.auto()
    """A call of its uuid has not ended."""


class Call(Protocol):
    """What is needed of a call: a unique id, and its deadline in seconds of the clock that `expire` is given."""

    @property
    def uuid(self) -> str: ...
    @property
    def deadline(self) -> float: ...


C = TypeVar("C", bound=Call)


class Pending(Generic[C]):
    """See the module. `lock` is a `threading.Lock()`, or anything else where one thread is enough."""

    def __init__(self, lock: AbstractContextManager[Any], maximum: int = MAXIMUM) -> None:
        self._lock = lock
        self._maximum = maximum
        self._calls: dict[str, C] = {}
        self._buckets: dict[int, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, uuid: str) -> bool:
        return uuid in self._calls

    @property
    def full(self) -> bool:
        return len(self._calls) >= self._maximum

    def add(self, call: C) -> Added:
        """Keep a call, unless there are too many, or one of its uuid is here."""
        uuid = call.uuid
        tick = int(call.deadline * TICKS)
        with self._lock:
            if len(self._calls) >= self._maximum:
                return Added.FULL
            if uuid in self._calls:
                return Added.TAKEN
            self._calls[uuid] = call
            bucket = self._buckets.get(tick)
            if bucket is None:
                self._buckets[tick] = {uuid: None}
            else:
                bucket[uuid] = None
            return Added.YES

    def pop(self, uuid: str) -> C | None:
        """Take a call out; None when it is not here, because it was never or has been taken."""
        with self._lock:
            call = self._calls.pop(uuid, None)
            if call is not None:
                tick = int(call.deadline * TICKS)
                bucket = self._buckets[tick]
                del bucket[uuid]
                if not bucket:
                    del self._buckets[tick]
            return call

    def expire(self, now: float) -> list[C]:
        """Take out the calls whose deadline has passed, the earliest first, to the tick."""
        with self._lock:
            over = sorted(tick for tick in self._buckets if tick + 1 <= now * TICKS)
            return [self._calls.pop(uuid) for tick in over for uuid in self._buckets.pop(tick)]

    def clear(self) -> list[C]:
        """Take out all calls, in the order in which they were added."""
        with self._lock:
            calls = list(self._calls.values())
            self._calls.clear()
            self._buckets.clear()
            return calls

    def abandon(self) -> list[C]:
        """Return all calls. For the child of a fork, where the lock may be held for ever: this is not used again."""
        return list(self._calls.values())

    def next_deadline(self) -> float | None:
        """When `expire` has something to do again; None when there is no call."""
        with self._lock:
            return (min(self._buckets) + 1) / TICKS if self._buckets else None
