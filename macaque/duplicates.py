"""Repeated requests of one service: the first one is run, and the others get its result.

A result is JSON or a Fault. If the first request ends without a result, the waiting ones go back to the broker.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from macaque.desk import Desk
from macaque.envelope import Fault, encode_reply
from macaque.idempotency import Idempotency, Turn, key_of
from macaque.job import Job
from macaque.policy import is_lasting
from macaque.replies import Replies
from mqlight.log import Log

__all__ = ["Duplicates"]

log = Log(__name__, BaseException)


class Duplicates:
    """The requests of a service with `idempotent_for`.

    Args:
        window: the seconds of `idempotent_for`.
        now: returns the time.
        desk: runs the steps of the requests.
        claim: `claim(job)` returns whether a request that waited still needs an answer.
    """

    def __init__(
        self,
        window: float,
        now: Callable[[], float],
        replies: Replies,
        desk: Desk,
        claim: Callable[[Job], bool],
    ) -> None:
        self._results: Idempotency[Any, Job] = Idempotency(threading.Lock(), window)
        self._now = now
        self._replies = replies
        self._desk = desk
        self._claim = claim

    @property
    def running(self) -> int:
        """The number of first requests that have not ended."""
        return self._results.running

    def begin(self, job: Job) -> bool:
        """Return whether the caller must run a request and then call `end`. Else it is answered, or waits."""
        key = key_of(job.request)
        if key is None:
            return True
        result = self._results.begin(key, job, self._now())
        if result is Turn.RUN:
            job.key = key
            return True
        if result is not Turn.WAIT and self._claim(job):
            log.debug("answered the request %s once more", job.request.uuid)
            self._answer(job, result)
        return False

    def leave(self, job: Job) -> None:
        """Stop a request from waiting for the first one."""
        key = key_of(job.request)
        if key is not None:
            self._results.leave(key, job)

    def end(self, job: Job, result: Any, size: int) -> None:
        """Answer the waiting requests with the same key. A `result` of None sends them back to the broker.

        Args:
            size: bytes of the result.
        """
        key, job.key = job.key, None
        if key is None:
            return
        fault = result if isinstance(result, Fault) else None
        lasting = result is not None and is_lasting(fault, bool(job.request.reply_to))
        for waiter in self._results.end(key, result if lasting else None, size, self._now()):
            if self._claim(waiter):
                self._desk.step(waiter, self._answer, result)

    def _answer(self, job: Job, result: Any) -> None:
        """Give a request the result of the first one."""
        if result is None or not job.request.reply_to and isinstance(result, Fault):
            job.delivery.release()
        elif not job.request.reply_to:
            job.settle()
        elif isinstance(result, Fault):
            self._replies.send_fault(job, result)
        else:
            self._replies.send(job, encode_reply(job.request, result))
