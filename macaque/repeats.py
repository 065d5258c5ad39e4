"""Requests of one service that come twice: the first one is run, and the others get its answer.

The rules of this file:

* An answer is the JSON of a result, or a Fault. What may go better at another time is not remembered. The failure of a
  one-way message is not either, because the message is tried again.
* A request that waits for the first one, which came to nothing, goes back to the broker.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Any

from macaque.answers import Answers, Turn
from macaque.envelope import BareRequest, Fault, Request, encode_reply
from macaque.invocation import EXIT
from macaque.job import Job
from macaque.replies import Replies
from mqlight.wire.log import Log

__all__ = ["Repeats"]

log = Log(__name__, BaseException)


class Repeats:
    """The requests of a service that is `idempotent_for` so many seconds.

    Args:
        window: these seconds.
        step: as for `Replies`.
        claim: `claim(job)` says whether a request that waited is still to be answered.
    """

    def __init__(
        self, window: float, replies: Replies, step: Callable[..., None], claim: Callable[[Job], bool]
    ) -> None:
        self._answers: Answers[Any, Job] = Answers(threading.Lock(), window)
        self._replies = replies
        self._step = step
        self._claim = claim

    def begin(self, job: Job) -> bool:
        """Return whether a request is to be run, and then `end`ed. Else it is answered, or waits for the first one."""
        key = _key(job.request)
        if key is None:
            return True
        answer = self._answers.begin(key, job, monotonic())
        if answer is Turn.RUN:
            job.key = key
            return True
        if answer is not Turn.WAIT and self._claim(job):
            log.debug("answered the request %s once more", job.request.uuid)
            self._answer(job, answer)
        return False

    def leave(self, job: Job) -> None:
        """A request waits for the first one no more."""
        key = _key(job.request)
        if key is not None:
            self._answers.leave(key, job)

    def end(self, job: Job, answer: Any, size: int) -> None:
        """The request was run: answer those who wait for the same. An `answer` of None sends them back to the broker.

        Args:
            size: bytes of the answer.
        """
        key, job.key = job.key, None
        if key is None:
            return
        lasting = answer is not None
        if isinstance(answer, Fault):
            lasting = bool(job.request.reply_to) and not answer.retryable and answer.code != EXIT
        for waiter in self._answers.end(key, answer if lasting else None, size, monotonic()):
            if self._claim(waiter):
                self._step(waiter, self._answer, answer)

    def _answer(self, job: Job, answer: Any) -> None:
        """Give a request the answer of the first one."""
        if answer is None or not job.request.reply_to and isinstance(answer, Fault):
            job.delivery.release()
        elif not job.request.reply_to:
            job.settle()
        elif isinstance(answer, Fault):
            self._replies.send_fault(job, answer)
        else:
            self._replies.send(job, encode_reply(job.request, answer))


def _key(request: Request) -> Hashable | None:
    """What makes two requests the same one. The ids of bare requests are only their sender's own; None: it has none."""
    if isinstance(request, BareRequest):
        return None if request.correlation is None else (request.reply_to, request.correlation)
    return request.uuid or None
