"""The calling end: requests go out, each with a uuid, and the replies come to a topic of the client's own.

The rules of this file:

* Every call ends exactly once, by its deadline at the latest: in its data or in one of the errors of this package.
  Whoever takes it out of the pending calls ends it.
* What the connection calls (`_on_delivery`, `_requested`, `_on_state`) runs under the connection's lock: it is short
  and calls nothing of the connection but a lane. The user's functions run in one lane, one at a time.
* Memory is bounded: there are at most so many calls in flight, and so many callbacks that wait for their turn; then
  `call` waits.
"""

from __future__ import annotations

import atexit
import itertools
import os
import threading
import uuid
import warnings
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from time import monotonic, time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from macaque.call import Call, Notice, check_callback, checked_timeout, checked_uuid
from macaque.envelope import BadReply, Reply, decode_reply, encode_notice, encode_request
from macaque.errors import ConnectionLost, MacaqueError, NoResponders, RemoteError, Timeout
from macaque.gathering import MAX_REPLIES, Gathering, Gatherings, checked_replies
from macaque.ids import id_of_child, made_up_id
from macaque.keeper import keeper
from macaque.pending import MAXIMUM, Added, Pending
from mqlight.amqp.types import Condition, Outcome
from mqlight.arguments import client_id
from mqlight.connection import Connection, State
from mqlight.delivery import Delivery
from mqlight.errors import MQLightError, NetworkError, StoppedError
from mqlight.service import ServiceLike, resolve
from mqlight.session import EXPIRED
from mqlight.wire import forks
from mqlight.wire.log import Log, attempt
from mqlight.wire.topics import validate_topic

if TYPE_CHECKING:
    from macaque.metrics import CallMetrics

__all__ = ["Client"]

log = Log(__name__)

TIMEOUT = 30.0
"""Seconds that a call has when nobody says otherwise."""
REPLY_TTL = 30
"""Seconds that the replies to this client are kept while it is not connected."""
REPLY_CREDIT = 1024
CLOSE_TIMEOUT = 2.0
KNOWN_TOPICS = 4096
LOOK = 1.0
"""Seconds after which a client that nobody holds, and whose calls have ended, is closed."""


class Client:
    """Calls services by their endpoint, from any thread.

    It connects at the first call, or by `start` or `connect`, and comes back by itself when the connection is lost.

    Args:
        broker: URL, list of URLs, or function that finds them; None takes `MACAQUE_BROKER`, else the bound Cloud
            Foundry service, else `amqp://127.0.0.1:5672`.
        cid: the client id, unique among all that are connected; None makes one.
        security_options: user and TLS, as the MQ Light API names them.
        timeout: seconds that a call has.

    Raises:
        TypeError, ValueError: an argument, or the environment, says what cannot work.
    """

    def __init__(
        self,
        broker: ServiceLike | None = None,
        cid: str | None = None,
        security_options: dict[str, Any] | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self._cid = None if cid is None else client_id(cid)
        self._timeout = checked_timeout(timeout)
        self._service, _ = resolve(broker, security_options, os.environ)
        self._metrics: CallMetrics | None = None
        """Set by `macaque.metrics.observe`."""
        self._begin(self._cid or made_up_id())
        forks.register(self)

    def _begin(self, name: str) -> None:
        """Be a client of that id which has not called anything yet."""
        self.client_id = name
        self._reply_to = f"response/{name}"
        self._prefix = str(uuid.uuid4())[:24]
        self._numbers = itertools.count(1)
        self._topics: set[str] = set()
        self._pending: Pending[Call] = Pending(threading.Lock())
        self._gatherings = Gatherings(self)
        self._room = threading.Condition()
        self._waiting = 0
        self._owed: dict[Call, None] = {}
        """Calls with a callback that has not returned yet. One dict operation at a time needs no lock."""
        self._turn = threading.Lock()
        self._started = False
        self._closed = False
        self._watched = False
        self._refused: Exception | None = None
        self._starting = threading.Lock()
        self._home = home = _Home(self)
        self._connection = Connection(self._service, name, on_state=home.on_state)
        self._connection.every(home.expire)
        self._lane = self._connection.lane(1)
        self._subscription = self._connection.subscribe(
            self._reply_to,
            ttl=REPLY_TTL,
            credit=REPLY_CREDIT,
            on_delivery=home.on_delivery,
            on_subscribed=home.on_subscribed,
        )

    def after_fork(self) -> None:
        """In the child of a fork: the calls in flight are the parent's, and the next one makes a connection of its own.

        A client id that was chosen stays the parent's; the child's has a random end.
        """
        calls = [*self._pending.abandon(), *self._gatherings.abandon()]
        closed = self._closed
        self._begin(id_of_child(self._cid))
        self._closed = closed
        for call in calls:
            call._forget(ConnectionLost("The call belongs to the parent of this process.", reason="forked"))

    def __del__(self) -> None:
        if not getattr(self, "_started", False) or self._closed:
            return
        connection, subscription = self._connection, self._subscription

        def leave() -> None:
            if connection.state is State.STARTED:
                connection.unsubscribe(subscription, forget=True)
            connection.stop(CLOSE_TIMEOUT)

        connection.run_soon(leave)
        said = f"{self!r} was dropped without close(): write `with macaque.Client() as client:`, or close it"
        warnings.warn(said, ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        return f"<macaque.Client {self.client_id}: {self._connection.state.value}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Life

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the messaging server now."""
        return self._connection.state is State.STARTED

    @property
    def ready(self) -> bool:
        """Whether calls can be answered now: it is connected, and the server has confirmed the topic of the replies."""
        return self.connected and self._subscription.ready

    def start(self) -> None:
        """Begin to connect, and return at once. Calls do that themselves.

        Raises:
            ConnectionLost: the client was closed, or the process cannot start a thread.
        """
        with self._starting:
            if self._closed:
                raise ConnectionLost(
                    f"The client {self.client_id} was closed: make a new one to go on calling.", reason="closed"
                )
            if not self._started:
                try:
                    self._connection.start()
                except NetworkError as error:
                    raise self._lost(error) from error
                _started.add(self)
                self._started = True

    def connect(self, timeout: float = 10.0) -> None:
        """Connect, and wait for it.

        Raises:
            ConnectionLost: why it did not work, as soon as each URL was tried once, or after `timeout` seconds. The
                client goes on trying unless it was refused.
        """
        self.start()
        try:
            self._connection.wait_started(timeout)
        except MQLightError as error:
            raise self._lost(error) from error

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Leave the server; calls that have not ended end in ConnectionLost. May be called twice.

        Args:
            timeout: seconds for taking leave; then the connection is cut.
        """
        with self._starting:
            if self._closed:
                return
            self._closed = True
            started = self._started
        self._close_calls()
        if started:
            _started.discard(self)
            if self.connected and self._refused is None:
                self._connection.unsubscribe(self._subscription, forget=True)
            self._connection.stop(timeout)
            self._close_calls()  # those that slipped in meanwhile
        with self._room:
            self._room.notify_all()
        keeper.look()

    def _close_calls(self) -> None:
        for call in self._pending.clear():
            said = f"The client was closed before {call.topic!r} answered."
            self._end(call, None, ConnectionLost(said, reason="closed"))
        self._gatherings.clear()

    # Calling

    def call(
        self,
        endpoint: str,
        data: Any,
        callback: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        *,
        on_error: Callable[[Exception], object] | None = None,
        uuid: str | None = None,
        _make: Callable[..., Call] = Call,
    ) -> Call:
        """Ask the service at `endpoint`, and return at once; wait for the answer with `.result()`.

        Args:
            endpoint: the topic of the service.
            data: anything that JSON has.
            callback: called with the data of the reply, one callback at a time. The process stays alive for it, and
                `exit()` in it ends the process.
            timeout: seconds; None takes the client's.
            on_error: called with the error, where there is a callback and the call has no result. Without it the error
                is logged.
            uuid: what names this call; None makes one. To repeat a call that failed, give its `uuid`: a service that
                is `idempotent_for` some time then gives the first answer instead of running again.

        Returns:
            The call, which ends in the data or in RemoteError, NoResponders, Timeout or ConnectionLost.

        Raises:
            TypeError, ValueError: an argument cannot work; the sentence names it.
            Timeout, ConnectionLost: there was no room to send it for `timeout` seconds, or the client was closed.
        """
        if not self._started or self._closed or self._refused is not None:
            self._prepare()
        if type(endpoint) is not str or endpoint not in self._topics:
            self._check_topic(endpoint)
        owing = callback is not None or on_error is not None
        if owing:
            self._check_callbacks(callback, on_error)
        seconds = self._timeout if timeout is None else checked_timeout(timeout)
        number = f"{self._prefix}{next(self._numbers):012x}" if uuid is None else checked_uuid(uuid)
        message = encode_request(number, endpoint, data, self._reply_to, now=time(), timeout=seconds)
        deadline = monotonic() + seconds
        call = _make(self, number, endpoint, seconds, deadline, callback, on_error)
        if owing:
            self._owed[call] = None
        self._send(call, message)
        return call

    def notify(
        self, topic: str, data: Any, ttl: float | None = None, *, timeout: float | None = None, uuid: str | None = None
    ) -> Call:
        """Tell the service at `topic` something without waiting for its answer, and return at once.

        The message is sent at least once. A service whose function raises is given it again, later each time.

        Args:
            topic: the topic of the service.
            data: anything that JSON has.
            ttl: seconds after which nobody needs to know it any more; None: as long as the server keeps it.
            timeout: seconds for the server to take it; None takes the client's.
            uuid: what names the message; None makes one.

        Returns:
            What is done when the server has taken the message, with the result None. It ends in NoResponders where
            nobody listens, for then the message is lost; in Timeout or ConnectionLost when it was not taken in time,
            and may be taken later; in RemoteError when the server refused it.

        Raises:
            TypeError, ValueError: an argument cannot work; the sentence names it.
            Timeout, ConnectionLost: there was no room to send it for `timeout` seconds, or the client was closed.
        """
        if not self._started or self._closed or self._refused is not None:
            self._prepare()
        if type(topic) is not str or topic not in self._topics:
            self._check_topic(topic)
        life = None if ttl is None else checked_timeout(ttl, "ttl")
        seconds = self._timeout if timeout is None else checked_timeout(timeout)
        number = f"{self._prefix}{next(self._numbers):012x}" if uuid is None else checked_uuid(uuid)
        message = encode_notice(number, topic, data, self.client_id, now=time(), ttl=life)
        notice = Notice(self, number, topic, seconds, monotonic() + seconds, None, None)
        self._send(notice, message)
        return notice

    def _send(self, call: Call, message: bytes) -> None:
        if len(self._owed) > MAXIMUM or not self._add(call):
            self._wait_for_room(call)
        connection, home = self._connection, self._home
        if home.held is not self:
            home.held = self
            connection.wake(monotonic() + LOOK)
        connection.wake(call.deadline)
        try:
            connection.publish(call.topic, message, mandatory=True, on_outcome=call._on_outcome, timeout=call.timeout)
        except (TimeoutError, StoppedError) as error:
            if self._pending.pop(call.uuid) is not None:
                self._done_with(call)
                raise self._turned_away(call) from error

    def _add(self, call: Call) -> bool:
        """Add a call to the pending ones. False when there is no room. Raises ValueError where its uuid is in use."""
        added = self._pending.add(call)
        if added is Added.TAKEN:
            self._done_with(call)
            raise ValueError(f"A call with the uuid {call.uuid!r} has not ended yet: wait for it before you repeat it.")
        return added is Added.YES

    def gather(
        self,
        endpoint: str,
        data: Any,
        callback: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        *,
        on_error: Callable[[Exception], object] | None = None,
        replies: int = MAX_REPLIES,
    ) -> Call:
        """Ask every service at `endpoint`, and take their answers until the time is over.

        One answer comes from each share, and from each service without a share_id: run two kinds of back ends, each
        with a share_id of its own, and there are two. A request that is delivered again may be answered again.

        Args:
            endpoint, data, timeout: as for `call`.
            callback: called with the data of each answer, as it comes.
            on_error: called with the RemoteError of each answer that is an error, and with how the call ended where
                there was no answer at all. Without it they are logged, if there is a callback.
            replies: end as soon as there are so many.

        Returns:
            A call whose result is the list of all answers in the order in which they came: data, and a RemoteError for
            each that failed. Without any answer it ends as `call` does, in NoResponders, Timeout or ConnectionLost.

        Raises:
            TypeError, ValueError, Timeout, ConnectionLost: as `call` does.
        """
        make = partial(Gathering, checked_replies(replies))
        return self.call(endpoint, data, callback, timeout, on_error=on_error, _make=make)

    def batch(self) -> AbstractContextManager[None]:
        """Send the calls that this thread makes within the block together: `with client.batch():`.

        A burst of calls costs less that way. At most 100 calls are held back, until the end of the block, or until the
        thread waits for one of them. Other threads send at once, as ever.
        """
        return self._connection.batch()

    def _prepare(self) -> None:
        self.start()
        if self._refused is not None:
            raise self._lost(self._refused) from self._refused

    def _check_topic(self, endpoint: object) -> None:
        if not isinstance(endpoint, str):
            raise TypeError(f"The endpoint {endpoint!r} is not a str; give the topic of a service.")
        validate_topic(endpoint)
        if len(self._topics) >= KNOWN_TOPICS:
            self._topics.clear()
        self._topics.add(endpoint)

    def _check_callbacks(self, *functions: object) -> None:
        for function in functions:
            if function is not None:
                check_callback(function)
        if not self._watched:
            try:
                keeper.watch(self)
            except RuntimeError as error:
                said = f"No thread can be started for the callbacks: {error}"
                raise ConnectionLost(said, reason="no thread") from error
            self._watched = True

    def _wait_for_room(self, call: Call) -> None:
        """There are too many calls: wait for a place among the pending ones. Raises Timeout, ConnectionLost."""
        added = False

        def try_it() -> bool:
            nonlocal added
            added = not self._closed and len(self._owed) <= MAXIMUM and self._add(call)
            return added or self._closed

        self._connection.before_blocking()
        with self._room:
            self._waiting += 1
            try:
                self._room.wait_for(try_it, call.deadline - monotonic())
            finally:
                self._waiting -= 1
                if not added:
                    self._done_with(call)
        if not added:
            raise self._turned_away(call)

    def _turned_away(self, call: Call) -> MacaqueError:
        """The error of a call that could not even be sent."""
        error = self._overdue(call)
        if self._metrics is not None:
            attempt(log, self._metrics.ended, call, error)
        return error

    # How a call ends

    def _end(self, call: Call, data: Any, error: Exception | None) -> None:
        """End a call that was taken out of the pending ones."""
        call._end(data, error)
        if self._metrics is not None:
            attempt(log, self._metrics.ended, call, error)
        if call.callback is not None or call.on_error is not None:
            self._run(self._call_back, call, data, error)
        if self._waiting:
            with self._room:
                self._room.notify_all()

    def _call_back(self, call: Call, data: Any, error: Exception | None) -> None:
        try:
            if error is None:
                if call.callback is not None:
                    call.callback(data)
            elif call.on_error is not None:
                call.on_error(error)
            else:
                log.error("the call of %r failed: %s", call.topic, error)
        finally:
            self._done_with(call)

    def _done_with(self, call: Call) -> None:
        """Its callback has returned, or will not be called."""
        self._owed.pop(call, None)
        if self._waiting:
            with self._room:
                self._room.notify_all()
        if not self._owed:
            keeper.look()

    def _overdue(self, call: Call) -> MacaqueError:
        """How a call ends that has no answer by its deadline."""
        connection = self._connection
        if self._closed:
            return ConnectionLost(f"The client was closed before {call.topic!r} was called.", reason="closed")
        if call.accepted:
            said = f"No answer from {call.topic!r} within {call.timeout:g} s."
        elif connection.state is State.STARTED:
            said = f"The server had no room for the request to {call.topic!r} within {call.timeout:g} s."
        else:
            return self._lost(connection.error)
        return Timeout(said, topic=call.topic, timeout=call.timeout)

    def _lost(self, error: Exception | None) -> ConnectionLost:
        url = getattr(error, "url", None) or self._connection.url
        reason = "it does not answer" if error is None else str(error)
        return ConnectionLost(f"No connection to the messaging server: {reason}", url=url, reason=reason)

    def _overtime(self, call: Call) -> None:
        """End a call whose deadline has passed, where nothing else has: the thread that does it may not run."""
        if self._pending.pop(call.uuid) is not None:
            self._end(call, None, self._overdue(call))
        else:
            self._gatherings.end(call)

    def _expire(self, now: float) -> float | None:
        for call in self._pending.expire(now):
            self._end(call, None, self._overdue(call))
        due, gathered = self._pending.next_deadline(), self._gatherings.expire(now)
        return due if gathered is None or due is not None and due < gathered else gathered

    # Told by the connection, under its lock

    def _on_delivery(self, delivery: Delivery) -> None:
        try:
            reply = decode_reply(delivery.message)
        except BadReply as error:
            log.warning("dropped a message to %s: %s", self._reply_to, error)
            delivery.reject("amqp:decode-error", str(error))
            return
        delivery.accept()
        call = self._pending.pop(reply.uuid)
        if call is None or call.gathers:
            self._gather(call or self._gatherings.pop(reply.uuid), reply)
        else:
            self._end(call, reply.data, None if reply.error is None else reply.error.exception())

    def _gather(self, call: Call | None, reply: Reply) -> None:
        if isinstance(call, Gathering):
            self._gatherings.add(call, reply.data, None if reply.error is None else reply.error.exception())
            if self._waiting:
                with self._room:
                    self._room.notify_all()
        else:
            log.debug("dropped a reply that nobody waits for: %s", reply.uuid)

    def _requested(self, call: Call, outcome: Outcome, condition: Condition | None) -> None:
        """What the server did with a request."""
        if outcome is Outcome.ACCEPTED:
            call.accepted = True
            return
        if self._pending.pop(call.uuid) is None:
            return
        error: MacaqueError
        if condition is not None and condition.name == EXPIRED:
            said = f"The message to {call.topic!r} could not be sent before its time was over."
            error = Timeout(said, topic=call.topic, timeout=call.timeout)
        elif outcome is Outcome.RELEASED:
            # The server's "released" has no condition; the connection's own, when it is given up, has one.
            error = NoResponders(call.topic) if condition is None else self._lost(self._connection.error)
        else:
            name, description = condition or ("amqp:modified", "it gave the request back")
            error = RemoteError.refused(name, description)
        self._end(call, None, error)

    def _notified(self, notice: Notice, outcome: Outcome, condition: Condition | None) -> None:
        """What the server did with a one-way message."""
        if outcome is not Outcome.ACCEPTED:
            self._requested(notice, outcome, condition)
        elif self._pending.pop(notice.uuid) is not None:
            self._end(notice, None, None)

    def _on_subscribed(self, error: Exception | None) -> None:
        if error is not None:
            log.error("the server does not let %s listen on %s: %s", self.client_id, self._reply_to, error)
            self._give_up(error)

    def _on_state(self, state: State, error: Exception | None) -> None:
        if state is State.STARTED and self._metrics is not None:
            attempt(log, self._metrics.connected)
        if state is State.STOPPED and error is not None:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._refused = error
        for call in self._pending.clear():
            self._end(call, None, self._lost(error))
        self._gatherings.clear()

    # Where the user's functions run

    def _before_blocking(self) -> None:
        self._connection.before_blocking()

    @property
    def owes(self) -> bool:
        """Whether a callback is still to be run."""
        return bool(self._owed)

    def _run(self, function: Callable[..., object], *args: Any) -> None:
        """Have a function of the user's run soon, one at a time."""
        if keeper.leaving:
            keeper.run(self._in_turn, function, *args)
        else:
            self._lane.submit(self._in_turn, function, *args)

    def _in_turn(self, function: Callable[..., object], *args: Any) -> None:
        with self._turn:
            function(*args)

    @property
    def busy(self) -> bool:
        """Whether a call has not ended, or a callback is still to be run."""
        return bool(self._owed) or len(self._pending) > 0 or len(self._gatherings) > 0


class _Home:
    """What the connection tells, passed on to its client.

    The threads of the connection hold this, and it holds the client only while a call is under way: so a client that
    nobody else holds any more is closed.
    """

    __slots__ = ("_client", "held")

    def __init__(self, client: Client) -> None:
        self._client = weakref.ref(client)
        self.held: Client | None = None

    def on_state(self, state: State, error: Exception | None) -> None:
        if (client := self._client()) is not None:
            client._on_state(state, error)

    def on_delivery(self, delivery: Delivery) -> None:
        if (client := self._client()) is not None:
            client._on_delivery(delivery)
        else:
            delivery.accept()  # nobody waits for it

    def on_subscribed(self, error: Exception | None) -> None:
        if (client := self._client()) is not None:
            client._on_subscribed(error)

    def expire(self, now: float) -> float | None:
        client = self._client()
        if client is None:
            return None
        due = client._expire(now)
        self.held = None
        if client.busy:  # looked at after that, because a call may be added at any time
            self.held = client
            due = now + LOOK if due is None else min(due, now + LOOK)
        return due


_started: weakref.WeakSet[Client] = weakref.WeakSet()


def _close_all() -> None:
    """At the end of the process."""
    for client in list(_started):
        try:
            client.close()
        except Exception:
            log.debug("%s could not take its leave", client.client_id, exc_info=True)


atexit.register(_close_all)
