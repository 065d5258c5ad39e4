"""Prometheus metrics of calls and services.

The rules of this file:

* It is optional: it needs `prometheus-client` (`pip install 'macaque-amqp[metrics]'`), so only programs that want
  metrics import it.
* No label comes from another program. `endpoint` is a topic that this process registered, never the topic of a call. A
  code is one of HTTP's numbers, one of the few names below, or "other".
* The metrics add up all clients, and all servers, of a process.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from functools import partial
from time import monotonic

from macaque.call import Call
from macaque.errors import ConnectionLost, NoResponders, RemoteError, Timeout
from macaque.observe.observer import Observable
from macaque.registry import Service

try:
    from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
    from prometheus_client import generate_latest as _generate
except ImportError as error:
    raise ImportError("macaque.metrics needs prometheus-client: pip install 'macaque-amqp[metrics]'") from error

__all__ = ["exposition", "observe"]

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
NAMED_CODES = frozenset({"exit", "undeliverable"})
_ERRORS = ((NoResponders, "no_responders"), (Timeout, "timeout"), (ConnectionLost, "connection_lost"))


def observe(target: Observable, registry: CollectorRegistry = REGISTRY) -> None:
    """Count the events of `target`, from now on. A second call changes nothing.

    For a client: `macaque_calls_total{code}`, `macaque_call_seconds`, `macaque_calls_in_flight`. For a server:
    `macaque_requests_total{endpoint, code}`, `macaque_request_seconds{endpoint}`,
    `macaque_requests_in_flight{endpoint}`, and `macaque_redeliveries_total`, `macaque_retries_total`,
    `macaque_expired_total` and `macaque_dead_letters_total`, each by endpoint. For both: `macaque_connected{role}` and
    `macaque_reconnects_total{role}`.

    Raises:
        TypeError: `target` is neither a client nor a server.
    """
    if not isinstance(target, Observable):
        raise TypeError(f"{target!r} cannot be observed; give a macaque.Client or a macaque.Server.")
    families = _families.get(registry)
    if families is None:
        families = _families[registry] = _Families(registry)
    target._observe(lambda role: Metrics(families, target, role))


def exposition(registry: CollectorRegistry = REGISTRY) -> tuple[bytes, str]:
    """Return the text for `/metrics`, and its content type."""
    return _generate(registry), CONTENT_TYPE_LATEST


def code_of(code: object) -> str:
    """Return the label for a code that a service gave to `abort`."""
    if isinstance(code, int) and 100 <= code < 600 or code in NAMED_CODES:
        return str(code)
    return "other"


class _Families:
    """The metrics of one registry, and the clients and servers that they describe."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = Counter("macaque_calls", "Calls that have ended, by outcome.", ["code"], registry=registry)
        self.call_seconds = Histogram(
            "macaque_call_seconds", "Seconds from a call to its end.", registry=registry, buckets=BUCKETS
        )
        self.requests = Counter(
            "macaque_requests", "Requests that a service has worked on, by outcome.", ["endpoint", "code"],
            registry=registry,
        )  # fmt: skip
        self.request_seconds = Histogram(
            "macaque_request_seconds", "Seconds that the function of the service took.", ["endpoint"],
            registry=registry, buckets=BUCKETS,
        )  # fmt: skip
        self.requests_in_flight = Gauge(
            "macaque_requests_in_flight", "Requests that are being worked on.", ["endpoint"], registry=registry
        )
        self.redeliveries = Counter(
            "macaque_redeliveries", "Requests that failed a delivery attempt before.", ["endpoint"], registry=registry
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
        self.targets: dict[str, weakref.WeakSet[Observable]] = {
            "client": weakref.WeakSet(), "server": weakref.WeakSet()
        }  # fmt: skip
        in_flight = Gauge("macaque_calls_in_flight", "Calls that have not ended.", registry=registry)
        in_flight.set_function(lambda: sum(client._in_flight for client in list(self.targets["client"])))
        connected = Gauge("macaque_connected", "Clients and servers with a connection.", ["role"], registry=registry)
        for role, targets in self.targets.items():
            connected.labels(role).set_function(partial(_connected, targets))


def _connected(targets: Iterable[Observable]) -> int:
    return sum(target.connected for target in list(targets))


_families: weakref.WeakKeyDictionary[CollectorRegistry, _Families] = weakref.WeakKeyDictionary()


class Metrics:
    """The observer of one client or one server."""

    def __init__(self, families: _Families, target: Observable, role: str) -> None:
        self._families = families
        self._reconnects = families.reconnects.labels(role)
        self._met = target.connected
        self._results = families.calls.labels("ok")
        families.targets[role].add(target)

    def connected(self) -> None:
        if self._met:
            self._reconnects.inc()
        self._met = True

    def call_ended(self, call: Call, error: Exception | None) -> None:
        self._families.call_seconds.observe(max(0.0, monotonic() - call.deadline + call.timeout))
        if error is None:
            self._results.inc()
        else:
            self._families.calls.labels(_code_of_error(error)).inc()

    def request_began(self, service: Service) -> None:
        self._families.requests_in_flight.labels(service.topic).inc()

    def request_ended(self, service: Service, seconds: float, code: object) -> None:
        self.request_returned(service, seconds)
        self._families.requests.labels(service.topic, "ok" if code is None else code_of(code)).inc()

    def request_overran(self, service: Service, code: object) -> None:
        self._families.requests.labels(service.topic, code_of(code)).inc()

    def request_returned(self, service: Service, seconds: float) -> None:
        self._families.requests_in_flight.labels(service.topic).dec()
        self._families.request_seconds.labels(service.topic).observe(seconds)

    def redelivered(self, service: Service) -> None:
        self._families.redeliveries.labels(service.topic).inc()

    def retried(self, service: Service) -> None:
        self._families.retries.labels(service.topic).inc()

    def expired(self, service: Service) -> None:
        self._families.expired.labels(service.topic).inc()

    def dead_lettered(self, service: Service) -> None:
        self._families.dead_letters.labels(service.topic).inc()


def _code_of_error(error: Exception) -> str:
    if isinstance(error, RemoteError):
        return code_of(error.code)
    return next((name for kind, name in _ERRORS if isinstance(error, kind)), "other")
