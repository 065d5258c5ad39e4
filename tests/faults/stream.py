"""A stream of calls, and the account of how each of them ended."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import macaque
from processes import wait_until

DEADLINE = 60.0
"""Seconds that each call has: more than all the faults of a test take together."""
IN_FLIGHT = 50
CHANGED = -1
"""The number of an answer that the network has changed so far that it has none."""


class Stream:
    """Calls `endpoint` with the numbers from 0 to `count`, `in_flight` at a time, from a thread of its own."""

    def __init__(
        self,
        client: macaque.Client,
        endpoint: str,
        count: int,
        in_flight: int = IN_FLIGHT,
        deadline: float = DEADLINE,
    ) -> None:
        self.answers: Counter[int] = Counter()
        self.errors: dict[int, Exception] = {}
        self.workers: set[int] = set()
        self.count = count
        self._client = client
        self._endpoint = endpoint
        self._deadline = deadline
        self._room = threading.Semaphore(in_flight)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for number in range(self.count):
            self._room.acquire()

            def failed(error: Exception, number: int = number) -> None:
                self.errors[number] = error
                self._room.release()

            try:
                self._client.call(self._endpoint, number, self._answered, self._deadline, on_error=failed)
            except Exception as error:
                failed(error)

    def _answered(self, answer: Any) -> None:
        try:
            number, worker = int(answer["number"]), int(answer["worker"])
        except (TypeError, KeyError, ValueError):  # the network has changed its bytes
            number, worker = CHANGED, CHANGED
        self.answers[number] += 1
        self.workers.add(worker)
        self._room.release()

    @property
    def done(self) -> int:
        return self.answers.total() + len(self.errors)  # a network that changes bytes may change the number as well

    def wait_for(self, number: int) -> None:
        """Wait until so many calls have ended, or all."""
        wait_until(lambda: self.done >= min(number, self.count), DEADLINE + 10, f"the end of {number} calls")

    def check(self) -> None:
        """Every call has ended, each in exactly one answer."""
        self.wait_for(self.count)
        self._thread.join(10)
        assert not self._thread.is_alive()
        assert not self.errors, f"{len(self.errors)} calls have no answer: {list(self.errors.items())[:3]}"
        assert self.answers == Counter(range(self.count))


def seconds_to_answer(client: macaque.Client, endpoint: str) -> float:
    """Call a service, and return how long it took: after a fault, how long everybody needed to come back."""
    began = time.monotonic()
    client.call(endpoint, 0, timeout=DEADLINE).result()
    return time.monotonic() - began
