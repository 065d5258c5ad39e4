"""How often somebody may ask: one bucket of tokens for each key, which fills steadily and pays for requests.

Pure: time comes in as an argument, in seconds of a monotonic clock.
"""

from __future__ import annotations

from collections import OrderedDict

BURST = 5.0
"""Seconds' worth of tokens that a bucket holds: what somebody who was quiet may ask for at once."""


class Throttle:
    """Buckets for `rate` tokens a second.

    Rule: a bucket that has filled up again is forgotten, so there are at most as many as keys were used in the last
    BURST seconds.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._most = max(1.0, rate * BURST)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Of each key its tokens, and when they were so many; the least recently used key is the first."""

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, now: float) -> float:
        """Take a token and return 0.0; without one, return the seconds until there is one."""
        self._forget(now)
        tokens, since = self._buckets.pop(key, (self._most, now))
        tokens = min(self._most, tokens + (now - since) * self.rate)
        enough = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if enough else tokens, now)
        return 0.0 if enough else (1.0 - tokens) / self.rate

    def give_back(self, key: str) -> None:
        """Return a token that was taken."""
        if key in self._buckets:
            tokens, since = self._buckets[key]
            self._buckets[key] = (min(self._most, tokens + 1.0), since)

    def _forget(self, now: float) -> None:
        while self._buckets:
            oldest = next(iter(self._buckets))
            if (now - self._buckets[oldest][1]) * self.rate < self._most:
                return
            del self._buckets[oldest]
