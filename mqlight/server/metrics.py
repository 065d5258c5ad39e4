"""The server's metrics for Prometheus: waiting messages, destinations and clients.

Each scrape reads them from the broker, so they add no cost per message. Each shared destination has a label of its own
(at most ``--max-destinations``). All private ones share one label, because each client has its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from gevent.pywsgi import WSGIServer
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest, make_wsgi_app
from prometheus_client.registry import Collector

from mqlight.server.destination import Destination
from mqlight.server.listener import Listener

PRIVATE = "private"
"""The label of all private destinations together."""


class BrokerCollector(Collector):
    """The collector of the broker's metrics. Each scrape calls :meth:`collect`."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def collect(self) -> Iterator[Metric]:
        groups: dict[str, list[Destination]] = defaultdict(list)
        for destination in self._listener.broker.destinations.values():
            label = PRIVATE if destination.name.share is None else str(destination.name)
            groups[label].append(destination)
        for name, about, figure in (
            ("mqlight_queue_messages", "Waiting messages", lambda each: each.count),
            ("mqlight_queue_bytes", "Bytes of the waiting messages", lambda each: each.bytes),
            ("mqlight_unsettled_messages", "Messages sent to subscribers and not settled", _unsettled),
            ("mqlight_subscribers", "Connected subscribers", lambda each: len(each.consumers)),
        ):
            family = GaugeMetricFamily(name, f"{about}, by destination.", labels=["destination"])
            for label, destinations in groups.items():
                family.add_metric([label], sum(map(figure, destinations)))
            yield family
        about = "Messages with QoS 0 that were dropped because a destination was full, by destination."
        dropped = CounterMetricFamily("mqlight_dropped_messages", about, labels=["destination"])
        for label, destinations in groups.items():
            dropped.add_metric([label], sum(each.dropped for each in destinations))
        yield dropped
        about = "Messages whose time to live ended while they waited."
        yield CounterMetricFamily("mqlight_expired_messages", about, self._listener.broker.expired)
        yield GaugeMetricFamily("mqlight_connections", "Connected clients.", self._listener.connections)


def _unsettled(destination: Destination) -> int:
    return sum(consumer.holds for consumer in destination.consumers)


def _registry(listener: Listener) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(BrokerCollector(listener))
    ProcessCollector(registry=registry)
    return registry


def exposition(listener: Listener) -> tuple[str, bytes]:
    """Return the metrics in Prometheus's text format, and the content type."""
    return CONTENT_TYPE_LATEST, generate_latest(_registry(listener))


def metrics_server(listener: Listener, port: int) -> WSGIServer:
    """Return an HTTP server for ``/metrics`` on the loopback address. Starting it raises OSError for a port in use."""
    figures: Any = make_wsgi_app(_registry(listener))

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            answer: Iterable[bytes] = figures(environ, start_response)
            return answer
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"the figures are at /metrics\n"]

    return WSGIServer(("127.0.0.1", port), application, log=None)
