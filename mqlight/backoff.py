"""The pauses between attempts to connect."""

from __future__ import annotations


class Backoff:
    """The pause before the next attempt: exponential with full jitter, so that clients do not all come back at once."""

    def __init__(self, shortest: float = 0.1, longest: float = 5.0) -> None:
        self._shortest = shortest
        self._longest = longest
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    def next(self, chance: float) -> float:
        """Return the seconds to wait. ``chance`` is a random number from 0 to 1."""
        most = min(self._longest, self._shortest * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return most * chance
