"""The answering end: functions become services, and a request is the server's until its reply has been accepted.

The rules of this file:

* A request is settled when the broker has accepted its reply. A worker that dies before leaves it to another one.
* Whatever a function does, its caller is answered, and the worker goes on.
* Functions run in the lane of their service, as many at a time as it has credit. What the connection calls (`_replied`)
  runs under its lock and only answers the delivery.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic, time
from types import TracebackType
from typing import Any, TypeVar

from macaque.envelope import BadRequest, Fault, Request, decode_request, encode_fault, encode_reply
from macaque.errors import Abort, ConnectionLost
from macaque.registry import Registry, Service
from mqlight.arguments import client_id
from mqlight.connection import Connection, State
from mqlight.delivery import Delivery
from mqlight.errors import MQLightError, StoppedError
from mqlight.service import ServiceLike, resolve
from mqlight.wire.terms import Condition, Outcome
from mqlight.wire.threads import Lane

__all__ = ["Server"]

log = logging.getLogger(__name__)

SHARE_TTL = 24 * 3600
"""Seconds that the requests to a shared service are kept while none of its members is there."""
CLOSE_TIMEOUT = 10.0

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
        self.client_id = client_id(f"macaque_{uuid.uuid4().hex[:12]}" if cid is None else cid)
        self._service, _ = resolve(broker, security_options, os.environ)
        self._registry = Registry()
        self._connection: Connection | None = None
        self._changing = threading.Lock()
        self._ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        """What ends `run`: an error, or None for a signal or `close`."""
        self._awaited: set[Service] = set()
        """Services whose subscription the broker has not confirmed, guarded by `_confirmed`."""
        self._confirmed = threading.Condition()
        self._refused: Exception | None = None
        self._debug = False

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

    def service(self, endpoint: str, share_id: str | None = None, credit: int = 5) -> Callable[[F], F]:
        """Make a function the service at `endpoint`: it takes the data of a request and returns the data of the reply.

        The function itself stays as it is. It may run several times at once, in threads.

        Args:
            endpoint: a topic, or a pattern of topics.
            share_id: all servers with the same one share the requests, which wait a day for them when none is there.
                Without it each server gets every request, while it is connected.
            credit: how many requests are in work at a time.

        Raises:
            TypeError, ValueError: an argument cannot work, or the function does not take one argument.
        """

        def register(function: F) -> F:
            with self._changing:
                service = self._registry.add(endpoint, share_id, credit, function)
                if self._connection is not None:
                    self._subscribe(self._connection, service)
            return function

        if callable(endpoint):
            register(endpoint)  # raises: the decorator was used without its parentheses
        return register

    def _subscribe(self, connection: Connection, service: Service) -> None:
        with self._confirmed:
            self._awaited.add(service)
        lane = connection.lane(service.credit)
        connection.subscribe(
            service.endpoint,
            service.share_id,
            ttl=0 if service.share_id is None else SHARE_TTL,
            credit=service.credit,
            lane=lane,
            on_delivery=partial(self._serve, connection, service, lane),
            on_subscribed=partial(self._on_subscribed, service),
        )

    # Life

    def run(self, debug: bool = False) -> None:
        """Serve until SIGINT, SIGTERM or `close`, then finish the requests in hand.

        Args:
            debug: log to stderr unless logging is set up, and send tracebacks to callers.

        Raises:
            ConnectionLost: the broker refuses this server, so trying again would be of no use.
        """
        self._debug = debug
        if debug:
            _log_to_stderr()
        self.start()
        with _signals(self._ended):
            error = self._ended.get()
        self.close()
        if error is not None:
            raise error

    def start(self) -> None:
        """Begin to serve, in threads that do not keep the process alive, and return at once."""
        with self._changing:
            if self._connection is not None:
                return
            while not self._ended.empty():
                self._ended.get()
            self._awaited.clear()
            self._refused = None
            connection = self._connection = Connection(self._service, self.client_id, on_state=self._on_state)
            for service in self._registry:
                self._subscribe(connection, service)
            connection.start()

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
            timeout: seconds for all of that; what is not finished then goes to another server of the share.
        """
        with self._changing:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.stop(timeout)
        self._ended.put(None)

    def _on_state(self, state: State, error: Exception | None) -> None:
        if state is State.STOPPED and error is not None:
            self._end(_lost(error))

    def _on_subscribed(self, service: Service, error: Exception | None) -> None:
        if error is None:
            log.info("%s serves %s", self.client_id, service.name)
            with self._confirmed:
                self._awaited.discard(service)
                self._confirmed.notify_all()
        else:
            reason = f"The broker does not let {self.client_id} serve {service.name}: {error}"
            log.error("%s", reason)
            self._end(ConnectionLost(reason, reason=str(error)))

    def _end(self, error: Exception) -> None:
        self._ended.put(error)
        with self._confirmed:
            self._refused = error
            self._confirmed.notify_all()

    # A request

    def _serve(self, connection: Connection, service: Service, lane: Lane, delivery: Delivery) -> None:
        """In the service's lane: one request, from its bytes to its reply on the way."""
        try:
            request = decode_request(delivery.message)
        except BadRequest as error:
            log.warning("rejected a message to %s: %s", service.endpoint, error)
            delivery.reject("amqp:decode-error", str(error))
            return
        if request.expires is not None and time() * 1000.0 > request.expires:
            log.debug("dropped a request to %s whose caller waits no more: %s", service.endpoint, request.uuid)
            delivery.accept()
            return
        try:
            reply = self._reply(service, request)
        except BaseException:
            # exit(), a greenlet that is killed: not for the caller. Somebody else may do better.
            delivery.release()
            raise
        if not request.reply_to:
            delivery.accept()
            return
        self._send(connection, request, reply, partial(self._replied, connection, lane, delivery, request))

    def _reply(self, service: Service, request: Request) -> bytes:
        try:
            return encode_reply(request, service.function(request.data))
        except Abort as error:
            fault = Fault(error.code, error.message, None, error.details, error.retryable)
        except Exception as error:
            log.exception("%s failed on the request %s from %s", service.endpoint, request.uuid, request.reply_to)
            trace = traceback.format_exc() if self._debug else None
            fault = Fault(500, str(error), type(error).__name__, None, False, trace)
        try:
            return encode_fault(request, fault)
        except Exception as error:
            log.error("%s aborted with details that cannot be sent: %s", service.endpoint, error)
            return encode_fault(request, Fault(500, "the error of the service cannot be sent", type(error).__name__))

    def _send(
        self,
        connection: Connection,
        request: Request,
        reply: bytes,
        on_outcome: Callable[[Outcome, Condition | None], None],
    ) -> None:
        assert request.reply_to is not None
        try:
            connection.publish(request.reply_to, reply, mandatory=True, on_outcome=on_outcome)
        except StoppedError:
            log.debug("stopped before the reply to %s was sent; its request goes to another server", request.uuid)

    def _replied(
        self,
        connection: Connection,
        lane: Lane,
        delivery: Delivery,
        request: Request,
        outcome: Outcome,
        condition: Condition | None,
    ) -> None:
        """What became of a reply. Without a broker to tell, the request stays unsettled: another server gets it."""
        if outcome is Outcome.ACCEPTED:
            delivery.accept()
        elif outcome is Outcome.RELEASED and condition is not None:
            log.debug("stopped before the reply to %s was taken", request.uuid)
        elif outcome is Outcome.REJECTED:
            log.warning("the broker did not take the reply to %s for %s: %s", request.uuid, request.reply_to, condition)
            lane.submit(self._explain, connection, delivery, request, condition)
        else:
            log.warning("nobody was there to take the reply to %s at %s", request.uuid, request.reply_to)
            delivery.accept()

    def _explain(
        self, connection: Connection, delivery: Delivery, request: Request, condition: Condition | None
    ) -> None:
        """In the lane: the reply was rejected, for its size maybe, so the caller gets the reason instead."""
        name, description = condition or (None, "the broker gave no reason")
        fault = Fault(500, f"the broker did not take the reply: {description}", name)
        self._send(connection, request, encode_fault(request, fault), lambda outcome, condition: _settle(delivery))


def _lost(error: Exception) -> ConnectionLost:
    return ConnectionLost(
        f"No connection to the messaging server: {error}", url=getattr(error, "url", None), reason=str(error)
    )


def _settle(delivery: Delivery) -> None:
    delivery.accept()


@contextmanager
def _signals(ended: queue.SimpleQueue[Exception | None]) -> Iterator[None]:
    """SIGINT and SIGTERM end `run`, if this is the main thread; afterwards they are what they were."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # SimpleQueue.put, unlike Event.set, may interrupt the thread that waits.
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: ended.put(None)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _log_to_stderr() -> None:
    logger = logging.getLogger("macaque")
    if not logger.hasHandlers():
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
