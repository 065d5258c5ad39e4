"""The times at which work is due. Pure: a clock outside runs what is due."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Timers"]


class Timers:
    """Functions that wait for their time, in seconds of the monotonic clock.

    Args:
        wake: Called with the time at which to call :meth:`run` at the latest.
    """

    def __init__(self, wake: Callable[[float], object]) -> None:
        self.wake = wake
        self._due: dict[Callable[[], object], float] = {}

    def set(self, at: float, call: Callable[[], object]) -> None:
        """Call ``call()`` once at ``at``, and not at an earlier time that was set for it."""
        self._due[call] = at
        self.wake(at)

    def run(self, now: float) -> float | None:
        """Call the functions that are due. Return the time when the next one is due, None if none waits."""
        for call in [call for call, at in self._due.items() if at <= now]:
            del self._due[call]
            call()
        return min(self._due.values(), default=None)
