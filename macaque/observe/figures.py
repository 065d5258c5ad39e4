"""The figures of one service in one process: how many requests it had, and how long its function took.

The rule of this file: a request costs one method call and no lock. So the numbers are exact when no request ends at
that moment, and at most a few requests late otherwise.
"""

from __future__ import annotations

from collections import deque
from itertools import count

__all__ = ["Figures"]

RECENT = 1000
"""The requests from which the percentiles are taken."""


class Figures:
    """The figures since the server was started."""

    __slots__ = ("_errors", "_requests", "_seconds", "calls", "errors")

    def __init__(self) -> None:
        self.calls = 0
        """Requests whose function has ended."""
        self.errors = 0
        """Requests that ended in an error, or exceeded the timeout of the service."""
        self._requests = count(1)
        self._errors = count(1)
        self._seconds: deque[float] = deque(maxlen=RECENT)

    def end(self, seconds: float, failed: bool) -> None:
        """Note the end of a function after `seconds`."""
        self._seconds.append(seconds)
        self.calls = next(self._requests)
        if failed:
            self.errors = next(self._errors)

    def overrun(self) -> None:
        """Note that a function has exceeded its timeout. It ends later, without a second error."""
        self.errors = next(self._errors)

    def percentile(self, percent: int) -> float | None:
        """Return the seconds within which `percent` of the recent functions ended; None if none has ended."""
        seconds = sorted(self._seconds.copy())
        return seconds[len(seconds) * percent // 100] if seconds else None
