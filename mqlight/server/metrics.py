"""The server's figures for Prometheus: how much waits where, and who is there.

They are read from the broker when somebody asks, so a message costs nothing more for them. A shared destination has a
label of its own (there are at most ``--max-destinations``); private ones are counted together: each client has one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from gevent.pywsgi import WSGIServer
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import make_wsgi_app
from prometheus_client.registry import Collector

from mqlight.server.broker import Destination
from mqlight.server.listener import Listener

PRIVATE = "private"
"""The label of all private destinations together."""


class BrokerCollector(Collector):
    """Its :meth:`collect` is called for each scrape."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def collect(self) -> Iterator[Metric]:
        groups: dict[str, list[Destination]] = defaultdict(list)
        for destination in self._listener.broker.destinations.values():
            label = PRIVATE if destination.name.share is None else str(destination.name)
            groups[label].append(destination)
        for name, about, figure in (
            ("mqlight_queue_messages", "Messages that wait", lambda each: each.count),
            ("mqlight_queue_bytes", "Bytes of the messages that wait", lambda each: each.bytes),
            ("mqlight_unsettled_messages", "Messages given out and not settled", _unsettled),
            ("mqlight_subscribers", "Subscribers that are there", lambda each: len(each.consumers)),
        ):
            family = GaugeMetricFamily(name, f"{about}, by destination.", labels=["destination"])
            for label, destinations in groups.items():
                family.add_metric([label], sum(map(figure, destinations)))
            yield family
        about = "Messages at most once that had no room, by destination."
        dropped = CounterMetricFamily("mqlight_dropped_messages", about, labels=["destination"])
        for label, destinations in groups.items():
            dropped.add_metric([label], sum(each.dropped for each in destinations))
        yield dropped
        about = "Messages whose time to live ended while they waited."
        yield CounterMetricFamily("mqlight_expired_messages", about, self._listener.broker.expired)
        yield GaugeMetricFamily("mqlight_connections", "Clients that are connected.", self._listener.connections)


def _unsettled(destination: Destination) -> int:
    return sum(consumer.holds for consumer in destination.consumers)


def metrics_server(listener: Listener, port: int) -> WSGIServer:
    """What serves ``/metrics`` over HTTP to this machine, once it is started; that raises OSError for a port in use."""
    registry = CollectorRegistry()
    registry.register(BrokerCollector(listener))
    ProcessCollector(registry=registry)
    figures: Any = make_wsgi_app(registry)

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            answer: Iterable[bytes] = figures(environ, start_response)
            return answer
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"the figures are at /metrics\n"]

    return WSGIServer(("127.0.0.1", port), application, log=None)
