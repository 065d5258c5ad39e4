"""The clocks of callers, compared with the clock of this machine. A difference is logged once.

A deadline follows from the message's time to live, which the broker counts down, and not from the clocks of two
machines. But logs and dead letters hold times of both clocks, so a difference is worth a warning. If the broker counts
down, `expires` minus the remaining time to live is the caller's time now. Otherwise it is the time of sending or later.
"""

from __future__ import annotations

from mqlight.log import Log

__all__ = ["DIFFERENCE", "Clocks"]

log = Log("macaque.worker", BaseException)

DIFFERENCE = 2000.0
"""Milliseconds: smaller differences are ignored. They may come from the message's travel time, or a busy machine."""
MOST = 1e10
"""The most seconds that are logged: any program may send a number with 300 digits."""


class Clocks:
    """Compares the clocks of callers with this machine's clock, until there is a difference."""

    def __init__(self) -> None:
        self._told = False

    def compare(self, source: str | None, expires: float, ttl: int, now: float, *, counted_down: bool) -> None:
        """Log the first difference.

        Args:
            source: the caller.
            expires: when the request expires by its caller's clock, in ms since 1970.
            ttl: the time to live in the message, in ms.
            now: this machine's clock when the message arrived, in ms since 1970.
            counted_down: whether the broker subtracts the travel time from `ttl`.
        """
        ahead = expires - ttl - now
        behind = -ahead if counted_down else now - expires  # a broker does not deliver an expired request
        most = max(ahead, behind)
        if most < DIFFERENCE or self._told:
            return
        self._told = True
        log.warning(
            "the clock of %s is %.1f s %s this machine's. Requests are not affected, but the times in logs and dead "
            "letters are", source, min(most / 1000, MOST), "ahead of" if ahead > behind else "behind",
        )  # fmt: skip
