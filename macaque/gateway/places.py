"""Places for requests: so many at a time."""

from __future__ import annotations

import threading

from macaque.http.answer import Problem

__all__ = ["Places"]


class Places:
    """Counts the places that are taken.

    Args:
        number: how many there are.
        what: the thing that takes one, for the sentence of the error.
    """

    def __init__(self, number: int, what: str) -> None:
        self._number = number
        self._what = what
        self._lock = threading.Lock()
        self.taken = 0

    def take(self) -> None:
        """Take a place. Raises Problem 503 if none is free."""
        with self._lock:
            if self.taken < self._number:
                self.taken += 1
                return
        raise Problem(
            503, f"The gateway has {self._number} {self._what} at the moment, and takes no more.", retryable=True
        )

    def free(self) -> None:
        """Free a place that was taken."""
        with self._lock:
            self.taken -= 1
