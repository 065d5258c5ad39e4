"""The calls that wait for their reply, found by uuid and by deadline.

The rules of this file:

* Adding and taking a call costs the same, however many calls there are, because each call takes these two steps. Only
  the search for late calls looks at all calls. It is made when one may be late, and less often with many calls.
* A call that was taken out leaves nothing behind: 40,000 calls a second with 30 s each must not leave a million dead
  entries in a heap.
* Only the code that takes a call out ends it: so every call ends exactly once.
* Time is an argument. Each change is one operation of a dict, which needs no lock.
"""

from __future__ import annotations

import enum
from operator import attrgetter
from typing import Generic, Protocol, TypeVar

__all__ = ["MAXIMUM", "TICKS", "Added", "Pending"]

MAXIMUM = 65_536
"""The most calls in flight at a time. Threads that add a call at the same moment may exceed it by their number."""
TICKS = 64
"""The most searches for late calls per second."""
DELAY = 2.5e-6
"""Seconds, for each call that waits, by which a search is put off: about 20 times the time that it takes."""


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
_deadline = attrgetter("deadline")


class Pending(Generic[C]):
    """The pending calls: see the module. Any thread may use it."""

    def __init__(self, maximum: int = MAXIMUM) -> None:
        self._maximum = maximum
        self._calls: dict[str, C] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, uuid: str) -> bool:
        return uuid in self._calls

    @property
    def full(self) -> bool:
        return len(self._calls) >= self._maximum

    def add(self, call: C) -> Added:
        """Keep a call, unless there are too many calls, or another one with the same uuid is here."""
        calls = self._calls
        if len(calls) >= self._maximum:
            return Added.FULL
        return _YES if calls.setdefault(call.uuid, call) is call else Added.TAKEN

    def pop(self, uuid: str) -> C | None:
        """Take a call out. Return None if it is not here."""
        return self._calls.pop(uuid, None)

    def holds(self, call: Call) -> bool:
        """Return whether this call is here."""
        return self._calls.get(call.uuid) is call

    def take(self, call: C) -> bool:
        """Take this call out. Return False if it is not here; another call with its uuid stays."""
        return self.holds(call) and self.pop(call.uuid) is not None

    def expire(self, now: float) -> list[C]:
        """Take out the calls whose deadline has passed, the earliest first."""
        late = sorted((call for call in self.all() if call.deadline <= now), key=_deadline)
        return [call for call in late if self.take(call)]

    def clear(self) -> list[C]:
        """Take out all calls, in the order in which they were added."""
        return [call for call in self.all() if self.take(call)]

    def all(self) -> list[C]:
        """Return all calls, in the order in which they were added."""
        return list(self._calls.values())

    def next_deadline(self) -> float | None:
        """Return the time of the next search for late calls; None if there is no call."""
        calls = self.all()
        return (int(min(map(_deadline, calls)) * TICKS) + 1) / TICKS + len(calls) * DELAY if calls else None
