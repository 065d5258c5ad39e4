"""The replies of one service on their way: a request is settled when the broker has taken its reply.

The rules of this file:

* A reply that the broker cannot take for now is sent again, after longer and longer pauses, until its caller waits no
  more: its queue or disk is full, or the caller has lost its connection and is not back yet.
* A reply that the broker will never take, because of its size for example, is replaced by the reason, once.
* Without a broker to tell, the request stays unsettled: another server gets it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from time import monotonic

from macaque.envelope import Fault, encode_fault
from macaque.holding import Holding
from macaque.job import Job
from macaque.retries import delay
from mqlight.amqp.types import Condition, Outcome
from mqlight.connection import Connection
from mqlight.errors import StoppedError
from mqlight.wire.log import Log
from mqlight.wire.threads import Lane

__all__ = ["Replies"]

log = Log(__name__, BaseException)

PATIENCE = 30.0
"""Seconds that a caller is taken to wait that has not said how long."""
ABSENCE = 60.0
"""Seconds in which a caller may come back whose topic is gone, as after a restart of the broker."""
STRANGER = 3.0
"""The same for a caller that has not said how long it waits."""
_PASSING = ("", "amqp:resource-limit-exceeded", "amqp:internal-error", "amqp:illegal-state")
"""Conditions of a rejection that may be over in a moment. RabbitMQ gives none where a queue is full."""


class Replies:
    """Sends replies.

    Args:
        desk: the lane for what is sent later.
        step: `step(job, function, *args)` calls `function(job, *args)`, whatever it raises.
    """

    def __init__(self, connection: Connection, holding: Holding, desk: Lane, step: Callable[..., None]) -> None:
        self._connection = connection
        self._holding = holding
        self._desk = desk
        self._step = step

    def send(self, job: Job, reply: bytes) -> None:
        """Send an encoded reply, and settle the request when the broker has it."""
        reply_to = job.request.reply_to
        assert reply_to is not None
        try:
            self._connection.publish(reply_to, reply, mandatory=True, on_outcome=partial(self._told, job, reply))
        except StoppedError:
            log.debug("stopped before the reply to %s was sent; another server gets the request", job.request.uuid)

    def send_fault(self, job: Job, fault: Fault) -> None:
        """Send an error as the reply."""
        self.send(job, self.encode_fault(job, fault)[1])

    def encode_fault(self, job: Job, fault: Fault) -> tuple[Fault, bytes]:
        """Return an error and its reply; another error where the details of this one cannot be sent."""
        try:
            return fault, encode_fault(job.request, fault)
        except Exception as error:
            log.error("the error of the request %s cannot be sent: %s", job.request.uuid, error)
            fault = Fault(500, "the error of the service cannot be sent", type(error).__name__)
            return fault, encode_fault(job.request, fault)

    def _told(self, job: Job, reply: bytes, outcome: Outcome, condition: Condition | None) -> None:
        """Under the connection's lock: what became of a reply."""
        if outcome is Outcome.ACCEPTED:
            job.settle()
        else:
            self._step(job, self._refused, reply, outcome, condition)

    def _refused(self, job: Job, reply: bytes, outcome: Outcome, condition: Condition | None) -> None:
        request = job.request
        if outcome is Outcome.RELEASED and condition is not None:
            log.debug("stopped before the reply to %s was taken", request.uuid)
        elif self._again(job, reply, outcome, condition):
            pass
        elif outcome is Outcome.REJECTED and not job.explained and not _may_pass(condition):
            log.warning("the broker did not take the reply to %s for %s: %s", request.uuid, request.reply_to, condition)
            job.explained = True
            self._desk.submit(self._step, job, self._explain, condition)
        elif outcome is Outcome.RELEASED:
            log.warning("nobody was there to take the reply to %s at %s", request.uuid, request.reply_to)
            job.settle()
        else:
            why = condition or "it gave the reply back"
            log.warning("the broker took no reply to %s for %s in time: %s", request.uuid, request.reply_to, why)
            job.settle()

    def _again(self, job: Job, reply: bytes, outcome: Outcome, condition: Condition | None) -> bool:
        """Have a reply sent again after a pause, if that may be of use to its caller."""
        if outcome is Outcome.REJECTED and not _may_pass(condition):
            return False
        now = monotonic()
        if not job.refusals:
            job.refused_at = now
        until = job.deadline
        leaving: Callable[[], object] = job.delivery.release
        if outcome is Outcome.RELEASED:
            leaving = job.settle
            until = job.refused_at + STRANGER if until is None else min(until, job.refused_at + ABSENCE)
            if self._holding.full:  # a caller that is gone for good holds nobody up
                return False
        elif until is None:
            until = job.refused_at + PATIENCE
        job.refusals += 1
        seconds = delay(job.refusals, random.random())
        if now + seconds > until:
            return False
        log.info("the reply to %s for %s is sent again in %.1f s", job.request.uuid, job.request.reply_to, seconds)
        again = partial(self._desk.submit, self._step, job, self.send, reply)
        self._desk.submit(self._step, job, self._hold, seconds, again, leaving)
        return True

    def _hold(self, job: Job, seconds: float, again: Callable[[], None], leaving: Callable[[], object]) -> None:
        self._holding.hold(job.delivery, seconds, again, leaving)

    def _explain(self, job: Job, condition: Condition) -> None:
        """In the lane: the caller gets the reason instead of the reply."""
        self.send_fault(job, Fault(500, f"the broker did not take the reply: {condition.description}", condition.name))


def _may_pass(condition: Condition | None) -> bool:
    return condition is None or condition.name in _PASSING
