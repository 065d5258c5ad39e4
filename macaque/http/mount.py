"""The services of one server inside of the process: a twin of the server, and a client that calls it.

The rules of this file:

* Both begin with the first request, and again after a fork. They end with the server's `close`, or with the process.
* The twin has the services, the hooks and the settings of the server, and a state of its own. So one server may serve
  AMQP and HTTP at the same time.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

from macaque.client import Client
from macaque.errors import ConnectionLost
from macaque.http.answer import Problem
from macaque.http.local import LocalBroker, LocalTransport
from macaque.observe.info import ServiceInfo, describe
from macaque.registry import Service
from macaque.transport import MakeTransport
from mqlight.amqp.topics import PatternMap
from mqlight.errors import NetworkError
from mqlight.log import Log, attempt
from mqlight.net import forks

__all__ = ["LocalClient", "Mount"]

log = Log(__name__)

DRAIN_TIMEOUT = 10.0
"""Seconds to finish what runs at the end of the process."""
ANYWHERE = "amqp://127.0.0.1"
"""The URL of a client inside of the process. It is not used; it keeps the client from reading the environment."""


class LocalClient(Client):
    """A client of a broker inside of the process."""

    def __init__(self, broker: LocalBroker) -> None:
        connect: MakeTransport = partial(LocalTransport, broker)
        self._connect = connect  # type: ignore[assignment]
        super().__init__(ANYWHERE)


class _Running(NamedTuple):
    broker: LocalBroker
    client: Client
    twin: Any
    """A `macaque.Server`, whose file imports this one."""


class Mount:
    """See the module. It is the `Services` of the applications of HTTP.

    Args:
        make_twin: makes the twin of the server, given the function that makes its transport.
    """

    def __init__(self, make_twin: Callable[[Callable[..., LocalTransport]], Any]) -> None:
        self._make_twin = make_twin
        self._after_fork()
        forks.register(self, Mount._after_fork)
        _mounts.add(self)

    def _after_fork(self) -> None:
        """Begin again in the child of a fork, because the threads belong to the parent."""
        self._changing = threading.Lock()
        self._running: _Running | None = None
        self._services: PatternMap[Service] = PatternMap()
        self._known: dict[Service, ServiceInfo] = {}

    @property
    def begun(self) -> bool:
        """Whether there was a request."""
        return self._running is not None

    def client(self) -> Client:
        """Return the client.

        Raises:
            TypeError, ValueError: a setting is invalid, or an annotation of a service.
            ConnectionLost: the process cannot start a thread. The next request tries it again.
        """
        return (self._running or self._begin()).client

    def at(self, path: str) -> str:
        """Return the topic at a path: the path, or the path with a "/" before it if only that is a topic."""
        self._running or self._begin()
        with self._changing:
            return path if self._services.find(path) or not self._services.find(f"/{path}") else f"/{path}"

    def find(self, topic: str) -> ServiceInfo:
        """Return the service at a topic. Raises Problem: there is none."""
        self._running or self._begin()
        with self._changing:
            found = self._services.find(topic)
            if not found:
                raise Problem(404, f"There is no service at {topic[:200]!r}.")
            service = found[0]
            if service not in self._known:
                self._known[service] = describe(service)
            return self._known[service]

    def add(self, service: Service) -> None:
        """Serve one more service."""
        with self._changing:
            if self._running is not None:
                twin = self._running.twin
                if all(each.name != service.name for each in twin._workers):  # else the twin began with it
                    twin._add(service)
                    twin._announce(twin._connection)
                self._note(twin)

    def _note(self, twin: Any) -> None:
        """Take note of the services of the twin."""
        for service in twin._workers:
            self._services.add(service.topic, service)

    def close(self, timeout: float = DRAIN_TIMEOUT) -> None:
        """Finish what waits and runs. The next request begins again.

        Args:
            timeout: seconds for that. Messages that are not begun or finished by then are lost, and are logged.
        """
        with self._changing:
            running, self._running = self._running, None
        if running is not None:
            deadline = monotonic() + timeout
            running.broker.drain(timeout)
            running.twin.close(max(0.0, deadline - monotonic()))
            running.client.close()
            running.broker.stop()

    def _begin(self) -> _Running:
        with self._changing:
            if self._running is not None:
                return self._running
            broker = LocalBroker()
            client = LocalClient(broker)
            forks.register(broker, LocalBroker._after_fork)  # last: in a child it is the first one that begins again
            try:
                broker.start()
                twin = self._make_twin(partial(LocalTransport, broker))
                twin.connect()
                twin._announce(twin._connection)  # now, so that the first request can be cancelled
                client.start()
            except NetworkError as error:
                broker.stop()
                raise ConnectionLost(f"The services cannot be started: {error}", reason=str(error)) from error
            except BaseException:
                broker.stop()
                raise
            self._services, self._known = PatternMap(), {}
            self._note(twin)
            self._running = _Running(broker, client, twin)
            return self._running


_mounts: weakref.WeakSet[Mount] = weakref.WeakSet()


def _close_all() -> None:
    """Finish what runs, at the end of the process."""
    for mount in list(_mounts):
        attempt(log, mount.close)


atexit.register(_close_all)
