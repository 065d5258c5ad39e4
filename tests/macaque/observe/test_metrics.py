from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

import macaque
from macaque import metrics
from processes import Server, start_server, wait_until


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def app(server: Server) -> Iterator[macaque.Server]:
    app = macaque.Server(broker=server.url)
    app.service("echo")(lambda data: data)
    app.service("tasks/+")(lambda data: macaque.abort(data, "no"))
    with app:
        yield app


def test_a_client_counts_its_calls_by_how_they_ended(
    server: Server, app: macaque.Server, registry: CollectorRegistry
) -> None:
    with macaque.Client(broker=server.url, timeout=10.0) as client:
        metrics.observe(client, registry)
        metrics.observe(client, registry)
        client.call("echo", 1).result()
        for code in 404, "my own words", 7:
            with pytest.raises(macaque.RemoteError):
                client.call("tasks/1", code).result()
        with pytest.raises(macaque.NoResponders):
            client.call("nobody", 1).result()
        assert registry.get_sample_value("macaque_connected", {"role": "client"}) == 1

    def counted(code: str) -> float | None:
        return registry.get_sample_value("macaque_calls_total", {"code": code})

    assert [counted(code) for code in ("ok", "404", "other", "no_responders")] == [1, 1, 2, 1]
    assert registry.get_sample_value("macaque_call_seconds_count") == 5
    assert registry.get_sample_value("macaque_calls_in_flight") == 0
    assert registry.get_sample_value("macaque_connected", {"role": "client"}) == 0


def test_reconnects_are_counted(registry: CollectorRegistry) -> None:
    first = start_server()
    try:
        client = macaque.Client(broker=first.url)
        metrics.observe(client, registry)
        client.connect()
        first.kill()
    finally:
        first.close()
    second = start_server(port=first.port)
    try:
        wait_until(lambda: registry.get_sample_value("macaque_reconnects_total", {"role": "client"}) == 1)
    finally:
        client.close()
        second.close()


def test_the_exposition_is_text_for_prometheus(registry: CollectorRegistry, server: Server) -> None:
    with macaque.Client(broker=server.url) as client:
        metrics.observe(client, registry)
    body, content_type = metrics.exposition(registry)
    assert b"# TYPE macaque_calls_total counter" in body
    assert content_type.startswith("text/plain; version=")


def test_what_is_neither_client_nor_server_is_refused(registry: CollectorRegistry) -> None:
    with pytest.raises(TypeError, match="macaque.Client or a macaque.Server"):
        metrics.observe("client", registry)  # type: ignore[arg-type]


def test_a_server_counts_what_is_tried_again_and_given_up(server: Server, registry: CollectorRegistry) -> None:
    app = macaque.Server(broker=server.url)
    app.service("news/+", share_id="w", max_deliveries=2)(lambda data: data["missing"])
    metrics.observe(app, registry)
    names = ("retries", "redeliveries", "dead_letters")

    def counted() -> list[float | None]:
        return [registry.get_sample_value(f"macaque_{name}_total", {"endpoint": "news/+"}) for name in names]

    with app, macaque.Client(broker=server.url) as client:
        client.notify("news/today", {}).result()
        wait_until(lambda: counted() == [1, 1, 1])
        failed = {"endpoint": "news/+", "code": "500"}
        assert registry.get_sample_value("macaque_requests_total", failed) == 2
        assert registry.get_sample_value("macaque_requests_in_flight", {"endpoint": "news/+"}) == 0


def test_a_server_may_be_observed_while_it_serves(
    app: macaque.Server, server: Server, registry: CollectorRegistry
) -> None:
    metrics.observe(app, registry)
    with macaque.Client(broker=server.url) as client:
        client.call("echo", 1).result()
    assert registry.get_sample_value("macaque_requests_total", {"endpoint": "echo", "code": "ok"}) == 1
