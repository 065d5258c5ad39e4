"""The parts of streams of replies, on the side of the service.

The rules of this file:

* A part is sent only if the consumer has granted it. The request grants the first ones. Messages to the `control` topic
  of the stream grant more. So a consumer that stops reading stops the generator.
* Every part has its number. The end has the number of parts. The request is settled after its end.
* A server that stops takes no more grants. Its streams end when the parts that are granted are sent, or a moment before
  the server leaves: then their consumers are told.
* A stream is over when its consumer cancels it or is gone, or at the deadline of the request. Then `wait` raises Over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from macaque.aio import Wakeup, Wakeups
from macaque.control import BadControl, decode_control, encode_end, encode_part, stream_topic
from macaque.envelope import Request
from macaque.errors import Abort, MacaqueError
from macaque.faults import INTERRUPTED
from macaque.invocation import Over
from macaque.job import Job
from macaque.mailbox import Empty, Mailbox
from macaque.room import in_event_loop
from macaque.transport import Transport, topic_in
from mqlight.amqp.message import MessageError, decode
from mqlight.amqp.types import Condition, Outcome
from mqlight.delivery import Delivery
from mqlight.errors import NoRoomError, StoppedError
from mqlight.log import Log

__all__ = ["Discarded", "Inbox", "Parts", "Refused"]

log = Log("macaque.worker", BaseException)

INBOX_TTL = 30
"""Seconds that the broker keeps grants while the server is not connected."""
CREDIT = 1000


class Refused(MacaqueError):
    """The broker did not take a part."""


class Inbox:
    """The topics of one server to which consumers of its streams send grants and cancel messages."""

    name = "the control topic of its streams"

    def __init__(self, transport: Transport, client_id: str) -> None:
        self.transport = transport
        self._topic = stream_topic(client_id)
        self._lock = threading.Lock()
        self._streams: dict[str, Parts] = {}
        self._count = 0
        self._listens = False
        self.leaving = False
        """Whether the server stops, so that no more grants come."""
        self._until = 0.0
        """When the streams of a server that stops have to end, by the clock of the transport."""
        self._wakeups = Wakeups()

    def listen(self) -> None:
        """Subscribe to the topics, the first time."""
        with self._lock:
            listens, self._listens = self._listens, True
        if not listens:
            self.transport.subscribe(
                f"{self._topic}/#",
                ttl=INBOX_TTL,
                credit=CREDIT,
                on_delivery=self._on_delivery,
                on_subscribed=self._on_subscribed,
            )

    def leave(self, seconds: float) -> None:
        """End the streams when the parts that are granted are sent, because the server stops; at most `seconds` later.

        A plain generator ends at its next part. An async generator is cancelled.
        """
        self._until = self.transport.now() + seconds
        self.leaving = True
        with self._lock:
            streams = list(self._streams.values())
        for parts in streams:
            parts.leave()

    def left(self) -> float:
        """Return the seconds that a server that stops gives its streams."""
        return self._until - self.transport.now()

    def open(self, job: Job) -> Parts:
        """Return the parts of a request, which grants the first ones."""
        self.listen()
        with self._lock:
            self._count += 1
            parts = self._streams[str(self._count)] = Parts(self, job, f"{self._topic}/{self._count}")
        return parts

    def close(self, parts: Parts | Discarded) -> None:
        """Forget a stream that has ended."""
        with self._lock:
            self._streams.pop(parts.control.rpartition("/")[2], None)

    # The home of the mailboxes of streams

    def wait(self, lock: threading.Lock, seconds: float) -> bool:
        self.transport.before_blocking()  # the requests to other services must be read meanwhile
        return self.transport.wait(lock, seconds)

    def wakeup(self) -> Wakeup:
        return self._wakeups.new()

    # Events of the transport, under its lock

    def _on_delivery(self, delivery: Delivery) -> None:
        try:
            control = decode_control(delivery.message)
            topic = topic_in(self.transport, decode(delivery.message).to or "")
        except (BadControl, MessageError) as error:
            delivery.reject("amqp:decode-error", str(error))
            return
        delivery.accept()
        parts = self._streams.get(topic.rpartition("/")[2])
        if parts is not None:
            if control.up_to is None:
                parts.stop()
            else:
                parts.grant(control.up_to)

    def _on_subscribed(self, error: Exception | None) -> None:
        if error is not None:
            log.error("long streams of this server stop, because the broker refuses to send their control: %s", error)


class Parts:
    """The parts of one request. They go to the consumer in order."""

    def __init__(self, inbox: Inbox, job: Job, control: str) -> None:
        self.control = control
        self._job = job
        self._transport = inbox.transport
        self._inbox = inbox
        self._granted = job.request.window or 0
        self._failure: Refused | None = None
        self._news: Mailbox[None] = Mailbox(inbox)
        """Something for each change of the members above."""
        self.on_stop: Callable[[], object] | None = None
        """Called by `stop` and `interrupt`."""
        self._on_leave: Callable[[float], object] | None = None
        self._interrupted = False
        job.sent = 0

    def grant(self, up_to: int) -> None:
        """Allow so many parts, from the first one."""
        self._granted = max(self._granted, up_to)
        self._news.put(None)

    def watch(self, on_leave: Callable[[float], object]) -> None:
        """Have `on_leave` called with the seconds that are left, when the server stops. It may be called twice."""
        self._on_leave = on_leave
        if self._inbox.leaving:
            self.leave()

    def leave(self) -> None:
        """Have the stream end in time, because the server stops."""
        self._news.put(None)
        if self._on_leave is not None:
            self._on_leave(max(0.0, self._inbox.left()))

    def interrupt(self) -> None:
        """Stop the generator of a server that stops. Its consumer is told."""
        self._interrupted = True
        if self.on_stop is not None:
            self.on_stop()

    def cause(self, error: BaseException) -> BaseException:
        """Return the error that the consumer gets for an error of the generator."""
        return _interrupted() if self._interrupted else error

    def stop(self) -> None:
        """Have the stream end, because its consumer wants no more parts."""
        self._job.unwanted = True
        self._news.put(None)
        if self.on_stop is not None:
            self.on_stop()

    def wait(self) -> None:
        """Wait until the next part is granted.

        Raises:
            Over: the consumer wants no more parts.
            Refused: the broker did not take an earlier part.
        """
        while not self._ready():
            try:
                self._news.get(self.left())
            except Empty:
                pass

    async def wait_in_loop(self) -> None:
        """Wait as `wait` does, in a task."""
        while not self._ready():
            await self._news.wait()

    def send(self, data: object) -> None:
        """Send a part that is granted. In a thread it waits for room. Raises TypeError: JSON cannot represent it."""
        job = self._job
        assert job.sent is not None
        request = job.request
        message = encode_part(request, data, job.sent, self.control)
        job.sent += 1
        to, patience = request.reply_to or "", 0.0 if in_event_loop() else self.left()
        try:
            self._transport.publish(to, message, mandatory=True, on_outcome=self._on_outcome, timeout=patience)
        except NoRoomError:
            raise Refused("there was no room to send a part") from None
        except StoppedError:
            raise Over from None

    def end(self, request: Request, data: object) -> bytes:
        """Return the message of the end."""
        return encode_end(request, self._job.sent or 0)

    def _ready(self) -> bool:
        if self._job.unwanted or self.left() <= 0:
            raise Over
        if self._failure is not None:
            raise self._failure
        is_granted = (self._job.sent or 0) < self._granted
        if self._inbox.leaving and (not is_granted or self._inbox.left() <= 0):
            raise _interrupted()
        return is_granted

    def left(self) -> float:
        """Return the seconds until the deadline."""
        deadline = self._job.deadline
        return 3600.0 if deadline is None else deadline - self._transport.now()

    def _on_outcome(self, outcome: Outcome, condition: Condition | None) -> None:
        """Take the outcome of a part. Runs under the connection's lock."""
        if outcome is Outcome.RELEASED:  # the consumer is gone, or this server stops
            self.stop()
        elif outcome is not Outcome.ACCEPTED:
            why = "it gave the part back" if condition is None else condition.description or condition.name
            self._failure = Refused(f"the broker did not take a part: {why}")
            self._news.put(None)


def _interrupted() -> Abort:
    return Abort(INTERRUPTED, "its server stops", None, True)


class Discarded:
    """The parts of a one-way message, which has no consumer. The generator runs to its end."""

    control = ""

    def __init__(self, nothing: Any) -> None:
        self._nothing = nothing

    def stop(self) -> None: ...
    def wait(self) -> None: ...
    async def wait_in_loop(self) -> None: ...
    def send(self, data: object) -> None: ...

    def cause(self, error: BaseException) -> BaseException:
        return error

    def end(self, request: Request, data: object) -> Any:
        return self._nothing
