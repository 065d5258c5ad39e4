"""The calling end: each request has a uuid, and the replies come to a topic of the client's own."""

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
from time import time
from typing import Any

from macaque.arguments import checked_number, checked_seconds, checked_uuid
from macaque.call import Call, Gathering, Notice
from macaque.calls import Calls
from macaque.envelope import encode_notice, encode_request
from macaque.errors import ConnectionLost
from macaque.ids import id_of_child, made_up_id
from macaque.keeper import keeper
from macaque.observe.observer import MakeObserver
from macaque.transport import MakeTransport, Transport
from mqlight.addresses import ServiceLike, resolve
from mqlight.amqp.topics import validate_topic
from mqlight.arguments import client_id
from mqlight.connection import Connection, State
from mqlight.errors import MQLightError, NetworkError
from mqlight.log import Log
from mqlight.net import forks
from mqlight.subscription import Subscription

__all__ = ["Client"]

log = Log(__name__)

TIMEOUT = 30.0
"""Default timeout of a call, in seconds."""
REPLY_TTL = 30
"""Seconds that the broker keeps the replies to this client while the client is not connected."""
REPLY_CREDIT = 1024
CLOSE_TIMEOUT = 2.0
KNOWN_TOPICS = 4096
MAX_REPLIES = 1000
"""The most replies that a gathering takes."""


class Client:
    """Calls services by their topic, from any thread.

    The first call connects the client; `start` and `connect` do so earlier. A lost connection is made again.

    Args:
        broker: URL, list of URLs, or function that finds them. None means `MACAQUE_BROKER`, else the bound Cloud
            Foundry service, else `amqp://127.0.0.1:5672`.
        cid: the client id, unique among all connected clients. None makes a random one.
        security_options: user and TLS, with the names of the MQ Light API.
        timeout: the default timeout of a call, in seconds.

    Raises:
        TypeError, ValueError: an argument, or a setting of the environment, is invalid.
    """

    def __init__(
        self,
        broker: ServiceLike | None = None,
        cid: str | None = None,
        security_options: dict[str, Any] | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self._cid = None if cid is None else client_id(cid)
        self._timeout = checked_seconds(timeout)
        self._addresses, _ = resolve(broker, security_options, os.environ)
        self._begin(self._cid or made_up_id())
        forks.register(self)

    _connect: MakeTransport = staticmethod(Connection)
    """Makes the connection. Tests replace it."""

    def _begin(self, name: str) -> None:
        """Make this a client with the id ``name`` that has not called anything yet."""
        self.client_id = name
        self._reply_to = f"response/{name}"
        self._prefix = str(uuid.uuid4())[:24]
        self._numbers = itertools.count(1)
        self._topics: set[str] = set()
        self._started = False
        self._starting = threading.Lock()
        self._calls = calls = Calls(partial(self._connect, self._addresses, name), name)
        self._connection = calls.transport
        self._subscription = self._connection.subscribe(
            self._reply_to,
            ttl=REPLY_TTL,
            credit=REPLY_CREDIT,
            on_delivery=calls.on_delivery,
            on_subscribed=calls.on_subscribed,
        )

    def after_fork(self) -> None:
        """Start afresh in the child of a fork: the calls in flight are the parent's, and the next call connects anew.

        A client id that was chosen stays the parent's. The child's id has a random end.
        """
        before = self._calls
        self._begin(id_of_child(self._cid))
        self._calls.closed, self._calls.observer = before.closed, before.observer
        before.abandon()

    def __del__(self) -> None:
        if not getattr(self, "_started", False) or self._calls.closed:
            return
        self._connection.run_soon(partial(_leave, self._connection, self._subscription))
        said = f"{self!r} was dropped without close(): write `with macaque.Client() as client:`, or close it"
        warnings.warn(said, ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        return f"<macaque.Client {self.client_id}: {self._connection.state.value}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the broker."""
        return self._connection.state is State.STARTED

    @property
    def ready(self) -> bool:
        """Whether replies can arrive: connected, and the broker has confirmed the topic of the replies."""
        return self.connected and self._subscription.ready

    def start(self) -> None:
        """Begin to connect, and return at once. A call does this by itself.

        Raises:
            ConnectionLost: the client was closed, or the process cannot start a thread.
        """
        with self._starting:
            if self._calls.closed:
                raise ConnectionLost(
                    f"The client {self.client_id} was closed: make a new one to go on calling.", reason="closed"
                )
            if not self._started:
                try:
                    self._connection.start()
                except NetworkError as error:
                    raise self._calls.lost(error) from error
                _started.add(self)
                self._started = True
                self._calls.open = self._calls.refused is None

    def connect(self, timeout: float = 10.0) -> None:
        """Connect, and wait for the connection.

        Raises:
            ConnectionLost: the reason, as soon as each URL was tried once, or after `timeout` seconds. The client tries
                again later, unless the broker refused it.
        """
        self.start()
        try:
            self._connection.wait_started(timeout)
        except MQLightError as error:
            raise self._calls.lost(error) from error

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Disconnect. Calls that have not ended end in ConnectionLost. A second call is harmless.

        Args:
            timeout: seconds for an orderly close. Then the connection is cut.
        """
        calls = self._calls
        with self._starting:
            if calls.closed:
                return
            calls.closed, calls.open = True, False
        calls.close()
        if self._started:
            _started.discard(self)
            if self.connected and calls.refused is None:
                self._connection.unsubscribe(self._subscription, forget=True)
            self._connection.stop(timeout)
            calls.close()  # ends the calls that were sent meanwhile
        keeper.look()

    def call(
        self,
        endpoint: str,
        data: Any,
        callback: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        *,
        on_error: Callable[[Exception], object] | None = None,
        uuid: str | None = None,
    ) -> Call:
        """Send a request to the service at a topic, and return at once. Wait for the result with `.result()`.

        Args:
            endpoint: the topic.
            data: any value that JSON can carry.
            callback: called with the data of the reply, one callback at a time. The process stays alive for it, and
                `exit()` in it ends the process.
            timeout: seconds; None means the client's timeout.
            on_error: called with the error, if there is a callback and the call has no result. Without it the error
                is logged.
            uuid: the id of this call; None makes one. To repeat a failed call, give its `uuid`: a service with
                `idempotent_for` then returns the first result for that time, and does not run again.

        Returns:
            The call, which ends with the data or in RemoteError, NoResponders, Timeout or ConnectionLost.

        Raises:
            TypeError, ValueError: an argument is invalid; the sentence names it.
            Timeout, ConnectionLost: there was no room to send it for `timeout` seconds, or the client was closed.
        """
        return self._call(Call, endpoint, data, callback, timeout, on_error, uuid)

    def notify(
        self, topic: str, data: Any, ttl: float | None = None, *, timeout: float | None = None, uuid: str | None = None
    ) -> Call:
        """Send a one-way message to the service at `topic`, and return at once.

        The message is sent at least once. If the function of the service raises, the message is tried again, after
        longer and longer pauses.

        Args:
            topic: the topic of the service.
            data: any value that JSON can carry.
            ttl: seconds after which the message is discarded; None: the broker keeps it as long as it can.
            timeout: seconds in which the broker must accept the message; None means the client's timeout.
            uuid: the id of the message; None makes one.

        Returns:
            A call that ends with None when the broker has accepted the message. It ends in NoResponders if no service
            is subscribed; the message is lost. It ends in Timeout or ConnectionLost if the broker has not accepted it
            in time; the broker may accept it later. It ends in RemoteError if the broker refuses it.

        Raises:
            TypeError, ValueError: an argument is invalid; the sentence names it.
            Timeout, ConnectionLost: there was no room to send it for `timeout` seconds, or the client was closed.
        """
        calls = self._calls
        if not calls.open:
            self._prepare()
        if type(topic) is not str or topic not in self._topics:
            self._check_topic(topic)
        life = None if ttl is None else checked_seconds(ttl, "ttl")
        seconds = self._timeout if timeout is None else checked_seconds(timeout)
        number = f"{self._prefix}{next(self._numbers):012x}" if uuid is None else checked_uuid(uuid)
        message = encode_notice(number, topic, data, self.client_id, now=time(), ttl=life)
        notice = Notice(calls, number, topic, seconds, calls.now() + seconds, None, None)
        calls.send(notice, message, self)
        return notice

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
        """Send a request to every service at a topic, and take their replies until the deadline.

        One reply comes from each share, and from each service without a share_id. For example, two kinds of back ends
        with one share_id each send two replies. A request that is delivered again may get a second reply.

        Args:
            endpoint, data, timeout: as for `call`.
            callback: called with the data of each reply, when it arrives.
            on_error: called with the RemoteError of each error reply, and with the error of the call if there was no
                reply at all. Without it these errors are logged, if there is a callback.
            replies: the number of replies that ends the call.

        Returns:
            A call whose result is the list of all replies in the order in which they came: data, or a RemoteError for
            an error reply. Without any reply it ends as `call` does, in NoResponders, Timeout or ConnectionLost.

        Raises:
            TypeError, ValueError, Timeout, ConnectionLost: as `call` does.
        """
        most = checked_number(replies, "number of replies", 1, MAX_REPLIES, "how many replies are wanted")
        return self._call(partial(Gathering, most), endpoint, data, callback, timeout, on_error, None)

    def batch(self) -> AbstractContextManager[None]:
        """Send the calls that this thread makes in the block together: `with client.batch():`.

        A burst of calls costs less this way. At most 100 calls are held back, until the end of the block, or until the
        thread waits for one of them. Other threads send at once as usual.
        """
        return self._connection.batch()

    def _call(
        self,
        make: Callable[..., Call],
        topic: str,
        data: Any,
        callback: Callable[[Any], object] | None,
        timeout: float | None,
        on_error: Callable[[Exception], object] | None,
        uuid: str | None,
    ) -> Call:
        calls = self._calls
        if not calls.open:
            self._prepare()
        if type(topic) is not str or topic not in self._topics:
            self._check_topic(topic)
        owing = callback is not None or on_error is not None
        if owing:
            calls.callbacks.check(callback, on_error)
        seconds = self._timeout if timeout is None else checked_seconds(timeout)
        number = f"{self._prefix}{next(self._numbers):012x}" if uuid is None else checked_uuid(uuid)
        message = encode_request(number, topic, data, self._reply_to, now=time(), timeout=seconds)
        call = make(calls, number, topic, seconds, calls.now() + seconds, callback, on_error)
        if owing:
            calls.callbacks.owe(call)
        calls.send(call, message, self)
        return call

    def _prepare(self) -> None:
        self.start()
        if self._calls.refused is not None:
            raise self._calls.lost(self._calls.refused) from self._calls.refused

    @property
    def _in_flight(self) -> int:
        return self._calls.unanswered

    def _observe(self, make: MakeObserver) -> None:
        if self._calls.observer is None:
            self._calls.observer = make("client")

    def _check_topic(self, topic: object) -> None:
        if not isinstance(topic, str):
            raise TypeError(f"The topic {topic!r} is not a str; give the topic of a service.")
        validate_topic(topic)
        if len(self._topics) >= KNOWN_TOPICS:
            self._topics.clear()
        self._topics.add(topic)


def _leave(connection: Transport, subscription: Subscription) -> None:
    """Close the connection of a client that nothing refers to any more."""
    if connection.state is State.STARTED:
        connection.unsubscribe(subscription, forget=True)
    connection.stop(CLOSE_TIMEOUT)


_started: weakref.WeakSet[Client] = weakref.WeakSet()


def _close_all() -> None:
    """Close all clients at the end of the process."""
    for client in list(_started):
        try:
            client.close()
        except Exception:
            log.debug("%s could not take its leave", client.client_id, exc_info=True)


atexit.register(_close_all)
