"""What Prometheus is told of the front end: requests as they are answered, the state of things when it asks, and what
macaque's client has to tell."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import macaque
import macaque.metrics
from frontend.offload import Offload

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class State(Collector):
    """Reads the offload when it is asked, so that nothing has to be kept in step."""

    def __init__(self, offload: Offload) -> None:
        self._offload = offload

    def collect(self) -> Iterable[Metric]:
        offload, totals = self._offload, self._offload.totals
        for name, help_text, value in (
            ("ready", "Whether words sent now can be answered.", offload.ready),
            ("words_in_flight", "Words that are out with workers.", offload.out),
            ("replies_buffered", "Replies that wait to be fetched.", offload.held),
            ("sessions", "Sessions with words that are out or wait to be fetched.", offload.sessions),
            ("polls_held", "Polls that wait for a word.", offload.polls),
        ):
            yield GaugeMetricFamily(f"frontend_{name}", help_text, value=float(value))
        yield CounterMetricFamily("frontend_words_submitted", "Words taken to be sent.", value=totals.submitted)
        replies = CounterMetricFamily("frontend_words", "Words by what became of them.", labels=["outcome"])
        replies.add_metric(["answered"], totals.answered)
        replies.add_metric(["failed"], totals.failed)
        yield replies
        expired = "Replies dropped because nobody fetched them in time."
        yield CounterMetricFamily("frontend_replies_expired", expired, value=totals.expired)


class Metrics:
    """The front end's figures, in a registry of their own."""

    def __init__(self, offload: Offload, client: macaque.Client) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "frontend_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "frontend_request_seconds",
            "Time from a request to its response; a held poll is as long as it was held.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.registry.register(State(offload))
        macaque.metrics.observe(client, self.registry)
        ProcessCollector(registry=self.registry)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request that the application answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def refused(self, status: int) -> None:
        """Count a request that never reached the application: what came was too large, too slow or no HTTP."""
        self._requests.labels("none", str(status)).inc()

    def text(self) -> bytes:
        """Return all of it in Prometheus's text format."""
        return generate_latest(self.registry)
