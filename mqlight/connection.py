"""A connection that is made, watched and made again, until every request to it is done.

All access to the engine and the session is under one lock, from any thread. The crew decides which thread reads.
Functions given as ``on_state``, ``on_outcome``, ``on_subscribed``, and ``on_delivery`` without a lane, are called under
that lock. They must be short and must never block. Of the connection they may call only ``submit`` of a lane and the
answers of a delivery.
"""

from __future__ import annotations

import enum
import logging
import random
import secrets
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic

from mqlight.addresses import Addresses, Endpoint
from mqlight.amqp.capabilities import Marks
from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Handle, Outcome, Peer
from mqlight.backoff import Backoff
from mqlight.delivery import Delivery
from mqlight.dialects.base import Dialect
from mqlight.errors import MQLightError, NetworkError, NotPermittedError, ReplacedError, SecurityError, StoppedError
from mqlight.log import Log, report
from mqlight.net import forks
from mqlight.net.clock import Clock
from mqlight.net.crew import Crew, Lane
from mqlight.net.driver import Driver
from mqlight.net.process import end_process
from mqlight.net.tcp import Tcp
from mqlight.protocol import RESEND, ClientProtocol
from mqlight.security import tls_error
from mqlight.sender import OnOutcome, Outgoing
from mqlight.subscription import Subscription

log = Log(__name__)

CONNECT_TIMEOUT = 10.0
"""Seconds that a server has for the connection, and again for its greeting; less if the heartbeat is shorter."""
HEARTBEAT = 30.0
"""Seconds of silence after which the server counts as gone, unless its URL says ``?heartbeat=SECONDS``."""
STEADY = 0.2
"""Seconds that a connection must last before the pauses between attempts become short again."""
RESUBSCRIBE = 2.0
"""Seconds until a subscription that the server ended is attached again."""
BUFFER = 1000
"""Messages that may wait for a connection or for credit before :meth:`Connection.publish` blocks."""
PATIENT_ROUNDS = 3
"""Failed rounds through all URLs before a warning is logged: a server that is just starting is no news."""
DOUBTS = 5
"""The most refusals in a row after which a client that was accepted before tries again. A server that is starting, or a
network that corrupts data, may refuse a valid client.
"""
RETRY_DRAIN = 0.05
"""Seconds until a full socket is tried again if no thread can wait for it."""
BATCH = 100
"""The most messages that a :meth:`Connection.batch` holds back."""
LEFT = 50
"""Times in a row that threads leave their messages to another thread that is about to send."""
FAREWELL = 1.0
"""Seconds that the server has to answer the close frame."""
_FINAL = (SecurityError, ReplacedError, NotPermittedError)


class State(str, enum.Enum):
    """The MQ Light client states."""

    STOPPED = "stopped"
    STARTING = "starting"
    STARTED = "started"
    RETRYING = "retrying"
    STOPPING = "stopping"


class Connection:
    """A connection to one service: see the module. The constructor does not connect; call :meth:`start`.

    Args:
        service: the addresses, tried in order, again and again.
        client_id: AMQP's container id. A second connection with the same id replaces the first one.
        on_state: called ``(state, error)`` at each change of state.
        daemon: whether the process may end while the threads of the connection run.
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
        self.state = State.STOPPED
        self.error: Exception | None = None
        self._addresses = service
        self._told_state = on_state
        self._heartbeat = heartbeat
        self._daemon = daemon
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiters = 0
        self._protocol = self._new_protocol()
        self._resume_at: float | None = None
        self._backoff = Backoff()
        self._tried_at = 0.0
        self._doubts = 0
        self._endpoints: deque[Endpoint] = deque()
        self._rounds = 0
        self._resend_at: float | None = None
        self._driver: Driver | None = None
        self._full = False
        self._undrained = False
        """Whether the socket is full and no thread could wait for it."""
        self._batches: dict[int, int] = {}
        """The threads that send a batch, each with the number of messages that it holds back."""
        self._entering: set[Outgoing] = set()
        """Messages that threads are about to publish and send. Another thread may leave its bytes to these threads."""
        self._left = 0
        """The number of times that a thread left its bytes since bytes were last sent."""
        self._stopping = threading.Event()
        self._crew = Crew(f"mqlight-{client_id}", self._read, daemon=daemon, on_exit=end_process)
        self._clock = Clock(self._crew, self._tick)
        self._every: list[Callable[[float], float | None]] = []
        forks.register(self)

    def _new_protocol(self) -> ClientProtocol:
        return ClientProtocol(
            on_state=self._on_session, on_room=self._on_room, on_lapse=self._on_lapse, clock=monotonic
        )

    @property
    def url(self) -> str | None:
        """The server's address, while a connection to it exists or is being made."""
        driver = self._driver
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
            return self._protocol.max_message_size

    # Life

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
            self._stopping = threading.Event()
            self._endpoints.clear()
            self._rounds = self._doubts = 0
            self._backoff.reset()
            try:
                self._clock.start(f"mqlight-{self.client_id}-clock", daemon=self._daemon)
                self._crew.start()
            except RuntimeError as error:
                self._clock.stop()
                raise NetworkError(f"no thread can be started: {error}") from error
            self._set_state(State.STARTING, None)

    def wait_started(self, timeout: float) -> None:
        """Wait until the connection is made.

        Args:
            timeout: seconds.

        Raises:
            MQLightError: the reason of a failure, as soon as every URL was tried once.
            NetworkError: there was no connection within ``timeout``.
        """
        self._crew.before_blocking()
        with self._changed:
            if self.state is State.STARTING:
                self._wait(lambda: self.state is not State.STARTING, monotonic() + timeout)
            if self.state is State.STARTED:
                return
            if self.error is not None:
                raise self.error
            raise NetworkError(f"no connection within {timeout:g} s", url=self.url)

    def stop(self, timeout: float = 10.0) -> None:
        """Take no more messages, wait until held messages are answered and sent messages are settled, then close.

        Args:
            timeout: seconds for all of that. Then the remaining messages are released: the server gives them to another
                client at once, and ``on_outcome`` of messages that are not settled gets RELEASED.
        """
        self._crew.before_blocking()
        deadline = monotonic() + timeout
        protocol = self._protocol
        with self._changed:
            if self.state in (State.STOPPED, State.STOPPING):
                return
            self._set_state(State.STOPPING, self.error)
            protocol.pause()
            self._flush()
            self._wait(lambda: not protocol.connected or not protocol.holds, deadline)
            if protocol.connected and (left := protocol.release_held()):
                log.warning("%s leaves with %d messages unfinished, which go back", self.client_id, left)
            self._wait(lambda: not protocol.connected or not protocol.outstanding, deadline)
            self._wait(lambda: not protocol.connected or not protocol.forgets, deadline)
            if self._driver is not None and protocol.connected:
                self._driver.engine.close()
                self._flush()
                self._wait(lambda: self._driver is None, min(deadline, monotonic() + FAREWELL))
            self._end(None)

    def run_soon(self, task: Callable[[], object]) -> None:
        """Call ``task()`` on the next idle thread of the connection. Takes no lock, so a destructor may call it."""
        self._crew.tell(task)

    def after_fork(self) -> None:
        """Close the parent's socket without a frame, in the child of a fork, and become stopped.

        The child has none of the parent's threads, and they may have held its locks: so the locks are made anew. The
        parent keeps its subscriptions, its sent messages and its held messages.
        """
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._crew.forget()
        self._clock.forget()
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.forget()
        self._full = self._undrained = False
        self._batches.clear()
        self._entering.clear()
        self._protocol = self._new_protocol()
        self.state, self.error = State.STOPPED, None

    def _wait(self, done: Callable[[], object], deadline: float) -> None:
        self._waiters += 1
        try:
            self._changed.wait_for(done, max(0.0, deadline - monotonic()))
        finally:
            self._waiters -= 1

    def _end(self, error: Exception | None) -> None:
        """Stop all attempts, end the threads and report the end to every waiting request. Runs under the lock."""
        if self.state is State.STOPPED:
            return
        self._stopping.set()
        self._clock.stop()
        self._crew.stop()
        self._drop()
        reason = str(error) if error is not None else "the client was stopped"
        self._protocol.give_up(Condition("amqp:connection:forced", reason))
        self._set_state(State.STOPPED, error)

    def _set_state(self, state: State, error: Exception | None) -> None:
        self.state = state
        self.error = error
        self._changed.notify_all()
        if self._told_state is not None:
            self._told_state(state, error)

    # Requests of the application

    def lane(self, width: int) -> Lane:
        """Return a lane that runs functions of the application, ``width`` at a time."""
        return Lane(self._crew, width)

    def every(self, call: Callable[[float], float | None]) -> None:
        """Let the clock call ``call(now)``, which returns when it is due next, in seconds of the monotonic clock."""
        self._every.append(call)
        self.wake(0.0)

    now = staticmethod(monotonic)
    """Return the current time in seconds, on the clock of :meth:`wake` and :meth:`every`."""

    def wake(self, at: float) -> None:
        """Let the clock check again by ``at``, in seconds of the monotonic clock."""
        self._clock.wake(at)

    def topic_of(self, to: str) -> str:
        """Return the topic in the ``to`` of a message that came over this connection."""
        dialect = self._protocol.dialect
        return to if dialect is None else dialect.topic(to)

    def before_blocking(self) -> None:
        """Prepare for a wait for something that arrives over this connection. Call it before the wait; it is cheap."""
        if self._batches and self._batches.get(threading.get_ident()):
            self._batches[threading.get_ident()] = 0
            with self._lock:
                self._flush_soon()
        self._crew.before_blocking()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Send the messages that this thread publishes in the block together, at the end of the block at the latest.

        At most ``BATCH`` messages are held back. They leave earlier if another thread sends, and before this thread
        waits for the connection. A batch within a batch is part of the outer one.
        """
        me = threading.get_ident()
        if me in self._batches:
            yield
            return
        self._batches[me] = 0
        try:
            yield
        finally:
            self._batches.pop(me, None)  # the child of a fork has no such entry
            with self._lock:
                self._flush_soon()

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
            message: the message, for example from :func:`mqlight.amqp.message.encode`.
            settled: send at most once: the message counts as accepted when it is handed over. Otherwise it is sent
                again until the server settles it.
            mandatory: the outcome is RELEASED if there is no subscription. Otherwise the server accepts and drops.
            on_outcome: called ``(outcome, condition)`` once.
            timeout: seconds to wait for room when ``BUFFER`` messages wait already; None waits for ever.

        Returns:
            False when messages wait for a connection or for credit: MQ Light's signal to slow down.

        Raises:
            TimeoutError: there was no room in time.
            StoppedError: the connection is not started.
        """
        protocol = self._protocol
        if self._full or protocol.waiting >= BUFFER:
            self._wait_for_room(timeout)
        outgoing = Outgoing(topic, message, settled, mandatory, on_outcome)
        try:
            if not self._batches and not self._crew.is_reader():
                self._entering.add(outgoing)
            with self._lock:
                self._entering.discard(outgoing)
                if not protocol.connected and self.state in (State.STOPPED, State.STOPPING):
                    raise StoppedError(f"the client is {self.state.value}, so it cannot send")
                protocol.send(outgoing)
                if not self._batches or not self._held_back():
                    self._flush_soon()
                return not protocol.waiting
        except BaseException:
            self._entering.discard(outgoing)
            self.wake(0.0)  # other threads may have left their bytes to this one: the clock's thread sends them
            raise

    def _held_back(self) -> bool:
        """Return whether this thread's message waits for others of its batch. Runs under the lock."""
        me = threading.get_ident()
        count = self._batches.get(me)
        if count is None:
            return False
        self._batches[me] = count = (count + 1) % BATCH
        return count > 0

    def _wait_for_room(self, timeout: float | None) -> None:
        self.before_blocking()
        protocol = self._protocol
        deadline = monotonic() + (3e6 if timeout is None else timeout)
        with self._lock:
            self._wait(lambda: (not self._full and protocol.waiting < BUFFER) or self.state is State.STOPPED, deadline)
            if self.state is not State.STOPPED and (self._full or protocol.waiting >= BUFFER):
                raise TimeoutError(f"no room to send for {timeout:g} s: {protocol.waiting} messages wait already")

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
        on_delivery: Callable[[Delivery], None],
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
            on_delivery: called with each delivery. If it raises, the delivery counts as a failed attempt, unless it is
                answered already.
            on_subscribed: called with None or the error when the server has answered.
        """

        def deliver(delivery: Delivery) -> None:
            try:
                on_delivery(delivery)
            except BaseException:
                delivery.fail()
                raise

        def on_message(link: Link, handle: Handle, data: bytes, settled: bool) -> None:
            delivery = Delivery(self, subscription, link, handle, data, settled)
            if lane is not None:
                lane.submit(deliver, delivery)
                return
            try:
                deliver(delivery)
            except BaseException:  # otherwise the thread that reads for all subscriptions fails
                report(log, on_delivery)

        subscription = Subscription(
            pattern,
            share,
            qos=qos,
            ttl=ttl,
            credit=credit,
            on_message=on_message,
            on_subscribed=on_subscribed,
            max_deliveries=max_deliveries,
            dead_letters=dead_letters,
            marks=marks,
        )
        with self._lock:
            self._protocol.subscribe(subscription)
            self._flush_soon()
        return subscription

    def unsubscribe(
        self,
        subscription: Subscription,
        *,
        forget: bool,
        on_unsubscribed: Callable[[Exception | None], None] | None = None,
    ) -> None:
        """Stop listening. ``forget`` also ends the destination's time to live."""
        with self._lock:
            self._protocol.unsubscribe(subscription, forget=forget, on_ended=on_unsubscribed)
            self._flush_soon()

    def pause(self) -> None:
        """Take no more messages. Held messages can still be answered; :meth:`stop` comes after that."""
        with self._lock:
            self._protocol.pause()
            self._flush()

    def add_credit(self, subscription: Subscription, messages: int) -> None:
        """Raise the limit of unanswered messages by ``messages``. A negative number lowers it."""
        with self._lock:
            subscription.credit += messages
            subscription.top_up()
            self._flush_soon()

    def drain(self, subscription: Subscription, timeout: float) -> bool:
        """Let the server send the messages it has for the subscription, up to its credit, and wait until it has.

        Returns:
            False if that took longer than ``timeout`` seconds, or the connection was lost.
        """
        self._crew.before_blocking()
        deadline = monotonic() + timeout
        with self._lock:
            subscription.pause()
            self._flush()
            while subscription.granted and (now := monotonic()) < deadline:
                # In short waits, because a server that has used up the credit may not answer.
                self._wait(lambda: not subscription.granted, min(deadline, now + 0.05))
            return subscription.link is not None and not subscription.granted

    def settle(self, delivery: Delivery, outcome: Outcome | None, condition: Condition | None) -> bool:
        """Settle a delivery: see :class:`mqlight.delivery.Origin`."""
        with self._lock:
            done = self._protocol.settle(delivery.subscription, delivery.link, delivery.handle, outcome, condition)
            if self._waiters:
                self._changed.notify_all()
            self._flush_soon()
        return done

    def begin(self, delivery: Delivery) -> None:
        """Mark a delivery as begun: see :class:`mqlight.delivery.Origin`."""
        with self._lock:
            if delivery.link.mark_received(delivery.handle):
                self._flush()

    # Events of the session

    def _on_session(self, connected: bool, error: MQLightError | None) -> None:
        if connected:
            if self._driver is not None:
                self._driver.greeted_at = monotonic()
                self.wake(0.0)  # the server has told how often it wants heartbeats
            self._rounds = 0
            if self.state is not State.STOPPING:
                log.info("connected to %s as %s", self.url, self.client_id)
                self._set_state(State.STARTED, None)
        elif error is not None:
            self.error = error

    def _on_room(self) -> None:
        if self._waiters:
            self._changed.notify_all()
        if self._protocol.rejected and self._resend_at is None:
            self._resend_at = monotonic() + RESEND
            self.wake(self._resend_at)

    def _on_lapse(self) -> None:
        self._resume_at = monotonic() + RESUBSCRIBE
        self.wake(self._resume_at)

    # The reading role

    def _read(self, epoch: int) -> None:
        crew = self._crew
        while True:
            if not crew.keeps_reading(epoch) or (crew.ready and not crew.run_ready(epoch)):
                return
            driver = self._driver
            if driver is None:
                if not self._connect(epoch):
                    return
                continue
            with self._lock:
                self._flush()
            try:
                data = driver.receive()
            except TimeoutError:
                continue
            except OSError as broken:
                data = b""
                driver.broken = broken
            with self._lock:
                if self._driver is driver:
                    try:
                        driver.take(data)
                    except Exception as error:  # otherwise this thread ends, and no thread reads any more
                        log.exception("what %s sent made no sense; the connection is given up", driver.url)
                        self.error = NetworkError(f"what {driver.url} sent made no sense: {error}", url=driver.url)
                        driver.engine.closed = True
                    if driver.engine.closed:
                        self._lost(driver, epoch)

    def _lost(self, driver: Driver, epoch: int) -> None:
        """Handle the end of a connection: its reason decides the next step. Runs under the lock."""
        self._flush()
        self._drop()
        self._protocol.end()
        error = self.error
        if not isinstance(error, MQLightError):
            error = NetworkError(f"{driver.url} closed the connection", url=driver.url)
        greeted_at = driver.greeted_at
        if driver.speaks_tls:
            said = f"{driver.url}: the server speaks TLS on this port; use an amqps:// URL"
            error = SecurityError(said, url=driver.url)
        elif isinstance(driver.broken, ssl.SSLError) and greeted_at is None:
            error = tls_error(driver.url, driver.broken)  # TLS 1.3 refuses a client's certificate after the handshake
        if greeted_at is not None and monotonic() - greeted_at > STEADY:
            self._backoff.reset()
            self._doubts = DOUBTS
        if self.state is State.STOPPING:
            self._changed.notify_all()
        elif greeted_at is not None and not isinstance(error, _FINAL):
            log.warning("connection to %s lost, trying again: %s", driver.url, error)
            self._endpoints.clear()
            self._tried_at = monotonic()
            self._set_state(State.RETRYING, error)
        else:
            self._failed(error, epoch)

    def _drop(self) -> None:
        if self._driver is not None:
            self._driver.close()
            self._driver = None
            self._full = False

    def _connect(self, epoch: int) -> bool:
        """Try the next endpoint, after a pause if all were tried. Returns False if this thread must stop reading."""
        stopping = self._stopping
        if not self._crew.keeps_reading(epoch) or self.state is State.STOPPING:
            return False
        if not self._endpoints:
            if self.state is State.RETRYING:
                # The time of the last attempt counts, so that a server that answers again is found without more delay.
                stopping.wait(max(0.0, self._tried_at + self._backoff.next(random.random()) - monotonic()))
                if not self._crew.keeps_reading(epoch):
                    return False
            self._tried_at = monotonic()
            try:
                self._endpoints.extend(self._addresses.urls())
            except MQLightError as error:
                self._failed(error, epoch)
                return True
        endpoint = self._endpoints.popleft()
        try:
            self._open(endpoint, epoch)
        except MQLightError as error:
            self._failed(error, epoch)
        except Exception as error:  # otherwise this thread ends, and no thread tries again
            log.exception("the attempt to connect to %s failed", endpoint.url)
            self._failed(NetworkError(f"cannot connect to {endpoint.url}: {error}", url=endpoint.url), epoch)
        return True

    def _failed(self, error: MQLightError, epoch: int) -> None:
        """Record a failed attempt to connect: try on, or stop if a new attempt would fail again."""
        with self._lock:
            if not self._crew.keeps_reading(epoch) or self.state is State.STOPPING:
                return
            if isinstance(error, _FINAL):
                if isinstance(error, ReplacedError) or not self._doubts:
                    log.error("%s stops: %s", self.client_id, error)
                    self._end(error)
                    return
                self._doubts -= 1
            if self._endpoints:
                log.info("%s; trying the next one", error)
            else:
                self._rounds += 1
                level = logging.WARNING if self._rounds == PATIENT_ROUNDS else logging.DEBUG
                log.log(level, "%s; trying again until it works", error)
                self._set_state(State.RETRYING, error)

    def _open(self, endpoint: Endpoint, epoch: int) -> None:
        """Connect to one endpoint and send the open frame. Raises MQLightError."""
        url = endpoint.url
        heartbeat = endpoint.heartbeat or self._heartbeat
        timeout = min(CONNECT_TIMEOUT, heartbeat)
        try:
            tcp = Tcp(endpoint.host, endpoint.port, tls=self._addresses.tls(endpoint), timeout=timeout)
        except OSError as error:
            raise _connect_error(url, error, timeout) from error
        with self._lock:
            if not self._crew.keeps_reading(epoch):
                tcp.close()
                return
            engine = Engine(
                self._protocol,
                server=False,
                container_id=self.client_id,
                hostname=f"vhost:{vhost}" if (vhost := endpoint.options.get("vhost")) else endpoint.host,
                user=endpoint.user,
                password=endpoint.password,
                external=endpoint.scheme == "amqps" and self._addresses.shows_certificate,
                heartbeat=heartbeat,
            )
            self._driver = Driver(tcp, engine, url, monotonic() + timeout)
            self._protocol.begin(engine, self.client_id, endpoint.options, secrets.token_hex(4))
            self._flush()
        self.wake(0.0)

    # Sending

    def _flush_soon(self) -> None:
        """Send, or leave it to a thread that is about to send. Runs under the lock.

        The reading thread sends once for everything that one read has caused. If several threads publish together,
        the last one sends for all of them.
        """
        if self._entering and self._left < LEFT:
            self._left += 1
        elif not self._crew.is_reader():
            self._flush()

    def _flush(self) -> None:
        """Send what the socket takes. If it is full, a helper sends the rest and publishers wait. Needs the lock."""
        driver = self._driver
        self._left = 0
        if driver is not None and not self._full and not driver.flush():
            self._full = True
            if not self._crew.run(partial(self._drain, driver)):
                self._undrained = True
                self.wake(monotonic() + RETRY_DRAIN)

    def _drain(self, driver: Driver) -> None:
        """Wait until the full socket takes more, and send on. A helper thread runs this."""
        while self._driver is driver and self._full:
            driver.wait_writable(1.0)
            with self._lock:
                if self._driver is driver and driver.flush():
                    self._full = False
                    self._changed.notify_all()

    # The clock

    def _tick(self, now: float) -> float:
        """Do the work that is due. Returns the time when work is due again."""
        due = now + 60.0
        with self._lock:
            if self._resend_at is not None:
                if now < self._resend_at:
                    due = self._resend_at
                else:
                    self._resend_at = None
                    self._protocol.resend()
            driver = self._driver
            if driver is not None:
                for at in driver.engine.tick(now), self._protocol.look(now):
                    if at is not None:
                        due = min(due, at)
                silent = driver.engine.closed
                if driver.greeted_at is None:
                    due = min(due, driver.answer_by)
                    if silent or now >= driver.answer_by:
                        said = f"{driver.url} accepted the connection and then said nothing more"
                        self.error = NetworkError(said, url=driver.url)
                        driver.abort()
                elif silent:
                    said = f"{driver.url} was silent for longer than the heartbeat"
                    self.error = NetworkError(said, url=driver.url)
                if self._resume_at is not None:
                    if now >= self._resume_at:
                        self._resume_at = None
                        self._protocol.resume()
                    else:
                        due = min(due, self._resume_at)
                self._flush()
                if self._undrained:
                    self._undrained = self._full = False
                    self._flush()
                    self._changed.notify_all()
                if driver.engine.closed:
                    driver.abort()  # the reading thread finds the end of input and continues from there
        for call in self._every:
            try:
                at = call(now)
            except Exception:  # the next call may guard the deadlines of other requests
                report(log, call)
                at = now + 1.0
            if at is not None:
                due = min(due, at)
        return due


def _connect_error(url: str, error: OSError, timeout: float) -> MQLightError:
    if isinstance(error, ssl.SSLError):
        return tls_error(url, error)
    if isinstance(error, TimeoutError):
        return NetworkError(f"{url} did not answer within {timeout:g} s", url=url)
    return NetworkError(f"cannot connect to {url}: {error.strerror or error}", url=url)
