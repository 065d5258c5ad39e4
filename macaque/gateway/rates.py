"""The rate of requests: so many for each token, or for each address of callers without a token."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem
from limits import parse as parse_rate
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from macaque.http.answer import Problem

__all__ = ["Rates", "parse"]


def parse(rate: str) -> RateLimitItem:
    """Return a rate, which lets at least one request through. Raises ValueError: the text is none."""
    item = parse_rate(rate)
    if item.amount < 1:
        raise ValueError(f"the rate {rate} lets no request through")
    return item


class Rates:
    """Counts the requests of one worker process.

    Args:
        rate: a number and its time, such as `100/second`; None: any number.

    Raises:
        ValueError: the rate is not one.
    """

    def __init__(self, rate: str | None) -> None:
        self._item: RateLimitItem | None = None if rate is None else parse(rate)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def hit(self, key: str) -> None:
        """Count a request. Raises Problem 429 if there were too many."""
        if self._item is None or self._limiter.hit(self._item, key):
            return
        left = self._limiter.get_window_stats(self._item, key).reset_time - time.time()
        said = f"The limit is {self._item} for each caller."
        seconds = str(max(1, math.ceil(left)))
        raise Problem(429, said, retryable=True, headers=(("Retry-After", seconds),))
