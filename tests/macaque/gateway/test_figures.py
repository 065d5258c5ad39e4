from __future__ import annotations

import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from macaque.gateway.figures import counter


def test_requests_and_streams_are_counted() -> None:
    registry = CollectorRegistry()
    count = counter(lambda: 7, registry)
    for status in ("200", "200", "429"):
        count(status)
    lines = generate_latest(registry).decode().splitlines()
    assert 'macaque_gateway_requests_total{status="200"} 2.0' in lines
    assert 'macaque_gateway_requests_total{status="429"} 1.0' in lines
    assert "macaque_gateway_streams 7.0" in lines


def test_without_prometheus_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    counter(lambda: 0)("200")
