"""What Prometheus is told about calls and services.

The rules of this file:

* Nothing else imports it but who wants metrics: it needs `prometheus-client` (`pip install 'macaque-amqp[metrics]'`).
* No label comes from a stranger. An endpoint is one that this process registered, never the topic of a call, and a code
  is one of HTTP's numbers or of the few names below, else "other".
* All clients, and all servers, of a process are counted together.
"""

from __future__ import annotations

import weakref
from time import monotonic
from typing import TYPE_CHECKING

from macaque.call import Call
from macaque.client import Client
from macaque.errors import ConnectionLost, NoResponders, RemoteError, Timeout
from macaque.server import Server

try:
    from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
    from prometheus_client import generate_latest as _generate
except ImportError as error:
    raise ImportError("macaque.metrics needs prometheus-client: pip install 'macaque-amqp[metrics]'") from error

if TYPE_CHECKING:
    from macaque.registry import Service

__all__ = ["exposition", "observe"]

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
NAMED_CODES = frozenset({"exit", "undeliverable"})
_ERRORS = ((NoResponders, "no_responders"), (Timeout, "timeout"), (ConnectionLost, "connection_lost"))


def observe(target: Client | Server, registry: CollectorRegistry = REGISTRY) -> None:
    """Count what `target` does, from now on. Doing it again changes nothing.

    For a client: `macaque_calls_total{code}`, `macaque_call_seconds`, `macaque_calls_in_flight`. For a server:
    `macaque_requests_total{endpoint, code}`, `macaque_request_seconds{endpoint}`,
    `macaque_requests_in_flight{endpoint}`, and `macaque_redeliveries_total`, `macaque_retries_total`,
    `macaque_expired_total` and `macaque_dead_letters_total`, each by endpoint. For both: `macaque_connected{role}` and
    `macaque_reconnects_total{role}`.

    Raises:
        TypeError: it is neither of the two.
    """
    families = _families.get(registry)
    if families is None:
        families = _families[registry] = _Families(registry)
    if isinstance(target, Client):
        if target._metrics is None:
            target._metrics = CallMetrics(families, target)
    elif isinstance(target, Server):
        if target._metrics is None:
            target._observe(RequestMetrics(families, target))
    else:
        raise TypeError(f"{target!r} cannot be observed; give a macaque.Client or a macaque.Server.")


def exposition(registry: CollectorRegistry = REGISTRY) -> tuple[bytes, str]:
    """What `/metrics` answers: the body, and its content type."""
    return _generate(registry), CONTENT_TYPE_LATEST


def code_of(code: object) -> str:
    """The label for what a service gave to `abort`."""
    if isinstance(code, int) and 100 <= code < 600 or code in NAMED_CODES:
        return str(code)
    return "other"


class _Families:
    """The metrics of one registry, and whom they are about."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = Counter("macaque_calls", "Calls that have ended, by how.", ["code"], registry=registry)
        self.call_seconds = Histogram(
            "macaque_call_seconds", "Seconds from a call to its end.", registry=registry, buckets=BUCKETS
        )
        self.requests = Counter(
            "macaque_requests", "Requests that a service has worked on, by how that ended.", ["endpoint", "code"],
            registry=registry,
        )  # fmt: skip
        self.request_seconds = Histogram(
            "macaque_request_seconds", "Seconds that the service's function took.", ["endpoint"],
            registry=registry, buckets=BUCKETS,
        )  # fmt: skip
        self.requests_in_flight = Gauge(
            "macaque_requests_in_flight", "Requests that are worked on now.", ["endpoint"], registry=registry
        )
        self.redeliveries = Counter(
            "macaque_redeliveries", "Requests that somebody had been given before.", ["endpoint"], registry=registry
        )
        self.retries = Counter(
            "macaque_retries", "One-way messages that failed and are tried again.", ["endpoint"], registry=registry
        )
        self.expired = Counter(
            "macaque_expired", "Requests that came too late for their callers.", ["endpoint"], registry=registry
        )
        self.dead_letters = Counter(
            "macaque_dead_letters", "Requests that went to the dead letters.", ["endpoint"], registry=registry
        )
        self.reconnects = Counter(
            "macaque_reconnects", "Times that a lost connection came back.", ["role"], registry=registry
        )
        self.clients: weakref.WeakSet[Client] = weakref.WeakSet()
        self.servers: weakref.WeakSet[Server] = weakref.WeakSet()
        in_flight = Gauge("macaque_calls_in_flight", "Calls that have not ended.", registry=registry)
        in_flight.set_function(lambda: sum(len(client._pending) for client in list(self.clients)))
        connected = Gauge(
            "macaque_connected", "Clients and servers that have a connection now.", ["role"], registry=registry
        )
        connected.labels("client").set_function(lambda: sum(client.connected for client in list(self.clients)))
        connected.labels("server").set_function(lambda: sum(server.connected for server in list(self.servers)))


_families: weakref.WeakKeyDictionary[CollectorRegistry, _Families] = weakref.WeakKeyDictionary()


class CallMetrics:
    """What a client tells. Its methods are quick: they run under the connection's lock."""

    def __init__(self, families: _Families, client: Client) -> None:
        self._calls = families.calls
        self._seconds = families.call_seconds
        self._reconnects = families.reconnects.labels("client")
        self._met = client.connected
        self._results = self._calls.labels("ok")
        families.clients.add(client)

    def ended(self, call: Call, error: Exception | None) -> None:
        """A call is over."""
        self._seconds.observe(max(0.0, monotonic() - call.deadline + call.timeout))
        if error is None:
            self._results.inc()
        else:
            self._calls.labels(self._code(error)).inc()

    def _code(self, error: Exception) -> str:
        if isinstance(error, RemoteError):
            return code_of(error.code)
        return next((name for kind, name in _ERRORS if isinstance(error, kind)), "other")

    def connected(self) -> None:
        """There is a connection, for the first time or again."""
        if self._met:
            self._reconnects.inc()
        self._met = True


class RequestMetrics:
    """What a server tells."""

    def __init__(self, families: _Families, server: Server) -> None:
        self._families = families
        self._reconnects = families.reconnects.labels("server")
        self._met = server.connected
        families.servers.add(server)

    def connected(self) -> None:
        """There is a connection, for the first time or again."""
        if self._met:
            self._reconnects.inc()
        self._met = True

    def began(self, service: Service) -> float:
        """A request is worked on; give what this returns to `ended`."""
        self._families.requests_in_flight.labels(service.endpoint).inc()
        return monotonic()

    def ended(self, service: Service, began: float, code: object) -> None:
        """The work on a request is done; `code` is None for a result."""
        families, endpoint = self._families, service.endpoint
        families.requests_in_flight.labels(endpoint).dec()
        families.request_seconds.labels(endpoint).observe(monotonic() - began)
        families.requests.labels(endpoint, "ok" if code is None else code_of(code)).inc()

    def overran(self, service: Service, code: object) -> None:
        """The function is not done within its timeout: its caller was told so. It goes on."""
        self._families.requests.labels(service.endpoint, code_of(code)).inc()

    def returned(self, service: Service, began: float) -> None:
        """A function that overran has returned."""
        self._families.requests_in_flight.labels(service.endpoint).dec()
        self._families.request_seconds.labels(service.endpoint).observe(monotonic() - began)

    def redelivered(self, service: Service) -> None:
        self._families.redeliveries.labels(service.endpoint).inc()

    def retried(self, service: Service) -> None:
        self._families.retries.labels(service.endpoint).inc()

    def expired(self, service: Service) -> None:
        self._families.expired.labels(service.endpoint).inc()

    def buried(self, service: Service) -> None:
        self._families.dead_letters.labels(service.endpoint).inc()
