"""The part of a connection that services and clients use. `mqlight.connection.Connection` has it; tests have others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from mqlight.amqp.capabilities import Marks
from mqlight.amqp.message import topic_of
from mqlight.amqp.types import Peer
from mqlight.connection import State
from mqlight.delivery import Delivery
from mqlight.dialects.base import Dialect
from mqlight.outgoing import OnOutcome
from mqlight.subscription import Subscription

__all__ = ["Lane", "MakeTransport", "Transport", "topic_in"]


class Lane(Protocol):
    """Runs functions, a given number at a time, in the order of their submission."""

    def submit(self, function: Callable[..., object], *args: Any) -> None:
        """Run `function(*args)` soon, on some thread."""


class Transport(Protocol):
    """A connection to a broker that is made again when it is lost.

    Functions given as `on_...` or to `every` are short and do not block. The `on_...` functions run under the
    transport's lock.
    """

    @property
    def state(self) -> State: ...
    @property
    def error(self) -> Exception | None: ...
    @property
    def url(self) -> str | None: ...
    @property
    def dialect(self) -> Dialect | None: ...
    @property
    def peer(self) -> Peer | None: ...

    def start(self) -> None: ...
    def wait_started(self, timeout: float) -> None: ...
    def pause(self) -> None: ...
    def stop(self, timeout: float = ...) -> None: ...
    def run_soon(self, task: Callable[[], object]) -> None: ...

    def now(self) -> float:
        """Return the time in seconds, by the clock that `every`, `wake` and `Delivery.arrived` use."""

    def wall(self) -> float:
        """Return the time in seconds since 1970."""

    def every(self, call: Callable[[float], float | None]) -> None: ...
    def wake(self, at: float) -> None: ...
    def lane(self, width: int) -> Lane: ...
    def before_blocking(self) -> None: ...

    def wait(self, lock: threading.Lock, seconds: float) -> bool:
        """Acquire a lock that an event of the transport releases. Return False after `seconds`."""

    def batch(self) -> AbstractContextManager[None]: ...

    def publish(
        self,
        topic: str,
        message: bytes,
        *,
        mandatory: bool = ...,
        on_outcome: OnOutcome | None = ...,
        timeout: float | None = ...,
    ) -> bool: ...

    def subscribe(
        self,
        pattern: str,
        share: str | None = ...,
        *,
        ttl: int = ...,
        credit: int = ...,
        max_deliveries: int = ...,
        marks: Marks = ...,
        lane: Any = ...,
        on_delivery: Callable[[Delivery], object],
        on_subscribed: Callable[[Exception | None], None] | None = ...,
    ) -> Subscription: ...

    def unsubscribe(
        self,
        subscription: Subscription,
        *,
        forget: bool,
        on_unsubscribed: Callable[[Exception | None], None] | None = ...,
    ) -> None: ...

    def add_credit(self, subscription: Subscription, messages: int) -> None: ...


MakeTransport = Callable[..., Transport]
"""`make(addresses, client_id, on_state=...)` returns a transport that is not started."""


def topic_in(transport: Transport, to: str) -> str:
    """Return the topic in the `to` of a message that came over a transport."""
    dialect = transport.dialect
    return topic_of(to if dialect is None else dialect.topic(to))
