"""The sending of a service's dead letters. A request is settled when the broker has accepted its dead letter.

The caller gets the error reply after that.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial

from macaque.dead_letter import (
    PATTERN,
    SHARE,
    TTL,
    DeadLetter,
    counted,
    dead_topic,
    encode_dead_letter,
    request_topic,
    without_request,
)
from macaque.desk import Desk
from macaque.envelope import Fault
from macaque.job import Job
from macaque.policy import AfterLetter, after_dead_letter
from macaque.registry import Service
from macaque.replies import Replies
from macaque.retries import LONGEST
from macaque.retry_queue import RetryQueue
from macaque.transport import Transport, topic_in
from mqlight.amqp.types import Condition, Outcome
from mqlight.errors import StoppedError
from mqlight.log import Log

__all__ = ["DeadLettering", "keep_dead_letters"]

log = Log(__name__, BaseException)


def keep_dead_letters(transport: Transport, client_id: str) -> None:
    """Join the share that keeps the dead letters. The subscription has no credit, so no dead letter arrives here."""

    def on_subscribed(error: Exception | None) -> None:
        if error is not None:
            log.warning("the broker does not let %s keep dead letters: %s", client_id, error)

    transport.subscribe(
        PATTERN, SHARE, ttl=TTL, credit=0, on_delivery=lambda delivery: None, on_subscribed=on_subscribed
    )


class DeadLettering:
    """Sends the dead letters of one service. The other arguments are as for `Replies`. `replies` informs callers.

    Args:
        client_id: the id of this server.
        on_kept: called when the broker has accepted a dead letter.
    """

    def __init__(
        self,
        transport: Transport,
        service: Service,
        client_id: str,
        retries: RetryQueue,
        desk: Desk,
        replies: Replies,
        on_kept: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._service = service
        self._client_id = client_id
        self._retries = retries
        self._desk = desk
        self._replies = replies
        self._on_kept = on_kept

    def send(self, job: Job, count: int, reason: str) -> None:
        """Send a request as a dead letter. When the broker has it, tell the caller and settle the request."""
        service, message = self._service, job.delivery.message
        log.error(
            "the request %s to %s goes to the dead letters after %s: %s",
            job.request.uuid, service.topic, counted(count, "attempt"), reason,
        )  # fmt: skip
        letter = DeadLetter(
            id=uuid.uuid4().hex[:12],
            endpoint=service.topic,
            share=service.share_id,
            topic=request_topic(message, service.topic, partial(topic_in, self._transport)),
            reason=reason,
            count=count,
            time=int(self._transport.wall() * 1000),
            source=job.source,
            server=self._client_id,
            message=message,
        )
        self._publish(job, letter)

    def _publish(self, job: Job, letter: DeadLetter) -> None:
        topic = dead_topic(letter.endpoint)
        told = partial(self._desk.step, job, self._told, letter)
        try:
            self._transport.publish(topic, encode_dead_letter(letter), mandatory=True, on_outcome=told)
        except StoppedError:
            log.debug("stopped before %s was a dead letter; another server gets the request", job.request.uuid)

    def _told(self, job: Job, letter: DeadLetter, outcome: Outcome, condition: Condition | None) -> None:
        """Take the outcome of a dead letter. Runs under the connection's lock."""
        decision = after_dead_letter(outcome, condition, bool(letter.message))
        if decision is AfterLetter.KEPT:
            self._on_kept()
            if job.request.reply_to:
                self._desk.submit(job, self._tell_caller, letter)
            else:
                job.settle()
        elif decision is AfterLetter.LEAVE:
            log.debug("stopped before the broker accepted the dead letter of %s", job.request.uuid)
        elif decision is AfterLetter.SHORTEN:
            log.error("the dead letter of %s is too large, so its request is left out", job.request.uuid)
            self._desk.submit(job, self._publish, without_request(letter))
        else:
            why = condition or "no server is subscribed to the dead letters"
            log.error("the dead letter of %s was not kept, so the request goes back: %s", job.request.uuid, why)
            self._desk.submit(job, self._give_back)

    def _give_back(self, job: Job) -> None:
        self._retries.hold(job.delivery, LONGEST, job.delivery.release, job.delivery.release)

    def _tell_caller(self, job: Job, letter: DeadLetter) -> None:
        """Tell the caller that there will be no result. Runs at the desk."""
        endpoint, count = letter.endpoint, letter.count
        times = counted(count, "delivery attempt")
        said = f"the request failed {times} at {endpoint}; it is now in {dead_topic(endpoint)}"
        self._replies.send_fault(job, Fault("undeliverable", said, None, {"count": count}))
