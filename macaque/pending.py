"""The calls that wait for their reply, found by uuid and by deadline.

The rules of this file:

* Adding and taking a call costs the same, however many calls there are. A call that was taken out leaves nothing
  behind: 40,000 calls a second with 30 s each must not leave a million dead entries in a heap. So deadlines are kept in
  buckets of 1/64 s, and an empty bucket is dropped.
* Only the code that takes a call out ends it: so every call ends exactly once.
* Time is an argument. The given lock is held for dict operations only.
"""

from __future__ import annotations

import enum
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["MAXIMUM", "TICKS", "Added", "Pending"]

MAXIMUM = 65_536
"""The most calls in flight at a time."""
TICKS = 64
"""Buckets per second: a call ends at most 1/64 s after its deadline."""


class Added(enum.Enum):
    """The result of `Pending.add`."""

    YES = enum.auto()
    FULL = enum.auto()
    TAKEN = enum.auto()
    """A call with the same uuid has not ended."""


_YES = Added.YES  # looked up once, because looking up a member of an enum is slow


class Call(Protocol):
    """The part of a call that matters here: a unique id, and a deadline in seconds of the clock that `expire` gets."""

    @property
    def uuid(self) -> str: ...
    @property
    def deadline(self) -> float: ...


C = TypeVar("C", bound=Call)


class Pending(Generic[C]):
    """The pending calls: see the module. `lock` is a `threading.Lock()`, or a dummy if there is only one thread."""

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
        """Keep a call, unless there are too many calls, or one with the same uuid is here."""
        uuid = call.uuid
        tick = int(call.deadline * TICKS)
        with self._lock:
            if len(self._calls) >= self._maximum:
                return Added.FULL
            if uuid in self._calls:
                return Added.TAKEN
            bucket = self._buckets.get(tick)
            if bucket is None:
                self._buckets[tick] = {uuid: None}
            else:
                bucket[uuid] = None
            self._calls[uuid] = call  # last, so that a call which is here has its deadline, whatever interrupts this
            return _YES

    def pop(self, uuid: str) -> C | None:
        """Take a call out. Return None if it is not here."""
        with self._lock:
            call = self._calls.pop(uuid, None)
            if call is not None:
                tick = int(call.deadline * TICKS)
                bucket = self._buckets[tick]
                del bucket[uuid]
                if not bucket:
                    del self._buckets[tick]
            return call

    def holds(self, call: Call) -> bool:
        """Return whether this call is here."""
        return self._calls.get(call.uuid) is call

    def take(self, call: C) -> bool:
        """Take this call out. Return False if it is not here; another call with its uuid stays."""
        return self.holds(call) and self.pop(call.uuid) is not None

    def expire(self, now: float) -> list[C]:
        """Take out the calls whose deadline has passed, the earliest first, to the precision of a bucket."""
        with self._lock:
            over = sorted(tick for tick in self._buckets if tick + 1 <= now * TICKS)
            calls = [self._calls.pop(uuid, None) for tick in over for uuid in self._buckets.pop(tick)]
            return [call for call in calls if call is not None]

    def clear(self) -> list[C]:
        """Take out all calls, in the order in which they were added."""
        with self._lock:
            calls = list(self._calls.values())
            self._calls.clear()
            self._buckets.clear()
            return calls

    def abandon(self) -> list[C]:
        """Return all calls, in the child of a fork, where the lock may never be free. This object is not used again."""
        return list(self._calls.values())

    def next_deadline(self) -> float | None:
        """Return the time when `expire` has work again; None if there is no call."""
        with self._lock:
            return (min(self._buckets) + 1) / TICKS if self._buckets else None
