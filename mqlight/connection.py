"""A connection that stays: it is made, watched, and made again, and what was asked of it is done in the end.

The engine and the session are touched under one lock, by whichever thread has something to do; the crew decides which
thread reads. Functions given as ``on_state``, ``on_outcome``, ``on_subscribed`` and ``on_message`` without a lane are
called under that lock: they are short, they call nothing of the connection but lanes' ``submit`` and deliveries'
answers, and they never block.
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

from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Handle, Outcome, Peer
from mqlight.backoff import Backoff
from mqlight.delivery import Delivery
from mqlight.errors import MQLightError, NetworkError, NotPermittedError, ReplacedError, SecurityError, StoppedError
from mqlight.outgoing import OnOutcome, Outgoing
from mqlight.security import tls_error
from mqlight.service import Endpoint, Service
from mqlight.session import RESEND, Session
from mqlight.subscription import Subscription
from mqlight.wire import forks
from mqlight.wire.attempts import Marks
from mqlight.wire.channel import Channel
from mqlight.wire.clock import Clock
from mqlight.wire.dialect import Dialect
from mqlight.wire.log import Log, report
from mqlight.wire.process import end_process
from mqlight.wire.tcp import Tcp
from mqlight.wire.threads import Crew, Lane

log = Log(__name__)

CONNECT_TIMEOUT = 10.0
"""Seconds that a server has for the connection, and again for its greeting; less where the heartbeat is shorter."""
HEARTBEAT = 30.0
"""Seconds of silence after which the server counts as gone, unless its URL says ``?heartbeat=SECONDS``."""
STEADY = 0.2
"""Seconds that a connection has to last before the pauses between attempts are short again."""
RESUBSCRIBE = 2.0
"""Seconds until a subscription that the server ended is attached again."""
BUFFER = 1000
"""Messages that may wait for a connection or for credit before :meth:`Connection.publish` blocks."""
PATIENT_ROUNDS = 3
"""Rounds through all URLs that fail before a warning is logged: a server that is just starting is no news."""
DOUBTS = 5
"""Refusals in a row that are tried again by who was let in before: a server that starts, or a network that garbles what
it carries, may refuse whom it should not.
"""
RETRY_DRAIN = 0.05
"""Seconds until a full socket is tried again where no thread can wait for it."""
BATCH = 100
"""Messages of a :meth:`Connection.batch` that are held back at the most."""
FAREWELL = 1.0
"""Seconds that the server has to answer our goodbye."""
_FINAL = (SecurityError, ReplacedError, NotPermittedError)


class State(str, enum.Enum):
    """The MQ Light client states."""

    STOPPED = "stopped"
    STARTING = "starting"
    STARTED = "started"
    RETRYING = "retrying"
    STOPPING = "stopping"


class Connection:
    """See the module. Constructing one does nothing yet: call :meth:`start`.

    :param service: where to connect, tried in order, again and again.
    :param client_id: AMQP's container id. A second connection with it takes the first one's place.
    :param on_state: told ``(state, error)`` at each change of state.
    :param daemon: whether the threads may be forgotten when the process ends.
    """

    def __init__(
        self,
        service: Service,
        client_id: str,
        *,
        on_state: Callable[[State, Exception | None], None] | None = None,
        daemon: bool = True,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self.client_id = client_id
        self.state = State.STOPPED
        self.error: Exception | None = None
        self._service = service
        self._told_state = on_state
        self._heartbeat = heartbeat
        self._daemon = daemon
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiters = 0
        self._session = self._new_session()
        self._resume_at: float | None = None
        self._backoff = Backoff()
        self._tried_at = 0.0
        self._doubts = 0
        self._endpoints: deque[Endpoint] = deque()
        self._rounds = 0
        self._resend_at: float | None = None
        self._channel: Channel | None = None
        self._full = False
        self._undrained = False
        """The socket is full, and there was no thread that could wait for it."""
        self._batches: dict[int, int] = {}
        """The threads that send a batch, each with the number of messages that it has held back."""
        self._stopping = threading.Event()
        self._crew = Crew(f"mqlight-{client_id}", self._read, daemon=daemon, on_exit=end_process)
        self._clock = Clock(self._crew, self._tick)
        self._every: list[Callable[[float], float | None]] = []
        forks.register(self)

    def _new_session(self) -> Session:
        return Session(
            on_state=self._on_session, on_room=self._on_room, on_lapse=self._on_lapse, clock=monotonic
        )

    @property
    def url(self) -> str | None:
        """The server's address while there is a connection to it, or one is being made."""
        channel = self._channel
        return None if channel is None else channel.url

    @property
    def peer(self) -> Peer | None:
        """What the server said of itself that greeted us last."""
        return self._session.peer

    @property
    def dialect(self) -> Dialect | None:
        """How the server is spoken to, while there is a connection to it."""
        return self._session.dialect

    @property
    def max_message_size(self) -> int:
        """The most bytes that the server takes in one message, told when something was sent; 0 where it is not."""
        with self._lock:
            return self._session.max_message_size

    # Life

    def start(self) -> None:
        """Begin to connect, and return at once. A connection that was stopped may be started again.

        :raises NetworkError: the process cannot start the threads that it takes; try again later.
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
        """Wait until connected.

        :raises MQLightError: why not, as soon as every URL was tried once; :class:`NetworkError` when ``timeout``
            seconds are over.
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
        """Take no more messages, let what is held be answered and what was sent be settled, then close.

        :param timeout: seconds for all of that; what is left then is released to the server, which gives it to
            somebody else at once, and senders are told RELEASED.
        """
        self._crew.before_blocking()
        deadline = monotonic() + timeout
        session = self._session
        with self._changed:
            if self.state in (State.STOPPED, State.STOPPING):
                return
            self._set_state(State.STOPPING, self.error)
            session.pause()
            self._flush()
            self._wait(lambda: not session.connected or not session.holds, deadline)
            if session.connected and (left := session.release_held()):
                log.warning("%s leaves with %d messages unfinished, which go back", self.client_id, left)
            self._wait(lambda: not session.connected or not session.outstanding, deadline)
            self._wait(lambda: not session.connected or not session.forgets, deadline)
            if self._channel is not None and session.connected:
                self._channel.engine.close()
                self._flush()
                self._wait(lambda: self._channel is None, min(deadline, monotonic() + FAREWELL))
            self._end(None)

    def run_soon(self, task: Callable[[], object]) -> None:
        """Call ``task()`` on the next idle thread of the connection. It takes no lock: a destructor may call it."""
        self._crew.tell(task)

    def after_fork(self) -> None:
        """In the child of a fork: let go of the parent's socket without a word, and be stopped.

        None of the parent's threads is here, and they may have held its locks: these are made anew. What was
        subscribed, sent and held is the parent's.
        """
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._crew.forget()
        self._clock.forget()
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.forget()
        self._full = self._undrained = False
        self._batches.clear()
        self._session = self._new_session()
        self.state, self.error = State.STOPPED, None

    def _wait(self, done: Callable[[], object], deadline: float) -> None:
        self._waiters += 1
        try:
            self._changed.wait_for(done, max(0.0, deadline - monotonic()))
        finally:
            self._waiters -= 1

    def _end(self, error: Exception | None) -> None:
        """Under the lock: no more attempts. The threads end, and everything that still waits is told."""
        if self.state is State.STOPPED:
            return
        self._stopping.set()
        self._clock.stop()
        self._crew.stop()
        self._drop()
        reason = str(error) if error is not None else "the client was stopped"
        self._session.give_up(Condition("amqp:connection:forced", reason))
        self._set_state(State.STOPPED, error)

    def _set_state(self, state: State, error: Exception | None) -> None:
        self.state = state
        self.error = error
        self._changed.notify_all()
        if self._told_state is not None:
            self._told_state(state, error)

    # What the application asks for

    def lane(self, width: int) -> Lane:
        """A place for user code to run, ``width`` functions at a time."""
        return Lane(self._crew, width)

    def every(self, call: Callable[[float], float | None]) -> None:
        """Have ``call(now)`` called by the clock; it returns when it wants to be called next, in seconds of the
        monotonic clock.
        """
        self._every.append(call)
        self.wake(0.0)

    def wake(self, at: float) -> None:
        """Have the clock look again by ``at``."""
        self._clock.wake(at)

    def topic_of(self, to: str) -> str:
        """The topic in the ``to`` of a message that came over this connection."""
        dialect = self._session.dialect
        return to if dialect is None else dialect.topic(to)

    def before_blocking(self) -> None:
        """Call this before waiting for something that arrives over this connection; it costs next to nothing."""
        if self._batches and self._batches.get(threading.get_ident()):
            self._batches[threading.get_ident()] = 0
            with self._lock:
                self._flush_soon()
        self._crew.before_blocking()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Send what this thread publishes within the block together, at its end at the latest.

        At most ``BATCH`` messages are held back. They leave earlier when another thread sends, and before this thread
        waits for the connection. A batch within a batch is a part of it.
        """
        me = threading.get_ident()
        if me in self._batches:
            yield
            return
        self._batches[me] = 0
        try:
            yield
        finally:
            self._batches.pop(me, None)  # it is not there in the child of a fork
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

        :param settled: at most once: it counts as accepted when it is handed over; else it is sent until the server
            settles it.
        :param mandatory: have it RELEASED where nobody is subscribed, instead of accepted and dropped.
        :param on_outcome: told ``(outcome, condition)`` once.
        :param timeout: seconds to wait for room when ``BUFFER`` messages wait already; None waits for ever.
        :returns: False when messages wait for a connection or for credit: the MQ Light sign to slow down.
        :raises TimeoutError: there was no room in time. :raises StoppedError: the connection is not started.
        """
        session = self._session
        if self._full or session.waiting >= BUFFER:
            self._wait_for_room(timeout)
        with self._lock:
            if self.state in (State.STOPPED, State.STOPPING) and not session.connected:
                raise StoppedError(f"the client is {self.state.value}, so it cannot send")
            session.send(Outgoing(topic, message, settled, mandatory, on_outcome))
            if not self._batches or not self._held_back():
                self._flush_soon()
            return not session.waiting

    def _held_back(self) -> bool:
        """Under the lock: return whether this thread's message waits for others of its batch."""
        me = threading.get_ident()
        count = self._batches.get(me)
        if count is None:
            return False
        self._batches[me] = count = (count + 1) % BATCH
        return count > 0

    def _wait_for_room(self, timeout: float | None) -> None:
        self.before_blocking()
        session = self._session
        deadline = monotonic() + (3e6 if timeout is None else timeout)
        with self._lock:
            self._wait(lambda: (not self._full and session.waiting < BUFFER) or self.state is State.STOPPED, deadline)
            if self.state is not State.STOPPED and (self._full or session.waiting >= BUFFER):
                raise TimeoutError(f"no room to send for {timeout:g} s: {session.waiting} messages wait already")

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

        :param qos: 1: a message is the server's until it is answered; 0: it is ours when it is sent.
        :param ttl: seconds that the destination outlives its subscribers.
        :param credit: the most messages that are here unanswered.
        :param max_deliveries: how often the broker gives a message out at the most, where it can be told.
        :param dead_letters: the topic where it then puts the message.
        :param marks: which deliveries :meth:`Delivery.begin` marks as begun, where the broker heeds that.
        :param lane: where ``on_delivery(delivery)`` runs; without one it runs under the lock (see the module).
            If it raises, the delivery counts as a failed attempt, unless it is answered already.
        :param on_subscribed: told None, or the error, when the server has answered.
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
            except BaseException:  # else the thread that reads for everybody fails
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
            self._session.subscribe(subscription)
            self._flush_soon()
        return subscription

    def unsubscribe(
        self,
        subscription: Subscription,
        *,
        forget: bool,
        on_unsubscribed: Callable[[Exception | None], None] | None = None,
    ) -> None:
        """Stop listening. ``forget``: the destination's time to live is over as well."""
        with self._lock:
            self._session.unsubscribe(subscription, forget=forget, on_ended=on_unsubscribed)
            self._flush_soon()

    def pause(self) -> None:
        """Take no more messages: what is here can be answered, and then it is time for :meth:`stop`."""
        with self._lock:
            self._session.pause()
            self._flush()

    def add_credit(self, subscription: Subscription, messages: int) -> None:
        """Let so many messages more than before (fewer, if negative) be here unanswered."""
        with self._lock:
            subscription.credit += messages
            subscription.top_up()
            self._flush_soon()

    def drain(self, subscription: Subscription, timeout: float) -> bool:
        """Have the server send what it has for the subscription, up to its credit, and no more; wait for the end of it.

        :returns: False when that took longer than ``timeout`` seconds, or the connection was lost.
        """
        self._crew.before_blocking()
        deadline = monotonic() + timeout
        with self._lock:
            subscription.pause()
            self._flush()
            while subscription.granted and (now := monotonic()) < deadline:
                # In short waits, because a server that has used up the credit need not answer.
                self._wait(lambda: not subscription.granted, min(deadline, now + 0.05))
            return subscription.link is not None and not subscription.granted

    def _settle(self, delivery: Delivery, outcome: Outcome | None, condition: Condition | None) -> bool:
        with self._lock:
            done = self._session.settle(delivery.subscription, delivery.link, delivery.handle, outcome, condition)
            if self._waiters:
                self._changed.notify_all()
            self._flush_soon()
        return done

    def _begin(self, delivery: Delivery) -> None:
        """Tell the server that work on a delivery begins; it is on its way when this returns."""
        with self._lock:
            if delivery.link.mark_received(delivery.handle):
                self._flush()

    # What the session tells

    def _on_session(self, connected: bool, error: MQLightError | None) -> None:
        if connected:
            if self._channel is not None:
                self._channel.greeted_at = monotonic()
            self._rounds = 0
            if self.state is not State.STOPPING:
                log.info("connected to %s as %s", self.url, self.client_id)
                self._set_state(State.STARTED, None)
        elif error is not None:
            self.error = error

    def _on_room(self) -> None:
        if self._waiters:
            self._changed.notify_all()
        if self._session.rejected and self._resend_at is None:
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
            channel = self._channel
            if channel is None:
                if not self._connect(epoch):
                    return
                continue
            with self._lock:
                self._flush()
            try:
                data = channel.receive()
            except TimeoutError:
                continue
            except OSError as broken:
                data = b""
                channel.broken = broken
            with self._lock:
                if self._channel is channel:
                    try:
                        channel.take(data)
                    except Exception as error:  # else this thread ends, and nobody reads any more
                        log.exception("what %s sent made no sense; the connection is given up", channel.url)
                        self.error = NetworkError(f"what {channel.url} sent made no sense: {error}", url=channel.url)
                        channel.engine.closed = True
                    if channel.engine.closed:
                        self._lost(channel, epoch)

    def _lost(self, channel: Channel, epoch: int) -> None:
        """Under the lock: the connection is over; what comes next depends on why."""
        self._flush()
        self._drop()
        self._session.end()
        error = self.error
        if not isinstance(error, MQLightError):
            error = NetworkError(f"{channel.url} closed the connection", url=channel.url)
        greeted_at = channel.greeted_at
        if channel.speaks_tls:
            said = f"{channel.url}: the server speaks TLS on this port; use an amqps:// URL"
            error = SecurityError(said, url=channel.url)
        elif isinstance(channel.broken, ssl.SSLError) and greeted_at is None:
            error = tls_error(channel.url, channel.broken)  # TLS 1.3 refuses a client's certificate after the handshake
        if greeted_at is not None and monotonic() - greeted_at > STEADY:
            self._backoff.reset()
            self._doubts = DOUBTS
        if self.state is State.STOPPING:
            self._changed.notify_all()
        elif greeted_at is not None and not isinstance(error, _FINAL):
            log.warning("connection to %s lost, trying again: %s", channel.url, error)
            self._endpoints.clear()
            self._tried_at = monotonic()
            self._set_state(State.RETRYING, error)
        else:
            self._failed(error, epoch)

    def _drop(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
            self._full = False

    def _connect(self, epoch: int) -> bool:
        """Try the next endpoint, after a pause when all were tried. False when there is no reading any more."""
        stopping = self._stopping
        if not self._crew.keeps_reading(epoch) or self.state is State.STOPPING:
            return False
        if not self._endpoints:
            if self.state is State.RETRYING:
                # What the last attempt took counts: a server that answers again is not to be waited for twice.
                stopping.wait(max(0.0, self._tried_at + self._backoff.next(random.random()) - monotonic()))
                if not self._crew.keeps_reading(epoch):
                    return False
            self._tried_at = monotonic()
            try:
                self._endpoints.extend(self._service.urls())
            except MQLightError as error:
                self._failed(error, epoch)
                return True
        endpoint = self._endpoints.popleft()
        try:
            self._open(endpoint, epoch)
        except MQLightError as error:
            self._failed(error, epoch)
        except Exception as error:  # else this thread ends, and nobody tries again
            log.exception("the attempt to connect to %s failed", endpoint.url)
            self._failed(NetworkError(f"cannot connect to {endpoint.url}: {error}", url=endpoint.url), epoch)
        return True

    def _failed(self, error: MQLightError, epoch: int) -> None:
        """An attempt came to nothing."""
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
        """Connect to one endpoint and send our open frame. Raises MQLightError."""
        url = endpoint.url
        heartbeat = endpoint.heartbeat or self._heartbeat
        timeout = min(CONNECT_TIMEOUT, heartbeat)
        try:
            tcp = Tcp(endpoint.host, endpoint.port, tls=self._service.tls(endpoint), timeout=timeout)
        except OSError as error:
            raise _connect_error(url, error, timeout) from error
        with self._lock:
            if not self._crew.keeps_reading(epoch):
                tcp.close()
                return
            engine = Engine(
                self._session,
                server=False,
                container_id=self.client_id,
                hostname=f"vhost:{vhost}" if (vhost := endpoint.options.get("vhost")) else endpoint.host,
                user=endpoint.user,
                password=endpoint.password,
                external=endpoint.scheme == "amqps" and self._service.shows_certificate,
                heartbeat=heartbeat,
            )
            self._channel = Channel(tcp, engine, url, monotonic() + timeout)
            self._session.begin(engine, self.client_id, endpoint.options, secrets.token_hex(4))
            self._flush()
        self.wake(0.0)

    # Sending

    def _flush_soon(self) -> None:
        """Under the lock: the reading thread sends once for all that one read gave rise to, others send now."""
        if not self._crew.is_reader():
            self._flush()

    def _flush(self) -> None:
        """Under the lock: send what the socket takes; when it is full, a helper sends the rest and publishers wait."""
        channel = self._channel
        if channel is not None and not self._full and not channel.flush():
            self._full = True
            if not self._crew.run(partial(self._drain, channel)):
                self._undrained = True
                self.wake(monotonic() + RETRY_DRAIN)

    def _drain(self, channel: Channel) -> None:
        """A helper's task: wait until the full socket takes more, and send on."""
        while self._channel is channel and self._full:
            channel.wait_writable(1.0)
            with self._lock:
                if self._channel is channel and channel.flush():
                    self._full = False
                    self._changed.notify_all()

    # The clock

    def _tick(self, now: float) -> float:
        """Do what is due; returns when something is due again."""
        due = now + 60.0
        with self._lock:
            if self._resend_at is not None:
                if now < self._resend_at:
                    due = self._resend_at
                else:
                    self._resend_at = None
                    self._session.resend()
            channel = self._channel
            if channel is not None:
                for at in channel.engine.tick(now), self._session.look(now):
                    if at is not None:
                        due = min(due, at)
                silent = channel.engine.closed
                if channel.greeted_at is None:
                    due = min(due, channel.answer_by)
                    if silent or now >= channel.answer_by:
                        said = f"{channel.url} accepted the connection and then said nothing more"
                        self.error = NetworkError(said, url=channel.url)
                        channel.abort()
                elif silent:
                    said = f"{channel.url} was silent for longer than the heartbeat"
                    self.error = NetworkError(said, url=channel.url)
                if self._resume_at is not None:
                    if now >= self._resume_at:
                        self._resume_at = None
                        self._session.resume()
                    else:
                        due = min(due, self._resume_at)
                self._flush()
                if self._undrained:
                    self._undrained = self._full = False
                    self._flush()
                    self._changed.notify_all()
                if channel.engine.closed:
                    channel.abort()  # the reading thread finds the end of input, and goes on from there
        for call in self._every:
            try:
                at = call(now)
            except Exception:  # it may be the deadlines of others that come next
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
