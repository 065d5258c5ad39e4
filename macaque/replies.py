"""The sending of a service's replies. A request is settled when the broker has accepted its reply."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from macaque.desk import Desk
from macaque.envelope import Fault, Request, encode_data, encode_fault
from macaque.job import Job
from macaque.kinds import Kind, kind_of_result
from macaque.policy import AfterReply, ReplyAttempt, after_reply
from macaque.retry_queue import RetryQueue
from macaque.room import in_event_loop
from macaque.transport import Transport
from mqlight.amqp.types import Condition, Outcome
from mqlight.errors import NoRoomError, StoppedError
from mqlight.log import Log

__all__ = ["Replies", "encode_nothing", "encode_result"]

NOTHING = encode_data(None)

log = Log(__name__, BaseException)


class Replies:
    """Sends replies.

    Args:
        retries: keeps a reply until it is sent again.
        desk: runs the steps that come later.
    """

    def __init__(self, transport: Transport, retries: RetryQueue, desk: Desk) -> None:
        self._transport = transport
        self._retries = retries
        self._desk = desk

    def send(self, job: Job, reply: bytes) -> None:
        """Send an encoded reply. The request is settled when the broker has the reply."""
        reply_to = job.request.reply_to
        assert reply_to is not None
        job.reply = reply
        job.on_refused = self._refused
        publish = self._transport.publish
        try:
            try:
                publish(reply_to, reply, mandatory=True, on_outcome=job.on_outcome, timeout=0.0)
            except NoRoomError:
                if in_event_loop():
                    self._desk.submit(job, self.send, reply)
                else:
                    publish(reply_to, reply, mandatory=True, on_outcome=job.on_outcome)
        except StoppedError:
            log.debug("stopped before the reply to %s was sent; another server gets the request", job.request.uuid)

    def send_fault(self, job: Job, fault: Fault) -> None:
        """Send an error as the reply."""
        self.send(job, self.encode_fault(job, fault)[1])

    def encode_fault(self, job: Job, fault: Fault) -> tuple[Fault, bytes]:
        """Return an error and its encoded reply; another error if the details of this one cannot be sent."""
        try:
            # A stream that is stopped may be about to send a part, so the number of parts before the error is unknown.
            return fault, encode_fault(job.request, fault, None if job.unwanted else job.sent)
        except Exception as error:
            log.error("the error of the request %s cannot be sent: %s", job.request.uuid, error)
            fault = Fault(500, "the error of the service cannot be sent", type(error).__name__)
            return fault, encode_fault(job.request, fault)

    def _refused(self, job: Job, outcome: Outcome, condition: Condition | None) -> None:
        """Handle a reply that the broker did not accept. Runs under the connection's lock."""
        self._desk.step(job, self._decide, outcome, condition)

    def _decide(self, job: Job, outcome: Outcome, condition: Condition | None) -> None:
        request, now = job.request, self._transport.now()
        if not job.refusals:
            job.refused_at = now
        job.refusals += 1
        tried = ReplyAttempt(job.refusals, job.refused_at, job.deadline, job.explained, self._retries.full)
        decision, pause = after_reply(outcome, condition, tried, now, random.random())
        if decision is AfterReply.LEAVE:
            log.debug("stopped before the broker accepted the reply to %s", request.uuid)
        elif decision is AfterReply.AGAIN:
            log.info("the reply to %s for %s is sent again in %.1f s", request.uuid, request.reply_to, pause)
            gone = outcome is Outcome.RELEASED
            self._desk.submit(job, self._hold, pause, job.settle if gone else job.delivery.release)
        elif decision is AfterReply.EXPLAIN:
            log.warning(
                "the broker did not accept the reply to %s for %s: %s", request.uuid, request.reply_to, condition
            )
            job.explained, job.refusals = True, 0
            self._desk.submit(job, self._explain, condition)
        else:
            if outcome is Outcome.RELEASED:
                log.warning("no client was subscribed to the reply to %s at %s", request.uuid, request.reply_to)
            else:
                why = condition or "the broker released it"
                log.warning("the reply to %s for %s was not accepted in time: %s", request.uuid, request.reply_to, why)
            job.settle()

    def _hold(self, job: Job, pause: float, leaving: Callable[[], object]) -> None:
        again = partial(self._desk.submit, job, self.send, job.reply)
        self._retries.hold(job.delivery, pause, again, leaving)

    def _explain(self, job: Job, condition: Condition) -> None:
        """Send the caller the reason instead of the reply. Runs at the desk."""
        self.send_fault(job, Fault(500, f"the broker refused the reply: {condition.description}", condition.name))


def encode_result(request: Request, data: Any) -> msgspec.Raw:
    """Encode a result for several callers."""
    return encode_data(data)


def encode_nothing(request: Request, data: Any) -> msgspec.Raw:
    """Return the empty result of a one-way message. Raises TypeError if the function's work would never be run."""
    if data is not None and kind_of_result(data) is not Kind.PLAIN:
        raise TypeError(f"the function returned a {type(data).__name__}, which was not run")
    return NOTHING
