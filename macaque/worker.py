"""One service at work over one connection: from a request's bytes to its reply, its next attempt, or its dead letter.

The rules of this file:

* A request is settled when the broker has accepted its reply. A worker that dies before leaves it to another one.
* Whatever the function does, its caller is answered, and the worker goes on. Each step of a request is taken by
  `_step`, which gives the request back, as a failed attempt, when the step itself fails.
* A request is tried `max_deliveries` times; then it is a dead letter, and settled when the broker has accepted that.
* Functions run in the lane of their service, as many at a time as it has credit; what is told to callers later goes out
  by a lane of its own, the desk, so that functions that never return keep nobody from being told.
"""

from __future__ import annotations

import inspect
import logging
import random
import threading
from collections.abc import Callable
from threading import get_ident
from time import monotonic, time
from typing import TYPE_CHECKING, Any

import msgspec

from macaque.burials import Burials
from macaque.clocks import DIFFERENCE, Clocks
from macaque.cycles import Cycles, told_of_waits
from macaque.deadlines import Deadlines
from macaque.envelope import BadRequest, Fault, Request, decode_request, encode_data, encode_reply
from macaque.holding import Holding
from macaque.invocation import OVERRUN, fault_of, wanted_exit
from macaque.job import Job
from macaque.registry import MAX_ATTEMPTS, Service
from macaque.repeats import Repeats
from macaque.replies import Replies
from macaque.retries import delay
from mqlight.connection import Connection
from mqlight.delivery import Delivery
from mqlight.wire.attempts import Marks
from mqlight.wire.log import Log, attempt, report
from mqlight.wire.message import delivery_count, time_to_live
from mqlight.wire.text import printable

if TYPE_CHECKING:
    from macaque.metrics import RequestMetrics

__all__ = ["Worker"]

log = Log(__name__, BaseException)

BROKER_DELIVERIES = MAX_ATTEMPTS + 10
"""How often a broker that counts gives a request out: more than any service tries one, so that it is buried here, with
its reason. It is the same for all, because RabbitMQ lets nobody change it for a queue that is there.
"""

NOTHING = encode_data(None)


class Worker:
    """Serves from when it is made. `client_id`, `debug`, `clocks` and `cycles` are its server's.

    Args:
        on_subscribed: told None, or the error, when the broker has answered.
        on_exit: told how the process is to end, when a function has asked for that and its caller was answered.
    """

    def __init__(
        self,
        connection: Connection,
        service: Service,
        *,
        client_id: str,
        debug: bool,
        metrics: RequestMetrics | None,
        clocks: Clocks,
        cycles: Cycles,
        on_subscribed: Callable[[Exception | None], None],
        on_exit: Callable[[SystemExit], None],
    ) -> None:
        self.service = service
        self.metrics = metrics
        self._connection = connection
        self._debug = debug
        self._clocks = clocks
        self._cycles = cycles
        self._on_exit = on_exit
        self._about_to_wait = self._waits
        self._lane = connection.lane(service.credit)
        self._desk = connection.lane(1)
        self._holding = Holding(connection)
        self._replies = Replies(connection, self._holding, self._desk, self._step)
        self._burials = Burials(
            connection, service, client_id, self._holding, self._desk, self._step, self._replies, self._buried
        )
        self._repeats: Repeats | None = None
        if service.idempotent_for is not None:
            self._repeats = Repeats(service.idempotent_for, self._replies, self._step, self._claim)
        self._watched: Deadlines[Job] = Deadlines(threading.Lock())
        """The requests that have to be done in time, where the service has a timeout."""
        self._counting = threading.Lock()
        self._overrun = 0
        """Places that are taken by functions whose time is over."""
        if service.timeout is not None:
            connection.every(self._look)
        self._subscription = connection.subscribe(
            service.endpoint,
            service.share_id,
            ttl=service.ttl,
            credit=service.credit,
            lane=self._lane,
            max_deliveries=BROKER_DELIVERIES,
            marks=Marks.EVERY if service.max_deliveries == 1 else Marks.REDELIVERED,
            on_delivery=self._serve,
            on_subscribed=on_subscribed,
        )

    @property
    def trouble(self) -> str | None:
        """Why no request can be served; None when it is ready, or at work on as many as its credit allows."""
        if self._overrun >= self.service.credit:
            return f"all {self._overrun} places are taken by functions that run for longer than their timeout"
        return None if self._subscription.ready else "the broker has not confirmed it, or may not send to it"

    def leave(self) -> None:
        """The server is leaving: what waits here for its next attempt is somebody else's now."""
        self._holding.close()

    def forget(self, on_forgotten: Callable[[Exception | None], None]) -> None:
        """Serve no more, and have the broker end the destination with what waits there."""
        self._connection.unsubscribe(self._subscription, forget=True, on_unsubscribed=on_forgotten)

    # Steps

    def _step(self, job: Job, step: Callable[..., object], *args: Any) -> None:
        """Call `step(job, *args)`. Whatever it raises, the request does not stay unsettled."""
        try:
            step(job, *args)
        except BaseException:
            self._rescue(job, step)

    def _rescue(self, job: Job, step: Callable[..., object]) -> None:
        """A step has failed: give the request back as a failed attempt, with those who wait for the same."""
        delivery = job.delivery
        self._watched.take(job)
        try:
            self._end(job, None, 0)
            self._holding.hold(delivery, delay(job.count + 1, random.random()), delivery.fail, delivery.fail)
        except BaseException:
            delivery.fail()  # without a pause, but it goes back
        report(log, step)

    # A request

    def _serve(self, delivery: Delivery) -> None:
        """In the lane."""
        if not delivery.stale:
            job = Job(delivery)
            try:
                job.request = decode_request(delivery.message)
                self._admit(job, delivery, job.request)
            except BadRequest as error:
                self._step(job, self._turn_away, error)
            except BaseException:
                self._rescue(job, self._admit)

    def _admit(self, job: Job, delivery: Delivery, request: Request) -> None:
        """Run the request, unless it is late, was tried too often, or comes twice."""
        service, message = self.service, delivery.message
        ttl, expires = time_to_live(message), request.expires
        if ttl is not None:
            # What is left is counted on from when the message arrived, on this machine's clock.
            job.deadline = delivery.arrived + ttl / 1000
            if expires is not None and not -DIFFERENCE < expires - ttl - time() * 1000 < DIFFERENCE:
                self._compare_clocks(job, expires, ttl)
        elif expires is not None:
            # The sender has given no time to live: its clock is all that there is.
            job.deadline = delivery.arrived + expires / 1000 - time()
        if job.deadline is not None and monotonic() > job.deadline:
            log.info("dropped a request to %s whose caller waits no more: %s", service.endpoint, request.uuid)
            if self.metrics is not None:
                attempt(log, self.metrics.expired, service)
            job.settle()
            return
        count = delivery_count(message)
        if count:
            job.count = count
            if self.metrics is not None:
                attempt(log, self.metrics.redelivered, service)
            if count >= service.max_deliveries:
                self._burials.bury(job, count, "no worker has survived it, or settled it, so often")
                return
        if self._repeats is None or self._is_first(self._repeats, job):
            self._work(job)

    def _is_first(self, repeats: Repeats, job: Job) -> bool:
        """Whether a request is to be run. Else it gets the answer of the first one, now or when that is there."""
        if self.service.timeout is not None:
            self._watch(job, self.service.timeout)
        if not repeats.begin(job):
            return False
        if self._claim(job):
            return True
        repeats.end(job, None, 0)  # its time was over before it could begin, and its caller is told
        return False

    def _compare_clocks(self, job: Job, expires: float, ttl: int) -> None:
        dialect = self._connection.dialect
        counted_down = dialect is not None and dialect.counts_down
        said = self._clocks.compare(expires, ttl, time() * 1000, counted_down=counted_down)
        if said is not None:
            log.warning(
                "the clock of %s is %s. Requests are not affected, but the times in logs and dead letters are",
                job.source, said,
            )  # fmt: skip

    def _turn_away(self, job: Job, error: BadRequest) -> None:
        """It is no request: its sender is told, if it says where, and the broker keeps it no longer."""
        log.warning("rejected a message to %s: %s", self.service.endpoint, error)
        job.wrong = str(error)
        if error.asked is None:
            job.settle()
        else:
            job.request = error.asked
            self._replies.send_fault(job, Fault(400, str(error), "BadRequest"))

    def _work(self, job: Job) -> None:
        """Run the function, and answer."""
        service, request = self.service, job.request
        job.delivery.begin()
        if service.timeout is not None:
            job.running = True
            self._watch(job, service.timeout)
        if self.metrics is not None:
            attempt(log, self._measure, job)
        data: Any = None
        fault: Fault | None = None
        leaving: SystemExit | None = None
        reply = b""
        thread = get_ident()
        told_of_waits[thread] = self._about_to_wait
        try:
            data = service.function(request.data)
            if request.reply_to:
                if self._repeats is not None:
                    data = encode_data(data)
                reply = encode_reply(request, data)
            elif data is not None:
                _refuse_unrun(data)
        except BaseException as error:
            fault, leaving = fault_of(error, self._debug), wanted_exit(error)
            # An abort is no fault of the program, and what is tried again has had its traceback.
            if fault.type is None:
                log.info(
                    "%s aborted the request %s from %s: %s (code %s)",
                    service.endpoint, request.uuid, job.source, printable(fault.message), fault.code,
                )  # fmt: skip
            elif request.reply_to or not job.count:
                log.exception("%s failed on the request %s from %s", service.endpoint, request.uuid, job.source)
        finally:
            told_of_waits.pop(thread, None)
        if log.is_enabled_for(logging.DEBUG):
            log.debug(
                "%s worked on the request %s from %s: %s",
                service.endpoint, request.uuid, job.source, "ok" if fault is None else f"code {fault.code}",
            )  # fmt: skip
        if service.timeout is not None and not self._watched.take(job):
            self._returned(job, data, fault)
        else:
            if self.metrics is not None:
                attempt(log, self.metrics.ended, service, job.began, None if fault is None else fault.code)
            if reply and fault is None and self._repeats is None:
                self._replies.send(job, reply)
            else:
                self._finish(job, data, fault, reply)
        if leaving is not None:
            self._on_exit(leaving)

    def _finish(self, job: Job, data: Any, fault: Fault | None, reply: bytes) -> None:
        """The function has come to an end: answer those who wait for that."""
        wanted = bool(job.request.reply_to)
        if fault is not None and wanted:
            fault, reply = self._replies.encode_fault(job, fault)
        if self._repeats is not None:
            self._end(job, fault or (data if wanted else NOTHING), len(reply))
        if wanted:
            self._replies.send(job, reply)
        else:
            self._settle_one_way(job, fault)

    def _end(self, job: Job, answer: Any, size: int) -> None:
        """Answer those who wait for the same; None sends them back to the broker."""
        if self._repeats is not None:
            self._repeats.end(job, answer, size)

    def _measure(self, job: Job) -> None:
        if self.metrics is not None:
            job.began = self.metrics.began(self.service)

    def _waits(self, topic: str) -> None:
        """The function that runs is about to wait for the service at `topic`."""
        circle = self._cycles.add(self.service, topic)
        if circle is not None:
            log.warning(
                "%s: a service that waits for itself takes a place of its own credit (%d) meanwhile; when all places "
                "wait, none is left to answer. Use a callback instead of waiting, or an endpoint of its own, or more "
                "credit", " waits for ".join(each.name for each in circle), self.service.credit,
            )  # fmt: skip

    # Functions that take too long

    def _watch(self, job: Job, seconds: float) -> None:
        at = monotonic() + seconds
        self._watched.add(job, at)
        self._connection.wake(at)

    def _look(self, now: float) -> float | None:
        """On the clock's thread: see to the requests whose time is over; return when to look again."""
        for job in self._watched.overdue(now):
            self._desk.submit(self._step, job, self._overran)
        return self._watched.next()

    def _overran(self, job: Job) -> None:
        """At the desk: the time of a request is over. Its function goes on, and keeps its place until it returns."""
        service = self.service
        fault = Fault(OVERRUN, f"{service.endpoint} was not done within {service.timeout:g} s", "Timeout", None, True)
        with self._counting:
            if job.running:
                job.counted = True
                self._overrun += 1
            taken = self._overrun
        if job.counted:
            self._connection.add_credit(job.delivery.subscription, -1)
            log.warning(
                "%s runs for longer than its timeout of %g s on the request %s from %s; its caller is told, and its "
                "place is taken until it returns (%d of %d places are)",
                service.endpoint, service.timeout, job.request.uuid, job.source, taken, service.credit,
            )  # fmt: skip
            if self.metrics is not None:
                attempt(log, self.metrics.overran, service, fault.code)
        elif self._repeats is not None:
            self._repeats.leave(job)
        if job.request.reply_to:
            self._replies.send_fault(job, fault)
        else:
            self._settle_one_way(job, fault)

    def _returned(self, job: Job, data: Any, fault: Fault | None) -> None:
        """A function has returned after its time was over. Its caller was told; a repeated call gets the result."""
        with self._counting:
            job.running = False
            if job.counted:
                self._overrun -= 1
        if job.counted:
            self._connection.add_credit(job.delivery.subscription, 1)
        if self.metrics is not None:
            attempt(log, self.metrics.returned, self.service, job.began)
        log.warning("%s returned from the request %s too late for its caller", self.service.endpoint, job.request.uuid)
        done = NOTHING if not job.request.reply_to else data
        self._end(job, done if fault is None else fault, len(done) if isinstance(done, msgspec.Raw) else 0)

    def _claim(self, job: Job) -> bool:
        """Whether it is ours to answer a request, and not that of the clock, which answers what is late."""
        return self.service.timeout is None or self._watched.take(job)

    # Requests that failed

    def _settle_one_way(self, job: Job, fault: Fault | None) -> None:
        """Nobody waits for a reply: what failed is tried again later, unless its function says that this is no use."""
        if fault is None:
            job.settle()
            return
        service, delivery = self.service, job.delivery
        reason = fault.message if fault.type is None else f"{fault.type}: {fault.message}"
        count = job.count + 1
        final = fault.type is None and not fault.retryable
        if final or count >= service.max_deliveries:
            self._burials.bury(job, count, reason)
            return
        seconds = delay(count, random.random())
        log.info(
            "attempt %d of %d at %s to %s failed, the next one in %.1f s: %s",
            count, service.max_deliveries, job.request.uuid, service.endpoint, seconds, reason,
        )  # fmt: skip
        if self.metrics is not None:
            attempt(log, self.metrics.retried, service)
        self._holding.hold(delivery, seconds, delivery.fail, delivery.fail)

    def _buried(self) -> None:
        if self.metrics is not None:
            attempt(log, self.metrics.buried, self.service)


def _refuse_unrun(data: Any) -> None:
    """Raise TypeError for a result that is work which nobody will do: of a one-way message it is not looked at."""
    if inspect.isawaitable(data) or inspect.isgenerator(data) or inspect.isasyncgen(data):
        raise TypeError(f"the function returned a {type(data).__name__}, which is not run: write a plain function")
