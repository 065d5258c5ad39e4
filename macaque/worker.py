"""One service at work over one connection: from a request's bytes to its reply, its next attempt, or its dead letter.

The rules of this file:

* A request is settled when the broker has accepted its reply. A worker that dies before leaves it to another one.
* Whatever the function does, its caller is answered, and the worker goes on.
* A request is tried `max_deliveries` times; then it is a dead letter, and settled when the broker has accepted that.
* Functions run in the lane of their service, as many at a time as it has credit. What the connection calls (`_replied`,
  `_buried`) runs under its lock and only answers the delivery or gives work to the lane.
"""

from __future__ import annotations

import logging
import random
import threading
import traceback
import uuid
from collections.abc import Callable, Hashable
from functools import partial
from time import monotonic, time
from typing import TYPE_CHECKING, Any, NamedTuple

from macaque.answers import Answers, Turn
from macaque.envelope import (
    BadRequest,
    BareRequest,
    Fault,
    Request,
    decode_request,
    encode_data,
    encode_fault,
    encode_reply,
)
from macaque.errors import Abort
from macaque.letter import Letter, dead_topic, encode_letter, request_topic
from macaque.registry import MAX_ATTEMPTS, Service
from macaque.retries import LONGEST, Retries, delay
from mqlight.connection import Connection
from mqlight.delivery import Delivery
from mqlight.errors import StoppedError
from mqlight.subscription import Subscription
from mqlight.wire.message import delivery_count
from mqlight.wire.terms import Condition, Outcome

if TYPE_CHECKING:
    from macaque.metrics import RequestMetrics

__all__ = ["Worker"]

log = logging.getLogger(__name__)

MAX_HELD = 100
"""Messages that wait for their next attempt beside the credit; more of them take up the credit itself."""

BROKER_DELIVERIES = MAX_ATTEMPTS + 10
"""How often a broker that counts gives a request out: more than any service tries one, so that it is buried here, with
its reason. It is the same for all, because RabbitMQ lets nobody change it for a queue that is there.
"""

NOTHING = encode_data(None)


class Held(NamedTuple):
    """A message that waits here, and how it is answered then. `extra`: credit was given for it."""

    subscription: Subscription
    answer: Callable[[], bool]
    extra: bool


class Worker:
    """Serves from when it is made. `client_id` and `debug` are its server's.

    Args:
        on_subscribed: told None, or the error, when the broker has answered.
    """

    def __init__(
        self,
        connection: Connection,
        service: Service,
        *,
        client_id: str,
        debug: bool,
        metrics: RequestMetrics | None,
        on_subscribed: Callable[[Exception | None], None],
    ) -> None:
        self.service = service
        self.metrics = metrics
        self._connection = connection
        self._client_id = client_id
        self._debug = debug
        self._lane = connection.lane(service.credit)
        self._retries: Retries[Held] = Retries(threading.Lock())
        self._answers: Answers[Any, tuple[Delivery, Request]] | None = None
        if service.idempotent_for is not None:
            self._answers = Answers(threading.Lock(), service.idempotent_for)
        connection.every(self._retry)
        self._subscription = connection.subscribe(
            service.endpoint,
            service.share_id,
            ttl=service.ttl,
            credit=service.credit,
            lane=self._lane,
            max_deliveries=BROKER_DELIVERIES,
            on_delivery=self._serve,
            on_subscribed=on_subscribed,
        )

    @property
    def ready(self) -> bool:
        """Whether the broker has confirmed the service and may send it a request, or has it at work on one."""
        return self._subscription.ready

    def leave(self) -> None:
        """The server is leaving: what waits here for its next attempt is somebody else's now."""
        for held in self._retries.close():
            self._let_go(held)

    def forget(self, on_forgotten: Callable[[Exception | None], None]) -> None:
        """Serve no more, and have the broker end the destination with what waits there."""
        self._connection.unsubscribe(self._subscription, forget=True, on_unsubscribed=on_forgotten)

    # A request

    def _serve(self, delivery: Delivery) -> None:
        """In the lane."""
        if delivery.stale:
            return
        service = self.service
        count = delivery_count(delivery.message)
        try:
            request = decode_request(delivery.message)
        except BadRequest as error:
            log.warning("rejected a message to %s: %s", service.endpoint, error)
            delivery.reject("amqp:decode-error", str(error))
            return
        if request.expires is not None and time() * 1000.0 > request.expires:
            log.debug("dropped a request to %s whose caller waits no more: %s", service.endpoint, request.uuid)
            delivery.accept()
            return
        if count:
            if self.metrics is not None:
                self.metrics.redelivered(service)
            if count >= service.max_deliveries:
                self._bury(delivery, request, count, "no worker has survived it, or settled it, so often")
                return
        if self._answers is not None and not self._begin(self._answers, delivery, request):
            return
        self._work(delivery, request, count)

    def _work(self, delivery: Delivery, request: Request, count: int) -> None:
        """Run the function, and answer."""
        service, metrics = self.service, self.metrics
        began = 0.0 if metrics is None else metrics.began(service)
        data: Any = None
        fault: Fault | None = None
        reply = b""
        try:
            data = service.function(request.data)
            if request.reply_to:
                if self._answers is not None:
                    data = encode_data(data)
                reply = encode_reply(request, data)
            elif self._answers is not None:
                data = NOTHING
        except Abort as error:
            fault = Fault(error.code, error.message, None, error.details, error.retryable)
        except Exception as error:
            if request.reply_to or not count:  # one that is tried again has had its traceback
                log.exception("%s failed on the request %s from %s", service.endpoint, request.uuid, _source(request))
            trace = traceback.format_exc() if self._debug else None
            fault = Fault(500, str(error), type(error).__name__, None, False, trace)
        except BaseException:
            # exit(), a greenlet that is killed: not for the caller. Somebody else may do better.
            if self._answers is not None:
                self._end(self._answers, request, None, None)
            delivery.fail()
            raise
        finally:
            if metrics is not None:
                metrics.ended(service, began, None if fault is None else fault.code)
        if self._answers is not None:
            self._end(self._answers, request, data, fault)
        if not request.reply_to:
            self._settle_one_way(delivery, request, count, fault)
        else:
            if fault is not None:
                reply = self._encode_fault(request, fault)
            self._send(request, reply, partial(self._replied, delivery, request))

    def _encode_fault(self, request: Request, fault: Fault) -> bytes:
        try:
            return encode_fault(request, fault)
        except Exception as error:
            log.error("%s aborted with details that cannot be sent: %s", self.service.endpoint, error)
            return encode_fault(request, Fault(500, "the error of the service cannot be sent", type(error).__name__))

    def _reply(self, delivery: Delivery, request: Request, reply: bytes) -> None:
        self._send(request, reply, partial(self._replied, delivery, request))

    def _send(self, request: Request, reply: bytes, on_outcome: Callable[[Outcome, Condition | None], None]) -> None:
        assert request.reply_to is not None
        try:
            self._connection.publish(request.reply_to, reply, mandatory=True, on_outcome=on_outcome)
        except StoppedError:
            log.debug("stopped before the reply to %s was sent; its request goes to another server", request.uuid)

    def _replied(self, delivery: Delivery, request: Request, outcome: Outcome, condition: Condition | None) -> None:
        """What became of a reply. Without a broker to tell, the request stays unsettled: another server gets it."""
        if outcome is Outcome.ACCEPTED:
            delivery.accept()
        elif outcome is Outcome.RELEASED and condition is not None:
            log.debug("stopped before the reply to %s was taken", request.uuid)
        elif outcome is Outcome.REJECTED:
            log.warning("the broker did not take the reply to %s for %s: %s", request.uuid, request.reply_to, condition)
            self._lane.submit(self._explain, delivery, request, condition)
        else:
            log.warning("nobody was there to take the reply to %s at %s", request.uuid, request.reply_to)
            delivery.accept()

    def _explain(self, delivery: Delivery, request: Request, condition: Condition | None) -> None:
        """In the lane: the reply was rejected, for its size maybe, so the caller gets the reason instead."""
        name, description = condition or (None, "the broker gave no reason")
        fault = Fault(500, f"the broker did not take the reply: {description}", name)
        self._send(request, encode_fault(request, fault), lambda outcome, condition: _settle(delivery))

    # Calls that come twice

    def _begin(self, answers: Answers[Any, tuple[Delivery, Request]], delivery: Delivery, request: Request) -> bool:
        """Whether a request is to be run. Else it is answered, or waits for the one that is running."""
        key = _key(request)
        if key is None:
            return True
        answer = answers.begin(key, (delivery, request), monotonic())
        if answer is not Turn.RUN and answer is not Turn.WAIT:
            log.debug("answered the request %s to %s once more", request.uuid, self.service.endpoint)
            self._answer(delivery, request, answer)
        return answer is Turn.RUN

    def _end(
        self, answers: Answers[Any, tuple[Delivery, Request]], request: Request, data: Any, fault: Fault | None
    ) -> None:
        """It was run. What may go better at another time is not remembered, nor is what is tried again anyway."""
        key = _key(request)
        if key is None:
            return
        answer = data if fault is None else fault
        kept = answer if fault is None or (request.reply_to and not fault.retryable) else None
        size = 0 if kept is None else len(data) if fault is None else len(repr(fault))
        for delivery, other in answers.end(key, kept, size, monotonic()):
            if answer is None or not other.reply_to and fault is not None:
                delivery.release()
            else:
                self._answer(delivery, other, answer)

    def _answer(self, delivery: Delivery, request: Request, answer: Any) -> None:
        if not request.reply_to:
            delivery.accept()
        elif isinstance(answer, Fault):
            self._reply(delivery, request, self._encode_fault(request, answer))
        else:
            self._reply(delivery, request, encode_reply(request, answer))

    # One-way messages

    def _settle_one_way(self, delivery: Delivery, request: Request, count: int, fault: Fault | None) -> None:
        """Nobody waits for a reply: what failed is tried again later, unless its function says that this is no use."""
        if fault is None:
            delivery.accept()
            return
        reason = fault.message if fault.type is None else f"{fault.type}: {fault.message}"
        count += 1
        final = fault.type is None and not fault.retryable
        if final or count >= self.service.max_deliveries:
            self._bury(delivery, request, count, reason)
            return
        seconds = delay(count, random.random())
        log.info(
            "attempt %d of %d at %s to %s failed, the next one in %.1f s: %s",
            count, self.service.max_deliveries, request.uuid, self.service.endpoint, seconds, reason,
        )  # fmt: skip
        if self.metrics is not None:
            self.metrics.retried(self.service)
        self._hold(delivery, seconds, delivery.fail)

    def _hold(self, delivery: Delivery, seconds: float, answer: Callable[[], bool]) -> None:
        """Keep a message, and answer it after a time; more credit meanwhile keeps it from being in others' way."""
        extra = len(self._retries) < MAX_HELD
        if extra:
            self._connection.add_credit(delivery.subscription, 1)
        at = monotonic() + seconds
        held = Held(delivery.subscription, answer, extra)
        if self._retries.add(at, held):
            self._connection.wake(at)
        else:
            self._let_go(held)

    def _let_go(self, held: Held) -> None:
        if held.extra:
            self._connection.add_credit(held.subscription, -1)
        held.answer()

    def _retry(self, now: float) -> float | None:
        """On the clock's thread: give back what has waited long enough; returns when to look again."""
        for held in self._retries.due(now):
            self._let_go(held)
        return self._retries.next_due()

    # Dead letters

    def _bury(self, delivery: Delivery, request: Request, count: int, reason: str) -> None:
        """In the lane: the request goes to the dead letters."""
        service = self.service
        log.error(
            "the request %s to %s goes to the dead letters after %d attempts: %s",
            request.uuid, service.endpoint, count, reason,
        )  # fmt: skip
        letter = Letter(
            id=uuid.uuid4().hex[:12],
            endpoint=service.endpoint,
            share=service.share_id,
            topic=request_topic(delivery.message, service.endpoint),
            reason=reason,
            count=count,
            time=int(time() * 1000),
            source=_source(request),
            server=self._client_id,
            message=delivery.message,
        )
        told = partial(self._buried, delivery, request, count)
        try:
            self._connection.publish(
                dead_topic(service.endpoint), encode_letter(letter), mandatory=True, on_outcome=told
            )
        except StoppedError:
            log.debug("stopped before %s was a dead letter; another server sees to it", request.uuid)

    def _buried(
        self, delivery: Delivery, request: Request, count: int, outcome: Outcome, condition: Condition | None
    ) -> None:
        """What became of a dead letter. If the broker does not keep it, it stays a request, for a later attempt."""
        if outcome is Outcome.ACCEPTED:
            if self.metrics is not None:
                self.metrics.buried(self.service)
            if request.reply_to:
                self._lane.submit(self._give_up, delivery, request, count)
            else:
                delivery.accept()
        elif outcome is Outcome.RELEASED and condition is not None:
            log.debug("stopped before the dead letter of %s was taken", request.uuid)
        else:
            why = condition or "nobody is subscribed to the dead letters"
            log.error("the dead letter of %s was not kept, so the request goes back: %s", request.uuid, why)
            self._lane.submit(self._hold, delivery, LONGEST, delivery.release)

    def _give_up(self, delivery: Delivery, request: Request, count: int) -> None:
        """In the lane: tell the caller that there will be no result."""
        endpoint = self.service.endpoint
        said = f"the request was given to {endpoint} {count} times in vain, and is in {dead_topic(endpoint)} now"
        self._reply(delivery, request, encode_fault(request, Fault("undeliverable", said, None, {"count": count})))


def _source(request: Request) -> str | None:
    return request.source or request.reply_to


def _key(request: Request) -> Hashable | None:
    """What makes two requests the same one. The ids of bare requests are only their sender's own; None: it has none."""
    if isinstance(request, BareRequest):
        return None if request.correlation is None else (request.reply_to, request.correlation)
    return request.uuid or None


def _settle(delivery: Delivery) -> None:
    delivery.accept()
