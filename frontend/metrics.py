"""The front end's own metrics for Prometheus. macaque's client adds its metrics."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

import macaque.metrics
from frontend.inbox import Inboxes

REGISTRY = CollectorRegistry()
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

requests = Counter("frontend_requests", "Requests by route and status.", ["route", "status"], registry=REGISTRY)
seconds = Histogram("frontend_request_seconds", "Time to a response.", ["route"], buckets=SECONDS, registry=REGISTRY)
submitted = Counter("frontend_words_submitted", "Words taken to be sent.", registry=REGISTRY)
words = Counter("frontend_words", "Words by what became of them.", ["outcome"], registry=REGISTRY)
expired = Counter("frontend_replies_expired", "Replies dropped because nobody fetched them in time.", registry=REGISTRY)


def observe(client: macaque.Client, inboxes: Inboxes, polls: Callable[[], int]) -> None:
    """Read the state of the client, the inboxes, the polls and the process at each request for the metrics."""
    for name, help_text, value in (
        ("ready", "Whether words sent now can be answered.", lambda: client.ready),
        ("words_in_flight", "Words that are out with workers.", lambda: inboxes.out),
        ("replies_buffered", "Replies that wait to be fetched.", lambda: inboxes.held),
        ("sessions", "Sessions with words that are out or wait to be fetched.", lambda: len(inboxes)),
        ("polls_held", "Polls that wait for a word.", polls),
    ):
        Gauge(f"frontend_{name}", help_text, registry=REGISTRY).set_function(value)
    macaque.metrics.observe(client, REGISTRY)
    ProcessCollector(registry=REGISTRY)
