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
from typing import Any, TypeVar

from macaque.clocks import Clocks
from macaque.cycles import Cycles
from macaque.dead_lettering import keep_dead_letters
from macaque.errors import ConnectionLost
from macaque.ids import id_of_child, made_up_id
from macaque.logs import log_to_stderr
from macaque.observe.observer import MakeObserver, Observer
from macaque.registry import MAX_DELIVERIES, Registry, Service
from macaque.signals import asked_to_leave
from macaque.startup import Startup
from macaque.transport import MakeTransport, Transport
from macaque.worker import Worker
from mqlight.addresses import ServiceLike, resolve
from mqlight.arguments import client_id
from mqlight.connection import Connection, State
from mqlight.errors import MQLightError
from mqlight.log import Log, attempt
from mqlight.net import forks
from mqlight.net.process import end_process

__all__ = ["Server"]

log = Log(__name__)

CLOSE_TIMEOUT = 10.0
"""Seconds to finish the requests that the server holds."""

F = TypeVar("F", bound=Callable[[Any], Any])


class Server:
    """Serves functions as services, over one connection.

    Args:
        broker: URL, list of URLs, or function that finds them. None means `MACAQUE_BROKER`, else the bound Cloud
            Foundry service, else `amqp://127.0.0.1:5672`.
        cid: the client id, unique among all connected clients. None makes a random one.
        security_options: user and TLS, with the names of the MQ Light API.

    Raises:
        TypeError, ValueError: an argument, or a setting of the environment, is invalid.
    """

    def __init__(
        self,
        broker: ServiceLike | None = None,
        cid: str | None = None,
        security_options: dict[str, Any] | None = None,
    ) -> None:
        self._cid = None if cid is None else client_id(cid)
        self._addresses, _ = resolve(broker, security_options, os.environ)
        self._registry = Registry()
        self._debug = False
        self._observer: Observer | None = None
        self._begin(self._cid or made_up_id())
        forks.register(self)

    _connect: MakeTransport = staticmethod(Connection)
    """Makes the connection. Tests replace it."""

    def _begin(self, name: str) -> None:
        """Make this a server with the id ``name`` that does not serve."""
        self.client_id = name
        self._connection: Transport | None = None
        self._workers: dict[Service, Worker] = {}
        self._clocks = Clocks()
        self._cycles = Cycles(lambda: self._registry)
        self._changing = threading.Lock()
        self._ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        """The end of `run`: an error, an `exit()` in a service, or None for a signal or `close`."""
        self._runs = False
        """Whether `run` waits for an end."""
        self._startup = Startup()

    def after_fork(self) -> None:
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

    def service(
        self,
        endpoint: str,
        share_id: str | None = None,
        credit: int = 5,
        *,
        max_deliveries: int = MAX_DELIVERIES,
        ttl: int | None = None,
        idempotent_for: float | None = None,
        timeout: float | None = None,
    ) -> Callable[[F], F]:
        """Make a function the service for a topic. It takes the data of a request and returns the data of the reply.

        The function itself does not change. It may run several times at once, in threads.

        Args:
            endpoint: a topic, or a pattern of topics.
            share_id: servers with one share_id share the requests, which wait while none of them is connected. Without
                it each connected server gets every request.
            credit: the number of requests that run at a time.
            max_deliveries: delivery attempts for a request whose worker dies, or for a one-way message whose function
                raises. Then it is a dead letter, and the caller gets RemoteError with code "undeliverable".
            ttl: seconds that requests are kept while no member of the share is connected. None means a day with a
                share, and 0 without one.
            idempotent_for: seconds that this server remembers its results: a repeated call with the same uuid gets the
                first result. None: the function runs again.
            timeout: seconds that the function has for a request. Then the caller gets RemoteError with code 504. The
                function goes on, and keeps its place in the credit until it returns. None: there is no limit.

        Raises:
            TypeError, ValueError: an argument is invalid, or the function does not take one argument.
        """

        def register(function: F) -> F:
            with self._changing:
                service = self._registry.add(
                    endpoint, share_id, credit, function,
                    max_deliveries=max_deliveries, ttl=ttl, idempotent_for=idempotent_for, timeout=timeout,
                )  # fmt: skip
                if self._connection is not None:
                    self._subscribe(self._connection, service)
            return function

        if callable(endpoint):
            register(endpoint)  # raises, because the decorator was used without its parentheses
        return register

    def _subscribe(self, connection: Transport, service: Service) -> None:
        self._startup.expect(service)
        self._workers[service] = Worker(
            connection,
            service,
            client_id=self.client_id,
            debug=self._debug,
            observer=self._observer,
            clocks=self._clocks,
            cycles=self._cycles,
            on_subscribed=partial(self._on_subscribed, service),
            on_exit=self._exit,
        )

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
                self._forget_ends()
            with asked_to_leave(lambda: self._ended.put(None)):  # first, because a signal may arrive during the start
                self._runs = True
                try:
                    self.start()
                    error = self._ended.get()
                finally:
                    self._runs = False
                self.close(drain_timeout)
        if error is not None:
            raise error

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the broker."""
        connection = self._connection
        return connection is not None and connection.state is State.STARTED

    def start(self) -> None:
        """Begin to serve, in threads that do not keep the process alive, and return at once."""
        with self._changing:
            if self._connection is not None:
                return
            if not self._runs:
                self._forget_ends()
            self._startup.begin()
            connection = self._connection = self._connect(self._addresses, self.client_id, on_state=self._on_state)
            keep_dead_letters(connection, self.client_id)  # first: the broker must have it before it sends a request
            for service in self._registry:
                self._subscribe(connection, service)
            connection.start()

    def _forget_ends(self) -> None:
        """Forget earlier ends of the server."""
        while not self._ended.empty():
            self._ended.get()

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
            raise _lost(error) from error
        self._startup.wait(deadline - connection.now(), timeout)

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Take no more requests, finish the running ones, and disconnect. A second call is harmless.

        Do not call it in a service.

        Args:
            timeout: seconds for all of that. Then unfinished requests go to another server of the share.
        """
        with self._changing:
            connection, self._connection = self._connection, None
            workers = list(self._workers.values())
            self._workers.clear()
        if connection is not None:
            connection.pause()
            for worker in workers:
                worker.leave()
            connection.stop(timeout)
        self._ended.put(None)

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
            self._end(_lost(error))

    def _on_subscribed(self, service: Service, error: Exception | None) -> None:
        if error is None:
            connection = self._connection
            at = "" if connection is None or connection.url is None else f" at {connection.url}"
            log.info("%s serves %s%s", self.client_id, service.name, at)
            self._startup.confirm(service)
        else:
            reason = f"The broker does not let {self.client_id} serve {service.name}: {error}"
            log.error("%s", reason)
            self._end(ConnectionLost(reason, reason=str(error)))

    def _exit(self, wanted: SystemExit) -> None:
        """Stop, then end the process with the status of an `exit()` in a service, whose caller is being answered."""
        if self._runs:
            self._ended.put(wanted)
            return
        try:
            threading.Thread(target=self._leave, args=(wanted,), name="macaque-exit", daemon=False).start()
        except RuntimeError:  # no thread can be started, so an orderly stop is impossible
            end_process(wanted)

    def _leave(self, wanted: SystemExit) -> None:
        self.close()
        end_process(wanted)

    def _end(self, error: Exception) -> None:
        self._ended.put(error)
        self._startup.fail(error)


def _lost(error: Exception) -> ConnectionLost:
    return ConnectionLost(f"No connection to the broker: {error}", url=getattr(error, "url", None), reason=str(error))


def _health(server: Server, host: str, port: int) -> AbstractContextManager[object]:
    """Serve the health of a server. An HTTP server is a sixth of the time of ``import macaque``, and few need it."""
    from macaque.observe.health import Health

    return Health(server, host, port)
