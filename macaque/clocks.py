"""Whether the clock of a caller and the clock of this machine agree, told once.

Deadlines are judged by the message's time to live, which the broker counts down, and never by two machines' clocks. But
logs and dead letters hold times of both, so a difference is worth a warning. `expires` less what is left of the time to
live is the caller's time now, if the broker counts down; else it is when the request was sent, or later.
"""

from __future__ import annotations

__all__ = ["DIFFERENCE", "Clocks"]

DIFFERENCE = 2000.0
"""Milliseconds that are noticed. Less may be due to the way of a message, or to a machine that is busy."""
MOST = 1e10
"""Seconds that are told at the most: anybody may send a number with 300 digits."""


class Clocks:
    """Compares the clocks of callers with this machine's, until there is a difference."""

    def __init__(self) -> None:
        self._told = False

    def compare(self, expires: float, ttl: int, now: float, *, counted_down: bool) -> str | None:
        """Return the sentence about a difference, the first time that there is one.

        Args:
            expires: when the request expires by its caller's clock, in ms since 1970.
            ttl: what the message says of its time to live, in ms.
            now: this machine's clock, in ms since 1970.
            counted_down: whether the broker has taken the time on the way off `ttl`.
        """
        ahead = expires - ttl - now
        behind = -ahead if counted_down else now - expires  # an expired request would not have been delivered
        most = max(ahead, behind)
        if most < DIFFERENCE or self._told:
            return None
        self._told = True
        return f"{min(most / 1000, MOST):.1f} s {'ahead of' if ahead > behind else 'behind'} this machine's"
