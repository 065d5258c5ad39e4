"""The answering end: functions become services, which are served over one connection until it is time to leave.

The rules of this file:

* What the connection calls (`_on_state`, `_on_subscribed`) runs under its lock and is short.
* Leaving is in order: take no more, finish, reply, settle, say goodbye. What is not finished in time is released.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from macaque import letter
from macaque.clocks import Clocks
from macaque.cycles import Cycles
from macaque.errors import ConnectionLost
from macaque.health import Health
from macaque.ids import id_of_child, made_up_id
from macaque.logs import log_to_stderr
from macaque.registry import MAX_DELIVERIES, Registry, Service
from macaque.signals import asked_to_leave
from macaque.worker import Worker
from mqlight.arguments import client_id
from mqlight.connection import Connection, State
from mqlight.errors import MQLightError
from mqlight.service import ServiceLike, resolve
from mqlight.wire import forks
from mqlight.wire.log import Log, attempt
from mqlight.wire.process import end_process

if TYPE_CHECKING:
    from macaque.metrics import RequestMetrics

__all__ = ["Server"]

log = Log(__name__)

CLOSE_TIMEOUT = 10.0
"""Seconds to finish the requests in hand."""

F = TypeVar("F", bound=Callable[[Any], Any])


class Server:
    """Services, and the connection over which they are reached.

    Args:
        broker: URL, list of URLs, or function that finds them; None takes `MACAQUE_BROKER`, else the bound Cloud
            Foundry service, else `amqp://127.0.0.1:5672`.
        cid: the client id, unique among all that are connected; None makes one.
        security_options: user and TLS, as the MQ Light API names them.

    Raises:
        TypeError, ValueError: an argument, or the environment, says what cannot work.
    """

    def __init__(
        self,
        broker: ServiceLike | None = None,
        cid: str | None = None,
        security_options: dict[str, Any] | None = None,
    ) -> None:
        self._cid = None if cid is None else client_id(cid)
        self._service, _ = resolve(broker, security_options, os.environ)
        self._registry = Registry()
        self._debug = False
        self._metrics: RequestMetrics | None = None
        """Set by `macaque.metrics.observe`."""
        self._begin(self._cid or made_up_id())
        forks.register(self)

    def _begin(self, name: str) -> None:
        """Be a server of that id which does not serve."""
        self.client_id = name
        self._connection: Connection | None = None
        self._workers: dict[Service, Worker] = {}
        self._clocks = Clocks()
        self._cycles = Cycles(lambda: self._registry)
        self._changing = threading.Lock()
        self._ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        """What ends `run`: an error, an `exit()` in a service, or None for a signal or `close`."""
        self._runs = False
        """Whether `run` waits for that."""
        self._awaited: set[Service] = set()
        """Services whose subscription the broker has not confirmed, guarded by `_confirmed`."""
        self._confirmed = threading.Condition()
        self._refused: Exception | None = None

    def after_fork(self) -> None:
        """In the child of a fork: what is served is the parent's. `start` and `run` serve here as well, with an id of
        the child's own.
        """
        self._begin(id_of_child(self._cid))

    def __repr__(self) -> str:
        state = State.STOPPED if self._connection is None else self._connection.state
        return f"<macaque.Server {self.client_id}: {len(self._registry)} services, {state.value}>"

    def __enter__(self) -> Server:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Services

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
        """Make a function the service at `endpoint`: it takes the data of a request and returns the data of the reply.

        The function itself stays as it is. It may run several times at once, in threads.

        Args:
            endpoint: a topic, or a pattern of topics.
            share_id: all servers with the same one share the requests, which wait for them when none is there.
                Without it each server gets every request, while it is connected.
            credit: how many requests are in work at a time.
            max_deliveries: how often a request is tried: one whose worker dies over it, or a one-way one whose function
                raises. Then it goes to the dead letters, and its caller gets RemoteError with code "undeliverable".
            ttl: seconds that requests are kept while none of the share is there. None: a day, or without a share 0.
            idempotent_for: seconds for which this server remembers its answers: a call that is repeated with the same
                uuid gets the first one. None: it is run again.
            timeout: seconds that the function has for a request. After them its caller gets RemoteError with code 504;
                the function goes on, and keeps its place in the credit until it returns. None: as long as it takes.

        Raises:
            TypeError, ValueError: an argument cannot work, or the function does not take one argument.
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
            register(endpoint)  # raises: the decorator was used without its parentheses
        return register

    def _subscribe(self, connection: Connection, service: Service) -> None:
        with self._confirmed:
            self._awaited.add(service)
        self._workers[service] = Worker(
            connection,
            service,
            client_id=self.client_id,
            debug=self._debug,
            metrics=self._metrics,
            clocks=self._clocks,
            cycles=self._cycles,
            on_subscribed=partial(self._on_subscribed, service),
            on_exit=self._exit,
        )

    def _keep_dead_letters(self, connection: Connection) -> None:
        """Be a member of the share that keeps the dead letters. It has no credit: none of them comes here."""
        connection.subscribe(
            letter.PATTERN,
            letter.SHARE,
            ttl=letter.TTL,
            credit=0,
            on_delivery=lambda delivery: None,
            on_subscribed=self._on_dead_letters,
        )

    def _on_dead_letters(self, error: Exception | None) -> None:
        if error is not None:
            log.warning("the broker does not let %s keep dead letters: %s", self.client_id, error)

    def _observe(self, metrics: RequestMetrics) -> None:
        with self._changing:
            self._metrics = metrics
            for worker in self._workers.values():
                worker.metrics = metrics

    # Life

    def run(
        self,
        debug: bool = False,
        *,
        drain_timeout: float = CLOSE_TIMEOUT,
        health_port: int | None = None,
        health_host: str = "127.0.0.1",
    ) -> None:
        """Serve until SIGINT, SIGTERM or `close`, then finish the requests in hand. A second signal ends the process.

        Args:
            debug: log more, a line for each request too, and send tracebacks to callers. Logs go to stderr unless the
                application has set up logging.
            drain_timeout: seconds to finish in; what is not finished then goes to another server of the share at once.
            health_port: where /healthz, /readyz and /metrics are served over HTTP; 0 takes a free port, None serves
                nothing.
            health_host: the address for that.

        Raises:
            ConnectionLost: the broker refuses this server, so trying again would be of no use.
            OSError: the health port cannot be used.
            SystemExit: a service called `exit()`. Its caller was answered, and the requests in hand are finished.
        """
        self._debug = debug
        log_to_stderr("debug" if debug else "info")
        if not len(self._registry):
            log.warning("%s has no services: write @app.service('my/topic') above a function", self.client_id)
        with nullcontext() if health_port is None else Health(self, health_host, health_port):
            if self._connection is None:
                self._forget_ends()
            with asked_to_leave(lambda: self._ended.put(None)):  # first: a signal may come while it starts
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
        """Whether there is a connection to the messaging server now."""
        connection = self._connection
        return connection is not None and connection.state is State.STARTED

    def start(self) -> None:
        """Begin to serve, in threads that do not keep the process alive, and return at once."""
        with self._changing:
            if self._connection is not None:
                return
            if not self._runs:
                self._forget_ends()
            self._awaited.clear()
            self._refused = None
            connection = self._connection = Connection(self._service, self.client_id, on_state=self._on_state)
            self._keep_dead_letters(connection)  # first: the broker has to have it before it sends a request
            for service in self._registry:
                self._subscribe(connection, service)
            connection.start()

    def _forget_ends(self) -> None:
        """Forget what ended the server the last time."""
        while not self._ended.empty():
            self._ended.get()

    def connect(self, timeout: float = 10.0) -> None:
        """Begin to serve, and wait until the broker has confirmed every service. `with app:` does it.

        Raises:
            ConnectionLost: why it did not work, as soon as each URL was tried once, or after `timeout` seconds. The
                server goes on trying unless it was refused.
        """
        deadline = monotonic() + timeout
        self.start()
        connection = self._connection
        if connection is None:
            raise ConnectionLost(f"The server {self.client_id} was closed meanwhile.", reason="closed")
        try:
            connection.wait_started(timeout)
        except MQLightError as error:
            raise _lost(error) from error
        with self._confirmed:
            self._confirmed.wait_for(lambda: not self._awaited or self._refused, deadline - monotonic())
            if self._refused is not None:
                raise self._refused
            if self._awaited:
                names = ", ".join(service.name for service in self._awaited)
                raise ConnectionLost(f"The broker did not confirm {names} within {timeout:g} s.", reason="no answer")

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Take no more requests, finish those in hand, and leave. May be called twice, and not from within a service.

        Args:
            timeout: seconds for all of that; what is not finished then goes to another server of the share at once.
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
        """End the services for good, with their destinations and what waits there; `close` comes next."""
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
        """What keeps this server from serving, and why; nothing when it is ready.

        It is ready while it has a connection and the broker has confirmed each service and may send it a request. A
        service that works on as many requests as its credit allows is ready as well, unless all its places are taken by
        functions that run for longer than their timeout.
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
        if state is State.STARTED and self._metrics is not None:
            attempt(log, self._metrics.connected)
        if state is State.STOPPED and error is not None:
            self._end(_lost(error))

    def _on_subscribed(self, service: Service, error: Exception | None) -> None:
        if error is None:
            connection = self._connection
            at = "" if connection is None or connection.url is None else f" at {connection.url}"
            log.info("%s serves %s%s", self.client_id, service.name, at)
            with self._confirmed:
                self._awaited.discard(service)
                self._confirmed.notify_all()
        else:
            reason = f"The broker does not let {self.client_id} serve {service.name}: {error}"
            log.error("%s", reason)
            self._end(ConnectionLost(reason, reason=str(error)))

    def _exit(self, wanted: SystemExit) -> None:
        """A service called `exit()`, and its caller is being answered: leave, then end the process with its status."""
        if self._runs:
            self._ended.put(wanted)
            return
        try:
            threading.Thread(target=self._leave, args=(wanted,), name="macaque-exit", daemon=False).start()
        except RuntimeError:  # no thread can be started, so there is no time to leave in order
            end_process(wanted)

    def _leave(self, wanted: SystemExit) -> None:
        self.close()
        end_process(wanted)

    def _end(self, error: Exception) -> None:
        self._ended.put(error)
        with self._confirmed:
            self._refused = error
            self._confirmed.notify_all()


def _lost(error: Exception) -> ConnectionLost:
    return ConnectionLost(
        f"No connection to the messaging server: {error}", url=getattr(error, "url", None), reason=str(error)
    )
