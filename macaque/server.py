"""The answering end: functions become services, which one connection serves until the server stops.

The rules of this file:

* `_on_state` and `_on_subscribed` run under the connection's lock, and are short.
* A server stops in order: it takes no more requests, finishes, replies, settles, and closes its connection. It releases
  the requests that are not finished in time.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from time import monotonic
from typing import Any

from macaque.broker import resolve
from macaque.clocks import Clocks
from macaque.config import Config, broker_of, credit_of, timeout_of
from macaque.cycles import Cycles
from macaque.dead_lettering import keep_dead_letters
from macaque.ends import Ends
from macaque.errors import ConnectionLost, lost
from macaque.hooks import Hooks
from macaque.http.mountable import Mountable
from macaque.ids import id_of_child, made_up_id
from macaque.logs import log_to_stderr
from macaque.loop import Loop
from macaque.observe.discovery import announcement, on_announced
from macaque.observe.observer import MakeObserver, Observer
from macaque.observe.tracing import Tracing, tracing
from macaque.parts import Inbox
from macaque.registry import Registry, Service
from macaque.signals import asked_to_leave
from macaque.startup import Startup
from macaque.transport import Transport
from macaque.worker import Worker
from mqlight.addresses import Addresses, ServiceLike
from mqlight.arguments import client_id
from mqlight.connection import Connection, State
from mqlight.errors import MQLightError
from mqlight.log import Log, attempt
from mqlight.net import forks

__all__ = ["Server"]

log = Log(__name__)

CLOSE_TIMEOUT = 10.0
"""Seconds to finish the requests that the server holds."""
LOOP_TIMEOUT = 2.0
"""Seconds after that for the coroutines that are cancelled then."""


def _connection(find: Callable[[], Addresses], client_id: str, /, **told: Any) -> Transport:
    return Connection(find(), client_id, **told)


class Server(Mountable):
    """Serves functions as services, over one connection.

    Args:
        broker: URL, list of URLs, or function that finds them. None means the setting BROKER (`MACAQUE_BROKER`) at the
            start, else the bound Cloud Foundry service, else `amqp://127.0.0.1:5672`.
        cid: the client id, unique among all connected clients. None makes a random one.
        security_options: user and TLS, with the names of the MQ Light API.
        discovery: whether the server answers `macaque services` and `macaque ping`.

    Raises:
        TypeError, ValueError: an argument, or a setting of the environment, is invalid.
    """

    def __init__(
        self,
        broker: ServiceLike | None = None,
        cid: str | None = None,
        security_options: dict[str, Any] | None = None,
        *,
        discovery: bool = True,
    ) -> None:
        super().__init__()
        self._cid = None if cid is None else client_id(cid)
        self._broker, self._security_options = broker, security_options
        if broker is not None:
            self._find()  # raises here, and not at the start
        self.config = Config(os.environ)
        """The settings, which are read when the server starts."""
        self._registry = Registry()
        self._debug = False
        self._discovery = discovery
        self._observer: Observer | None = None
        self._begin(self._cid or made_up_id())
        forks.register(self, Server._after_fork)

    def _find(self) -> Addresses:
        """Return the addresses of the broker."""
        broker = broker_of(self.config) if self._broker is None else self._broker
        return resolve(broker, self._security_options, os.environ)[0]

    _connect = staticmethod(_connection)
    """Makes the connection. Tests replace it."""

    def _begin(self, name: str) -> None:
        """Make this a server with the id ``name`` that does not serve."""
        self.client_id = name
        self._connection: Transport | None = None
        self._tracing: Tracing | None = None
        self._workers: dict[Service, Worker] = {}
        self._announcement: Worker | None = None
        self._clocks = Clocks()
        self._cycles = Cycles(lambda: list(self._workers))
        self._loop = Loop(f"{name}-loop")
        self._inbox: Inbox
        self._changing = threading.RLock()
        self._ends = Ends(self.close)
        self._startup = Startup()

    def _after_fork(self) -> None:
        """Stop serving in the child of a fork, because the parent goes on. The child may start with its own id."""
        self._begin(id_of_child(self._cid))

    def __repr__(self) -> str:
        state = State.STOPPED if self._connection is None else self._connection.state
        return f"<macaque.Server {self.client_id}: {len(self._registry)} services, {state.value}>"

    def __enter__(self) -> Server:
        self.connect()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _register(self, *arguments: Any, hooks: tuple[Hooks, ...] = (), **options: Any) -> None:
        with self._changing:
            service = self._registry.add(*arguments, hooks=(self._hooks, *hooks), **options)
            self._add(service)
            if self._mount is not None:
                self._mount.add(service)

    def _add(self, service: Service) -> None:
        """Serve one more service, if this server has started."""
        with self._changing:
            if self._connection is not None:
                self._subscribe(self._connection, self._settled(service))

    def _check_open(self, what: str) -> None:
        if self._connection is not None or (self._mount is not None and self._mount.begun):
            raise RuntimeError(f"The server {self.client_id} has started, so {what} comes too late.")

    def _settled(self, service: Service) -> Service:
        """Return a service with the settings for the values that it does not tell."""
        service.codec.resolve()
        return service.settled(credit_of(self.config), timeout_of(self.config))

    def _subscribe(self, connection: Transport, service: Service) -> None:
        self._startup.expect(service)
        on_subscribed = partial(self._on_subscribed, connection, service)
        self._workers[service] = self._worker(
            connection, service, observer=self._observer, tracing=self._tracing, on_subscribed=on_subscribed
        )  # fmt: skip

    def _worker(self, connection: Transport, service: Service, **options: Any) -> Worker:
        return Worker(
            connection, service, client_id=self.client_id, debug=self._debug, clocks=self._clocks, cycles=self._cycles,
            loop=self._loop, inbox=self._inbox, on_exit=self._exit, **options,
        )  # fmt: skip

    def _announce(self, connection: Transport) -> None:
        """Hear of cancelled requests and answer on `macaque/services`, because the broker has confirmed every service.

        These are the last subscriptions, because a broker may end the session of a client without permission for them.
        """
        with self._changing:
            if self._connection is not connection:
                return
            for worker in self._workers.values():
                worker.listen()
            if self._discovery and self._announcement is None:
                service = announcement(self.client_id, connection.wall() * 1000, lambda: list(self._workers.values()))
                told = partial(on_announced, self.client_id)
                self._announcement = self._worker(connection, service, observer=None, on_subscribed=told)

    @property
    def _in_flight(self) -> int:
        return 0

    def _observe(self, make: MakeObserver) -> None:
        with self._changing:
            if self._observer is None:
                self._observer = make("server")
            for worker in self._workers.values():
                worker.observer = self._observer

    def run(
        self,
        debug: bool = False,
        *,
        drain_timeout: float = CLOSE_TIMEOUT,
        health_port: int | None = None,
        health_host: str = "127.0.0.1",
    ) -> None:
        """Serve until SIGINT, SIGTERM or `close`, then finish the running requests. A second signal ends the process.

        Args:
            debug: log more, including a line for each request, and send tracebacks to callers. Logs go to stderr unless
                the application has set up logging.
            drain_timeout: seconds to finish. Then unfinished requests go to another server of the share.
            health_port: the port of /healthz, /readyz and /metrics over HTTP; 0 takes a free one, None serves nothing.
            health_host: the address of that port.

        Raises:
            ConnectionLost: the broker refuses this server.
            OSError: the health port cannot be used.
            SystemExit: a service called `exit()`. Its caller was answered, and the running requests are finished.
        """
        self._debug = debug
        log_to_stderr("debug" if debug else "info")
        if not len(self._registry):
            log.warning("%s has no services: write @app.service('my/topic') above a function", self.client_id)
        with nullcontext() if health_port is None else _health(self, health_host, health_port):
            if self._connection is None:
                self._ends.forget()
            with asked_to_leave(self._ends.put):  # first, because a signal may arrive during the start
                self._ends.awaited = True
                try:
                    self.start()
                    error = self._ends.wait()
                finally:
                    self._ends.awaited = False
                self.close(drain_timeout)
        if error is not None:
            raise error

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the broker."""
        connection = self._connection
        return connection is not None and connection.state is State.STARTED

    def start(self) -> None:
        """Begin to serve, in threads that do not keep the process alive, and return at once.

        Raises:
            TypeError, ValueError: a setting is invalid, or an annotation of a service cannot be used.
        """
        with self._changing:
            if self._connection is not None:
                return
            if not self._ends.awaited:
                self._ends.forget()
            services = [self._settled(service) for service in self._registry]
            connection = self._connect(self._find, self.client_id, on_state=self._on_state)
            self._inbox = Inbox(connection, self.client_id)
            self._startup.begin()
            self._connection, self._tracing = connection, tracing(self.client_id)
            keep_dead_letters(connection, self.client_id)  # first: the broker must have it before it sends a request
            for service in services:
                self._subscribe(connection, service)
            connection.start()

    def connect(self, timeout: float = 10.0) -> None:
        """Begin to serve, and wait until the broker has confirmed every service. `with app:` does it.

        Raises:
            ConnectionLost: the reason, as soon as each URL was tried once, or after `timeout` seconds. The server tries
                again later, unless the broker refused it.
        """
        self.start()
        connection = self._connection
        if connection is None:
            raise ConnectionLost(f"The server {self.client_id} was closed meanwhile.", reason="closed")
        deadline = connection.now() + timeout
        try:
            connection.wait_started(timeout)
        except MQLightError as error:
            raise lost(error) from error
        self._startup.wait(deadline - connection.now(), timeout)

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Take no more requests, finish the running ones, and disconnect. A second call is harmless.

        Do not call it in a service.

        Args:
            timeout: seconds for all of that. Then unfinished requests go to another server of the share.
        """
        if self._mount is not None:
            began = monotonic()
            self._mount.close(timeout)
            timeout = max(0.0, timeout - (monotonic() - began))
        with self._changing:
            connection, self._connection = self._connection, None
            workers = list(self._workers.values())
            self._workers.clear()
            self._announcement = None
        if connection is not None:
            connection.pause()
            self._inbox.leave(timeout / 2)  # the other half is for the ends to be sent
            for worker in workers:
                worker.leave()
            connection.stop(timeout)
            self._loop.stop(LOOP_TIMEOUT)
        self._ends.put()

    def _forget(self, timeout: float) -> None:
        """Delete the destinations of the services, with the requests there. Call `close` next."""
        with self._changing:
            workers = list(self._workers.values())
        forgotten: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        deadline = monotonic() + timeout
        for worker in workers:
            worker.forget(forgotten.put)
        with suppress(queue.Empty):
            for _ in workers:
                forgotten.get(timeout=max(0.0, deadline - monotonic()))

    def unready(self) -> dict[str, str]:
        """Return the parts of this server that are not ready, with the reasons; empty if it is ready.

        The server is ready while it has a connection and the broker has confirmed each service and may send it a
        request. A service that works on as many requests as its credit allows is ready too, unless all its places are
        taken by functions that run for longer than their timeout.
        """
        connection = self._connection
        if connection is None:
            return {"server": "it is not started, or is leaving"}
        if connection.state is not State.STARTED:
            reason = "it is being made" if connection.error is None else str(connection.error)
            return {"connection": reason}
        with self._changing:
            workers = list(self._workers.values())
        troubles = {worker.service.name: worker.trouble for worker in workers}
        return {name: trouble for name, trouble in troubles.items() if trouble is not None}

    def _on_state(self, state: State, error: Exception | None) -> None:
        if state is State.STARTED and self._observer is not None:
            attempt(log, self._observer.connected)
        if state is State.STOPPED and error is not None:
            self._end(lost(error))

    def _on_subscribed(self, connection: Transport, service: Service, error: Exception | None) -> None:
        if error is None:
            at = "" if connection.url is None else f" at {connection.url}"
            log.info("%s serves %s%s", self.client_id, service.name, at)
            if self._startup.confirm(service):
                connection.lane(1).submit(self._announce, connection)
        else:
            reason = f"The broker does not let {self.client_id} serve {service.name}: {error}"
            log.error("%s", reason)
            self._end(ConnectionLost(reason, reason=str(error)))

    def _exit(self, wanted: SystemExit) -> None:
        self._ends.exit(wanted)

    def _end(self, error: Exception) -> None:
        self._ends.put(error)
        self._startup.fail(error)


def _health(server: Server, host: str, port: int) -> AbstractContextManager[object]:
    """Serve the health of a server. An HTTP server is a sixth of the time of ``import macaque``, and few need it."""
    from macaque.observe.health import Health

    return Health(server, host, port)
