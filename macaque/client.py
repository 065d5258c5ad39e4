"""The calling end: each request has a uuid, and the replies come to a topic of the client's own."""

from __future__ import annotations

import atexit
import itertools
import os
import threading
import uuid
import warnings
import weakref
from collections.abc import Mapping
from functools import partial
from math import inf
from typing import Any

from macaque.aio import in_thread
from macaque.arguments import checked_seconds
from macaque.broker import resolve
from macaque.calls import Calls, rescue
from macaque.errors import ConnectionLost
from macaque.ids import id_of_child, made_up_id
from macaque.keeper import keeper
from macaque.many import Many
from macaque.observe.observer import MakeObserver
from macaque.observe.tracing import tracing
from macaque.transport import Transport
from mqlight.addresses import ServiceLike
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


class Client(Many):
    """Calls services by their topic, from any thread and any event loop.

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
        forks.register(self, Client._after_fork)

    _connect = staticmethod(Connection)
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

    def _after_fork(self) -> None:
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

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *error: object) -> None:
        await in_thread(self.close)

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the broker."""
        return self._connection.state is State.STARTED

    @property
    def broker_properties(self) -> Mapping[str, object]:
        """The properties that the last connected broker sent about itself, such as ``product`` and ``version``."""
        peer = self._connection.peer
        return {} if peer is None else peer.properties

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
                self._calls.tracing = tracing(self.client_id)
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
            rescue(calls, inf)
        keeper.look()

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
            log.debug("%s could not be closed", client.client_id, exc_info=True)


atexit.register(_close_all)
