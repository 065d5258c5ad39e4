"""Dead letters on their way: a request that nobody could answer is settled when the broker has its letter.

The rules of this file:

* A letter that is larger than the broker takes is sent without the request, and says so.
* A letter that the broker does not keep for now stays a request, which goes back later: nothing is lost.
* The caller is told when the broker has the letter.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from time import time

from macaque.envelope import Fault
from macaque.holding import Holding
from macaque.job import Job
from macaque.letter import Letter, counted, dead_topic, encode_letter, request_topic, without_request
from macaque.registry import Service
from macaque.replies import Replies
from macaque.retries import LONGEST
from mqlight.amqp.types import Condition, Outcome
from mqlight.connection import Connection
from mqlight.errors import StoppedError
from mqlight.wire.log import Log
from mqlight.wire.threads import Lane

__all__ = ["Burials"]

log = Log(__name__, BaseException)

TOO_LARGE = "amqp:link:message-size-exceeded"


class Burials:
    """Sends the dead letters of one service. The arguments are as for `Replies`, by which callers are told.

    Args:
        client_id: the server that gives the requests up.
        on_buried: called when the broker has a letter.
    """

    def __init__(
        self,
        connection: Connection,
        service: Service,
        client_id: str,
        holding: Holding,
        desk: Lane,
        step: Callable[..., None],
        replies: Replies,
        on_buried: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._service = service
        self._client_id = client_id
        self._holding = holding
        self._desk = desk
        self._step = step
        self._replies = replies
        self._on_buried = on_buried

    def bury(self, job: Job, count: int, reason: str) -> None:
        """Send a dead letter. When the broker has it, the caller is told, and the request is settled."""
        service, message = self._service, job.delivery.message
        log.error(
            "the request %s to %s goes to the dead letters after %s: %s",
            job.request.uuid, service.endpoint, counted(count, "attempt"), reason,
        )  # fmt: skip
        letter = Letter(
            id=uuid.uuid4().hex[:12],
            endpoint=service.endpoint,
            share=service.share_id,
            topic=request_topic(message, service.endpoint),
            reason=reason,
            count=count,
            time=int(time() * 1000),
            source=job.source,
            server=self._client_id,
            message=message,
        )
        self._send(job, letter)

    def _send(self, job: Job, letter: Letter) -> None:
        topic = dead_topic(letter.endpoint)
        told = partial(self._step, job, self._told, letter)
        try:
            self._connection.publish(topic, encode_letter(letter), mandatory=True, on_outcome=told)
        except StoppedError:
            log.debug("stopped before %s was a dead letter; another server sees to it", job.request.uuid)

    def _told(self, job: Job, letter: Letter, outcome: Outcome, condition: Condition | None) -> None:
        """Under the connection's lock: what became of a dead letter."""
        if outcome is Outcome.ACCEPTED:
            self._on_buried()
            if job.request.reply_to:
                self._desk.submit(self._step, job, self._give_up, letter)
            else:
                job.settle()
        elif outcome is Outcome.RELEASED and condition is not None:
            log.debug("stopped before the dead letter of %s was taken", job.request.uuid)
        elif condition is not None and condition.name == TOO_LARGE and letter.message:
            log.error("the dead letter of %s is too large, so its request is left out", job.request.uuid)
            self._desk.submit(self._step, job, self._send, without_request(letter))
        else:
            why = condition or "nobody is subscribed to the dead letters"
            log.error("the dead letter of %s was not kept, so the request goes back: %s", job.request.uuid, why)
            self._desk.submit(self._step, job, self._hold)

    def _hold(self, job: Job) -> None:
        self._holding.hold(job.delivery, LONGEST, job.delivery.release, job.delivery.release)

    def _give_up(self, job: Job, letter: Letter) -> None:
        """At the desk: tell the caller that there will be no result."""
        endpoint, count = letter.endpoint, letter.count
        times = counted(count, "delivery attempt")
        said = f"the request failed {times} at {endpoint}; it is now in {dead_topic(endpoint)}"
        self._replies.send_fault(job, Fault("undeliverable", said, None, {"count": count}))
