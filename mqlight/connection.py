"""A connection that is made, watched and made again, until every request to it is done.

All access to the engine and the session is under one lock, from any thread. The crew decides which thread reads.
Functions given as ``on_state``, ``on_outcome``, ``on_subscribed``, and ``on_delivery`` without a lane, are called under
that lock. They must be short and must never block. Of the connection they may call only ``submit`` of a lane and the
answers of a delivery.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import monotonic, time
from typing import Any

from mqlight.addresses import Addresses
from mqlight.amqp.capabilities import Marks
from mqlight.amqp.types import Condition, Peer
from mqlight.connector import Connector
from mqlight.delivery import Delivery
from mqlight.dialects.base import Dialect
from mqlight.errors import NetworkError, StoppedError
from mqlight.log import Log
from mqlight.net import forks
from mqlight.net.clock import Clock
from mqlight.net.crew import Crew, Lane
from mqlight.net.process import end_process
from mqlight.outgoing import OnOutcome, Outgoing
from mqlight.receiver import Receiver
from mqlight.state import State, Status
from mqlight.subscription import Subscription

__all__ = ["Connection", "State"]

log = Log(__name__)

HEARTBEAT = 30.0
"""Seconds of silence after which the server counts as gone, unless its URL says ``?heartbeat=SECONDS``."""


class Connection:
    """A connection to one service: see the module. The constructor does not connect; call :meth:`start`.

    Args:
        service: the addresses, tried in order, again and again.
        client_id: AMQP's container id. A second connection with the same id replaces the first one.
        on_state: called ``(state, error)`` at each change of state.
        daemon: whether the process may end while the threads of the connection run.
        heartbeat: seconds of silence after which the server counts as gone, unless its URL says ``?heartbeat=``.
    """

    def __init__(
        self,
        service: Addresses,
        client_id: str,
        *,
        on_state: Callable[[State, Exception | None], None] | None = None,
        daemon: bool = True,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self.client_id = client_id
        self._addresses = service
        self._told_state = on_state
        self._heartbeat = heartbeat
        self._daemon = daemon
        name, self._receiver = f"mqlight-{client_id}", Receiver()
        self._crew = Crew(name, lambda epoch: self._connector.read(epoch), daemon=daemon, on_exit=end_process)
        self._clock = Clock(self._crew, lambda now: self._connector.tick(now))
        self.wake = self._clock.wake
        """``wake(at)`` lets the clock check again by ``at``, in seconds of the monotonic clock."""
        self._make()
        forks.register(self, Connection._after_fork)

    def _make(self) -> None:
        """Make the lock, and the parts that it guards."""
        self._lock = threading.RLock()
        self._status = Status(self._lock, self._told_state)
        self._connector = Connector(
            self._addresses, self.client_id, self._heartbeat, self._lock, self._crew, self._status,
            wake=self._clock.wake, end=self._end,
        )  # fmt: skip
        self._outlet = self._connector.outlet
        self._protocol = self._connector.protocol
        self._receiver.use(self._lock, self._status, self._outlet)

    @property
    def state(self) -> State:
        """The state of the connection."""
        return self._status.state

    @property
    def error(self) -> Exception | None:
        """The reason why there is no connection, None if there is none."""
        return self._status.error

    @property
    def url(self) -> str | None:
        """The server's address, while a connection to it exists or is being made."""
        driver = self._outlet.driver
        return None if driver is None else driver.url

    @property
    def peer(self) -> Peer | None:
        """The properties that the last connected server sent about itself."""
        return self._protocol.peer

    @property
    def dialect(self) -> Dialect | None:
        """The dialect of the connected server, or None without a connection."""
        return self._protocol.dialect

    @property
    def max_message_size(self) -> int:
        """The most bytes of one message that the server accepts, known after the first message sent; 0 if unknown."""
        with self._lock:
            return self._protocol.senders.max_message_size

    def start(self) -> None:
        """Begin to connect, and return at once. A connection that was stopped may be started again.

        Raises:
            NetworkError: the process cannot start the threads that the connection needs. Try again later.
        """
        with self._lock:
            if self.state is State.STOPPING:
                raise StoppedError("the client is stopping; start it again when it has stopped")
            if self.state is not State.STOPPED:
                return
            self._connector.start()
            try:
                self._clock.start(f"mqlight-{self.client_id}-clock", daemon=self._daemon)
                self._crew.start()
            except RuntimeError as error:
                self._clock.stop()
                raise NetworkError(f"no thread can be started: {error}") from error
            self._status.set(State.STARTING, None)

    def wait_started(self, timeout: float) -> None:
        """Wait until the connection is made.

        Args:
            timeout: seconds.

        Raises:
            MQLightError: the reason of a failure, as soon as every URL was tried once.
            NetworkError: there was no connection within ``timeout``.
        """
        self._outlet.before_blocking()
        with self._lock:
            self._status.wait_started(timeout, self.url)

    def stop(self, timeout: float = 10.0) -> None:
        """Take no more messages, wait until held messages are answered and sent messages are settled, then close.

        Args:
            timeout: seconds for all of that. Then the remaining messages are released: the server gives them to another
                client at once, and ``on_outcome`` of messages that are not settled gets RELEASED.
        """
        self._outlet.before_blocking()
        deadline = monotonic() + timeout
        with self._lock:
            if self.state not in (State.STOPPED, State.STOPPING):
                self._status.set(State.STOPPING, self.error)
                self._connector.leave(deadline)
                self._end(None)

    def run_soon(self, task: Callable[[], object]) -> None:
        """Call ``task()`` on the next idle thread of the connection. Takes no lock, so a destructor may call it."""
        self._crew.tell(task)

    def _after_fork(self) -> None:
        """Close the parent's socket without a frame, in the child of a fork, and become stopped.

        The child has none of the parent's threads, and they may have held its locks: so the locks are made anew. The
        parent keeps its subscriptions, its sent messages and its held messages.
        """
        self._crew.forget()
        self._clock.forget()
        self._outlet.forget()
        self._make()

    def _end(self, error: Exception | None) -> None:
        """Stop all attempts, end the threads and report the end to every waiting request. Runs under the lock."""
        self._clock.stop()
        self._crew.stop()
        reason = str(error) if error is not None else "the client was stopped"
        self._connector.stop(Condition("amqp:connection:forced", reason))
        self._status.set(State.STOPPED, error)

    def lane(self, width: int) -> Lane:
        """Return a lane that runs functions of the application, ``width`` at a time."""
        return Lane(self._crew, width)

    def every(self, call: Callable[[float], float | None]) -> None:
        """Let the clock call ``call(now)``, which returns when it is due next, in seconds of the monotonic clock."""
        self._clock.every(call)

    now = staticmethod(monotonic)
    """Return the current time in seconds, on the clock of :meth:`wake` and :meth:`every`."""
    wall = staticmethod(time)
    """Return the current time in seconds since 1970."""

    def topic_of(self, to: str) -> str:
        """Return the topic in the ``to`` of a message that came over this connection."""
        dialect = self._protocol.dialect
        return to if dialect is None else dialect.topic(to)

    def before_blocking(self) -> None:
        """Prepare for a wait for something that arrives over this connection. Call it before the wait; it is cheap."""
        self._outlet.before_blocking()

    def wait(self, lock: threading.Lock, seconds: float) -> bool:
        """Acquire a lock that an event of this connection releases. Return False after ``seconds`` seconds.

        The calling thread reads the socket itself, if no other thread does (see :mod:`mqlight.net.waiters`).
        """
        self._outlet.before_reading()
        return self._connector.waiters.wait(lock, seconds)

    def batch(self) -> AbstractContextManager[None]:
        """Send the messages that this thread publishes in the block together, at the end of the block at the latest.

        They leave earlier if there are 100, if another thread sends, and before this thread waits for the connection. A
        batch within a batch is part of the outer one.
        """
        return self._outlet.batch()

    def publish(
        self,
        topic: str,
        message: bytes,
        *,
        settled: bool = False,
        mandatory: bool = False,
        on_outcome: OnOutcome | None = None,
        timeout: float | None = None,
    ) -> bool:
        """Send an encoded message.

        Args:
            message: an encoded message, as :func:`mqlight.encode` makes it; its ``to`` is ``topic``.
            settled: send at most once: the message counts as accepted when it is handed over. Otherwise it is sent
                again until the server settles it.
            mandatory: the outcome is RELEASED if there is no subscription. Otherwise the server accepts and drops.
            on_outcome: called ``(outcome, condition)`` once.
            timeout: seconds to wait for room when 1000 messages wait already; None waits for ever.

        Returns:
            False when messages wait for a connection or for credit: MQ Light's signal to slow down.

        Raises:
            NoRoomError: there was no room in time. It is a TimeoutError.
            StoppedError: the connection is not started.
        """
        return self._outlet.publish(Outgoing(topic, message, settled, mandatory, on_outcome), timeout)

    def subscribe(
        self,
        pattern: str,
        share: str | None = None,
        *,
        qos: int = 1,
        ttl: int = 0,
        credit: int = 1024,
        lane: Lane | None = None,
        max_deliveries: int = 0,
        dead_letters: str | None = None,
        marks: Marks = Marks.NONE,
        on_delivery: Callable[[Delivery], object],
        on_subscribed: Callable[[Exception | None], None] | None = None,
    ) -> Subscription:
        """Listen to a topic pattern.

        Args:
            pattern: a topic pattern.
            share: the name of a shared destination, or None for a private one.
            qos: 1: the server keeps a message until it is answered. 0: the server forgets a message when it is sent.
            ttl: seconds that the destination outlives its subscribers.
            credit: the most unanswered messages that the client holds.
            lane: the lane in which ``on_delivery`` runs. Without one it runs under the lock (see the module).
            max_deliveries: the most delivery attempts of a message, if the broker can be told.
            dead_letters: the topic to which the broker then moves the message.
            marks: the deliveries that :meth:`Delivery.begin` marks as begun, if the broker supports that.
            on_delivery: called with each delivery. True accepts a delivery that is not answered. If it raises, the
                delivery counts as a failed attempt, unless it is answered already.
            on_subscribed: called with None or the error when the server has answered.
        """
        subscription = Subscription(
            pattern,
            share,
            qos=qos,
            ttl=ttl,
            credit=credit,
            on_message=self._receiver.hand_on(lane, on_delivery),
            on_subscribed=on_subscribed,
            max_deliveries=max_deliveries,
            dead_letters=dead_letters,
            marks=marks,
        )
        self._change(self._protocol.subscriptions.subscribe, subscription)
        return subscription

    def unsubscribe(
        self,
        subscription: Subscription,
        *,
        forget: bool,
        on_unsubscribed: Callable[[Exception | None], None] | None = None,
    ) -> None:
        """End ``subscription``, then call ``on_unsubscribed(error)``. ``forget`` also deletes the destination."""
        unsubscribe = self._protocol.subscriptions.unsubscribe
        self._change(unsubscribe, subscription, forget=forget, on_ended=on_unsubscribed)

    def pause(self) -> None:
        """Take no more messages. Held messages can still be answered; :meth:`stop` comes after that."""
        with self._lock:
            self._protocol.subscriptions.pause()
            self._outlet.flush()

    def add_credit(self, subscription: Subscription, messages: int) -> None:
        """Raise the limit of unanswered messages of ``subscription`` by ``messages``, which may be negative."""
        self._change(subscription.add_credit, messages)

    def _change(self, change: Callable[..., object], *args: Any, **options: Any) -> None:
        """Make a change of the engine that no error can stop, and send it."""
        with self._lock:
            try:
                change(*args, **options)
                self._outlet.flush_soon()
            except BaseException:
                self._outlet.tear()
                raise

    def drain(self, subscription: Subscription, timeout: float) -> bool:
        """Let the server send the messages it has for the subscription, up to its credit, and wait until it has.

        Returns:
            False if that took longer than ``timeout`` seconds, or the connection was lost.
        """
        return self._receiver.drain(subscription, timeout)
