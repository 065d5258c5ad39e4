"""The results that a service remembers, so that a repeated call is run only once.

The rules of this file:

* Of all requests with one key, one is run at a time, and none while its result is remembered.
* Memory is bounded by the window, by the number of results and by their bytes. The oldest results go first.
* Time is an argument. The given lock is held for dict operations only.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from macaque.envelope import BareRequest, Request

__all__ = ["MAX_BYTES", "MAX_RESULTS", "Idempotency", "Turn", "key_of"]

MAX_RESULTS = 65_536
MAX_BYTES = 64 * 1024 * 1024

R = TypeVar("R")
W = TypeVar("W")


class Turn(enum.Enum):
    """The decision about a request that has no result yet."""

    RUN = "run"
    WAIT = "wait"


def key_of(request: Request) -> Hashable | None:
    """Return the key that is equal for repeated requests, or None if the request has none.

    A bare request's id is unique only for its sender, so its key includes `reply_to`.
    """
    if isinstance(request, BareRequest):
        return None if request.correlation is None else (request.reply_to, request.correlation)
    return request.uuid or None


class Idempotency(Generic[R, W]):
    """The results of one service. `R` is a result. `W` is a request that waits for the result of a running one.

    Args:
        window: seconds that a result is remembered.
    """

    def __init__(
        self,
        lock: AbstractContextManager[Any],
        window: float,
        max_results: int = MAX_RESULTS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._lock = lock
        self._window = window
        self._max_results = max_results
        self._max_bytes = max_bytes
        self._running: dict[Hashable, list[W]] = {}
        self._results: dict[Hashable, tuple[float, int, R]] = {}
        """Key to (end of the window, bytes, result); the oldest first."""
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._results)

    @property
    def running(self) -> int:
        """The number of requests that were begun and have not ended."""
        return len(self._running)

    def begin(self, key: Hashable, waiter: W, now: float) -> R | Turn:
        """Return the remembered result; RUN if the caller must run it and then call `end`; WAIT if it is running."""
        with self._lock:
            self._forget(now)
            known = self._results.get(key)
            if known is not None:
                return known[2]
            waiting = self._running.get(key)
            if waiting is not None:
                waiting.append(waiter)
                return Turn.WAIT
            self._running[key] = []
            return Turn.RUN

    def end(self, key: Hashable, result: R | None, size: int, now: float) -> list[W]:
        """Remember a result of `size` bytes, unless it is None. Return the requests that waited for it."""
        with self._lock:
            waiting = self._running.pop(key)
            if result is not None and size <= self._max_bytes:
                self._results[key] = now + self._window, size, result
                self.bytes += size
                self._forget(now)
            return waiting

    def leave(self, key: Hashable, waiter: W) -> None:
        """Stop `waiter` from waiting."""
        with self._lock:
            waiting = self._running.get(key, [])
            if waiter in waiting:
                waiting.remove(waiter)

    def _forget(self, now: float) -> None:
        results = self._results
        while results:
            key = next(iter(results))
            until, size, _ = results[key]
            if until > now and len(results) <= self._max_results and self.bytes <= self._max_bytes:
                return
            del results[key]
            self.bytes -= size
