"""The answers that a service remembers, so that a call which comes twice is run once.

The rules of this file:

* Of all requests with one key, one is run at a time, and none while an answer to it is remembered.
* Memory is bounded by the window, by a number of answers and by their bytes; the oldest answers go first.
* Time comes in as an argument, and the lock that it is given is held for dict operations only.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

__all__ = ["MAX_ANSWERS", "MAX_BYTES", "Answers", "Turn"]

MAX_ANSWERS = 65_536
MAX_BYTES = 64 * 1024 * 1024

A = TypeVar("A")
W = TypeVar("W")


class Turn(enum.Enum):
    """What to do with a request that has no answer yet."""

    RUN = "run"
    WAIT = "wait"


class Answers(Generic[A, W]):
    """The answers of one service. `A` is an answer, `W` is who waits for one that is being worked out.

    Args:
        window: seconds that an answer is remembered, from when it was there.
    """

    def __init__(
        self,
        lock: AbstractContextManager[Any],
        window: float,
        max_answers: int = MAX_ANSWERS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._lock = lock
        self._window = window
        self._max_answers = max_answers
        self._max_bytes = max_bytes
        self._running: dict[Hashable, list[W]] = {}
        self._answers: dict[Hashable, tuple[float, int, A]] = {}
        """Key to until when, bytes, and the answer; the oldest first."""
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def begin(self, key: Hashable, waiter: W, now: float) -> A | Turn:
        """The answer if there is one. Else RUN: it is the caller's to run and to `end`; or WAIT: somebody does."""
        with self._lock:
            self._forget(now)
            known = self._answers.get(key)
            if known is not None:
                return known[2]
            waiting = self._running.get(key)
            if waiting is not None:
                waiting.append(waiter)
                return Turn.WAIT
            self._running[key] = []
            return Turn.RUN

    def end(self, key: Hashable, answer: A | None, size: int, now: float) -> list[W]:
        """It was run. Remember its answer of `size` bytes, unless that is None; returns who waited for it."""
        with self._lock:
            waiting = self._running.pop(key)
            if answer is not None and size <= self._max_bytes:
                self._answers[key] = now + self._window, size, answer
                self.bytes += size
                self._forget(now)
            return waiting

    def leave(self, key: Hashable, waiter: W) -> None:
        """It waits no more."""
        with self._lock:
            waiting = self._running.get(key, [])
            if waiter in waiting:
                waiting.remove(waiter)

    def _forget(self, now: float) -> None:
        answers = self._answers
        while answers:
            key = next(iter(answers))
            until, size, _ = answers[key]
            if until > now and len(answers) <= self._max_answers and self.bytes <= self._max_bytes:
                return
            del answers[key]
            self.bytes -= size
