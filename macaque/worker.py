"""One service on one connection: from a request's bytes to its reply, its next attempt, or its dead letter.

A request takes five steps:

1. *admit*: decode it, and decide whether it is run (`policy.admit`);
2. *once*: a repeated request gets the result of the first one (`duplicates`);
3. *run*: call the function (`invocation`);
4. *settle*: decide by the result (`policy.after_failure`);
5. *tell*: send the reply or the dead letter, and settle the request (`replies`, `dead_lettering`).

The rules of this file:

* A request is settled when the broker has accepted its reply. If a worker dies before that, another one gets it.
* Whatever the function does, its caller is answered, and the worker goes on. If a step of a request fails, the request
  is given back as a failed attempt (`desk`).
* Functions run in the lane of their service, as many at a time as it has credit. Messages that are sent later use the
  lane of the desk.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from logging import DEBUG
from typing import Any

from macaque.cancels import Cancels
from macaque.clocks import DIFFERENCE, Clocks
from macaque.cycles import Cycles
from macaque.dead_letter import counted
from macaque.dead_lettering import DeadLettering
from macaque.desk import Desk
from macaque.duplicates import Duplicates
from macaque.envelope import BadRequest, Fault, decode_request, encode_reply
from macaque.faults import OVERRUN
from macaque.invocation import Encode, Failure, Invoker, Later
from macaque.job import Job
from macaque.loop import Loop
from macaque.observe.figures import Figures
from macaque.observe.observer import Observer
from macaque.observe.tracing import Tracing
from macaque.overruns import Overruns
from macaque.parts import Inbox
from macaque.policy import Admission, admit, after_failure
from macaque.registry import MAX_ATTEMPTS, Service
from macaque.replies import Replies, encode_nothing, encode_result
from macaque.retries import delay
from macaque.retry_queue import RetryQueue
from macaque.transport import Transport, topic_in
from macaque.unfinished import Unfinished
from mqlight.amqp.capabilities import Marks
from mqlight.amqp.message import delivery_count, first_time_to_live, time_to_live
from mqlight.delivery import Delivery
from mqlight.log import Log, attempt, report

__all__ = ["Worker"]

log = Log(__name__, BaseException)

BROKER_DELIVERIES = MAX_ATTEMPTS + 10
"""The broker's own delivery limit. It is above every service's limit, so that the worker writes the dead letter, with
its reason. It is the same for all services, because RabbitMQ does not change the limit of an existing queue.
"""

_RUN = Admission.RUN  # looked up once, because looking up a member of an enum is slow


class Worker:
    """Serves a service. The constructor begins. The arguments from `client_id` to `inbox` are its server's.

    Args:
        on_subscribed: called with None or the error when the broker has answered.
        on_exit: called with the exit that a function has asked for, after the function's caller was answered.
    """

    def __init__(
        self,
        transport: Transport,
        service: Service,
        *,
        client_id: str,
        debug: bool,
        observer: Observer | None,
        clocks: Clocks,
        cycles: Cycles,
        loop: Loop,
        inbox: Inbox,
        on_subscribed: Callable[[Exception | None], None],
        on_exit: Callable[[SystemExit], None],
        tracing: Tracing | None = None,
    ) -> None:
        self.service, self.observer = service, observer
        self.figures = Figures()
        self._transport = transport
        self._now, self._wall = transport.now, transport.wall
        self._clocks = clocks
        self._on_exit = on_exit
        about_to_wait = partial(cycles.wait, service)
        topic = partial(topic_in, transport)
        self._invoker = Invoker(
            service, debug=debug, clock=transport.now, about_to_wait=about_to_wait, topic_of=topic, tracing=tracing
        )
        self._encode: Encode = encode_reply if service.idempotent_for is None else encode_result
        desk = self._desk = Desk(transport.lane(1), self._rescue)
        self._retries = RetryQueue(transport)
        self._replies = Replies(transport, self._retries, desk)
        self._dead_letters = DeadLettering(
            transport, service, client_id, self._retries, desk, self._replies, self._dead_lettered
        )
        self._duplicates: Duplicates | None = None
        if service.idempotent_for is not None:
            self._duplicates = Duplicates(service.idempotent_for, transport.now, self._replies, desk, self._claim)
        self.overruns: Overruns | None = None
        if service.timeout is not None:
            self.overruns = Overruns(transport, service.timeout, lambda job: desk.submit(job, self._overran))
        self._cancels = Cancels(transport, service.topic)
        self._unfinished = Unfinished(self._invoker, loop, self._cancels, inbox, desk, self._ran)
        self.listen = partial(self._unfinished.listen, service.kind.streams)
        credit = self._credit = service.credit or 1
        self._marks_all = service.max_deliveries == 1
        self.subscription = transport.subscribe(
            service.topic,
            service.share_id,
            ttl=service.ttl,
            credit=credit,
            lane=transport.lane(credit),
            max_deliveries=BROKER_DELIVERIES,
            marks=Marks.EVERY if self._marks_all else Marks.REDELIVERED,
            on_delivery=self._serve,
            on_subscribed=on_subscribed,
        )

    @property
    def trouble(self) -> str | None:
        """The reason why no request can be served; None if ready, or busy with as many as the credit allows."""
        taken = 0 if self.overruns is None else self.overruns.taken
        if taken >= self._credit:
            return f"all {taken} places are taken by functions that run for longer than their timeout"
        return None if self.subscription.ready else "not confirmed by the broker, or without credit"

    def leave(self) -> None:
        """Give waiting deliveries to other servers, because this one is stopping."""
        self._retries.close()

    def forget(self, on_forgotten: Callable[[Exception | None], None]) -> None:
        """Stop serving, and delete the destination with the messages that wait there."""
        self._transport.unsubscribe(self.subscription, forget=True, on_unsubscribed=on_forgotten)

    def _rescue(self, job: Job, step: Callable[..., object]) -> None:
        """Give a request back as a failed attempt, because a step failed, with the repeated requests that wait."""
        delivery = job.delivery
        self._claim(job)
        try:
            self._end(job, None, 0)
            self._retries.hold(delivery, delay(job.count + 1, random.random()), delivery.fail, delivery.fail)
        except BaseException:
            delivery.fail()  # without a pause, but the request goes back
        report(log, step)

    # Steps 1 and 2: admit, once

    def _serve(self, delivery: Delivery) -> None:
        """Serve a request. Runs in the lane."""
        if delivery.link.closed:  # another server gets the request
            return
        job = Job(delivery)
        try:
            service, message = self.service, delivery.message
            request = job.request = decode_request(message)
            if self._cancels.unwanted and self._cancels.drop(job):
                return
            ttl: int | None = first_time_to_live(message)
            first = ttl is not None
            if not first:
                ttl, job.count = time_to_live(message), delivery_count(message)
            now, wall, expires = self._now(), self._wall() * 1000, request.expires
            admission, job.deadline = admit(
                ttl, expires, job.count, service.max_deliveries, delivery.arrived, now, wall
            )
            if ttl and expires is not None and not -DIFFERENCE < expires - ttl - wall < DIFFERENCE:
                dialect = self._transport.dialect
                counted_down = dialect is not None and dialect.counts_down
                arrived = wall - (now - delivery.arrived) * 1000
                self._clocks.compare(job.source, expires, ttl, arrived, counted_down=counted_down)
            if admission is not _RUN or job.count:
                if not self._admit_again(job, admission):
                    return
            if self._duplicates is None or self._is_first(self._duplicates, job):
                if self._marks_all or not first:
                    delivery.begin()
                self._run(job)
        except BadRequest as error:
            self._desk.step(job, self._reject, error)
        except BaseException:
            self._rescue(job, self._serve)

    def _admit_again(self, job: Job, admission: Admission) -> bool:
        """Return whether to run a request that is late or has failed delivery attempts. Otherwise settle it."""
        observer, service = self.observer, self.service
        if admission is Admission.EXPIRED:
            log.info("dropped a request to %s whose caller no longer waits: %s", service.topic, job.request.uuid)
            if observer is not None:
                attempt(log, observer.expired, service)
            job.settle()
            return False
        if observer is not None:
            attempt(log, observer.redelivered, service)
        if admission is Admission.UNDELIVERABLE:
            said = f"no worker settled it in {counted(job.count, 'delivery attempt')}"
            self._dead_letters.send(job, job.count, said)
            return False
        return True

    def _is_first(self, duplicates: Duplicates, job: Job) -> bool:
        """Return whether to run a request. Otherwise it gets the result of the first one, now or later."""
        if self.overruns is not None:
            self.overruns.watch(job)
        if not duplicates.begin(job):
            return False
        if self._claim(job):
            return True
        duplicates.end(job, None, 0)  # its time was over before its function began, and its caller has been told
        return False

    def _claim(self, job: Job) -> bool:
        """Return whether this thread may answer a request. The clock answers a late one."""
        return self.overruns is None or self.overruns.claim(job)

    def _reject(self, job: Job, error: BadRequest) -> None:
        """Reject a message that is not a request. Its sender gets an error if the message has a `reply-to`."""
        log.warning("rejected a message to %s: %s", self.service.topic, error)
        job.wrong = str(error)
        if error.asked is None:
            job.settle()
        else:
            job.request = error.asked
            self._replies.send_fault(job, Fault(400, str(error), "BadRequest"))

    # Step 3: run

    def _run(self, job: Job) -> None:
        """Run the function, and answer."""
        request, overruns = job.request, self.overruns
        if overruns is not None:
            overruns.begin(job)
        if self.observer is not None:
            attempt(log, self.observer.request_began, self.service)
        job.began = self._now()
        result = self._invoker.run(job, self._encode if request.reply_to else encode_nothing)
        (self._unfinished.begin if type(result) is Later else self._ran)(job, result)

    def _ran(self, job: Job, result: Any) -> None:
        """Answer a request whose function has ended, with its encoded result or a Failure."""
        request, overruns = job.request, self.overruns
        failure = result if type(result) is Failure else None
        if job.span is not None:
            self._invoker.served(job, failure)
        seconds = self._now() - job.began
        if log.is_enabled_for(DEBUG):
            said = "ok" if failure is None else f"code {failure.fault.code}"
            log.debug("%s worked on the request %s from %s: %s", self.service.topic, request.uuid, job.source, said)
        if overruns is not None and not overruns.claim(job):
            self._returned_late(overruns, job, result, seconds)
        else:
            self.figures.end(seconds, failure is not None)
            if self.observer is not None:
                code = None if failure is None else failure.fault.code
                attempt(log, self.observer.request_ended, self.service, seconds, code)
            if job.unwanted:
                self._end(job, None, 0)
                job.settle()
            elif type(result) is bytes:
                self._replies.send(job, result)
            else:
                self._finish(job, result)
        if failure is not None and failure.exit is not None:
            self._on_exit(failure.exit)

    def _overran(self, job: Job) -> None:
        """Answer a request whose time is over. Its function goes on and keeps its place. Runs at the desk."""
        service, overruns = self.service, self.overruns
        assert overruns is not None
        fault = Fault(OVERRUN, f"{service.topic} was not done within {service.timeout:g} s", "Timeout", None, True)
        taken = overruns.count(job)
        if job.counted:
            overruns.warn(job, service.topic, taken, self._credit)
            self.figures.overrun()
            if self.observer is not None:
                attempt(log, self.observer.request_overran, service, fault.code)
            if job.cancel is not None:
                self._unfinished.stop(job)
        elif self._duplicates is not None:
            self._duplicates.leave(job)
        if job.request.reply_to:
            self._replies.send_fault(job, fault)
        else:
            self._settle(job, fault)

    def _returned_late(self, overruns: Overruns, job: Job, result: Any, seconds: float) -> None:
        """Handle a function that returned after its time was over. A repeated call gets its result."""
        overruns.returned(job)
        self.figures.end(seconds, False)
        if self.observer is not None:
            attempt(log, self.observer.request_returned, self.service, seconds)
        log.warning("%s returned from the request %s too late for its caller", self.service.topic, job.request.uuid)
        if type(result) is Failure:
            self._end(job, result.fault, 0)
        else:
            self._end(job, result, len(result))

    # Steps 4 and 5: settle, tell

    def _finish(self, job: Job, result: Any) -> None:
        """Answer the caller and the repeated requests, if the result is not simply an encoded reply."""
        wanted = bool(job.request.reply_to)
        if type(result) is Failure:
            fault, reply = result.fault, b""
            if result.undecodable:
                job.wrong = fault.message
            if wanted:
                fault, reply = self._replies.encode_fault(job, fault)
            self._end(job, fault, len(reply))
            if wanted:
                self._replies.send(job, reply)
            else:
                self._settle(job, None if result.undecodable else fault)
        else:
            reply = encode_reply(job.request, result) if wanted else b""
            self._end(job, result, len(result))
            if wanted:
                self._replies.send(job, reply)
            else:
                self._settle(job, None)

    def _end(self, job: Job, result: Any, size: int) -> None:
        """Answer the repeated requests that wait. A `result` of None sends them back to the broker."""
        if self._duplicates is not None:
            self._duplicates.end(job, result, size)

    def _settle(self, job: Job, fault: Fault | None) -> None:
        """Settle a one-way message. A failed message is tried again later, or becomes a dead letter."""
        if fault is None:
            job.settle()
            return
        service, delivery = self.service, job.delivery
        decision = after_failure(fault, job.count, service.max_deliveries, random.random())
        if decision.pause is None:
            self._dead_letters.send(job, decision.attempts, decision.reason)
            return
        log.info(
            "attempt %d of %d at %s to %s failed, the next one in %.1f s: %s", decision.attempts,
            service.max_deliveries, job.request.uuid, service.topic, decision.pause, decision.reason,
        )  # fmt: skip
        if self.observer is not None:
            attempt(log, self.observer.retried, service)
        self._retries.hold(delivery, decision.pause, delivery.fail, delivery.fail)

    def _dead_lettered(self) -> None:
        if self.observer is not None:
            attempt(log, self.observer.dead_lettered, self.service)
