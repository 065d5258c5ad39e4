"""Prometheus metrics of a gateway, beside those of its client (`macaque.metrics`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["counter"]


def counter(streams: Callable[[], int], registry: Any = None) -> Callable[[str], object]:
    """Return the function that counts a request by its status. Without `prometheus-client` it counts nothing.

    The metrics are `macaque_gateway_requests_total{status}` and `macaque_gateway_streams`.

    Args:
        streams: returns the number of streams that are open.
        registry: a `CollectorRegistry`; None means the one of the process.
    """
    try:
        from prometheus_client import REGISTRY, Counter, Gauge
    except ImportError:
        return lambda status: None
    registry = registry or REGISTRY
    requests = Counter("macaque_gateway_requests", "Requests, by the status of HTTP.", ["status"], registry=registry)
    Gauge("macaque_gateway_streams", "Streams that are open.", registry=registry).set_function(streams)
    return lambda status: requests.labels(status).inc()
