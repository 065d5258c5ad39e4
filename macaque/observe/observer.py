"""The events of clients and servers, and the observers that receive them, such as Prometheus metrics.

The methods must be quick, because some run under the connection's lock. An observer that raises does no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from macaque.call import Call
from macaque.registry import Service

__all__ = ["MakeObserver", "Observable", "Observer"]


class Observer(Protocol):
    """Receives the events of one client or one server."""

    def connected(self) -> None:
        """Note a connection, the first one or a later one."""

    def call_ended(self, call: Call, error: Exception | None) -> None:
        """Note the end of a call of the client; of a gathering, its first reply."""

    def request_began(self, service: Service) -> None:
        """Note the beginning of a service's function for a request."""

    def request_ended(self, service: Service, seconds: float, code: object) -> None:
        """Note the end of the function after `seconds`; `code` is None for a result."""

    def request_overran(self, service: Service, code: object) -> None:
        """Note that the function has exceeded its timeout and goes on. Its caller has got an error."""

    def request_returned(self, service: Service, seconds: float) -> None:
        """Note the end of a function that had exceeded its timeout, after `seconds`."""

    def redelivered(self, service: Service) -> None:
        """Note a request that had failed a delivery attempt before."""

    def retried(self, service: Service) -> None:
        """Note a one-way message that failed and will be tried again."""

    def expired(self, service: Service) -> None:
        """Note a request that arrived too late for its caller."""

    def dead_lettered(self, service: Service) -> None:
        """Note a dead letter that the broker has accepted."""


MakeObserver = Callable[[str], Observer]
"""`make(role)` returns the observer of a "client" or a "server"."""


@runtime_checkable
class Observable(Protocol):
    """A client or a server."""

    @property
    def connected(self) -> bool: ...

    @property
    def _in_flight(self) -> int:
        """The number of its own calls without a reply."""

    def _observe(self, make: MakeObserver) -> None:
        """Set the observer, unless there is one already."""
