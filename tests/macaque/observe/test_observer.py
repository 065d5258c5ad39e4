from __future__ import annotations

import inspect

import pytest

import macaque
from macaque.observe.metrics import Metrics
from macaque.observe.observer import Observable, Observer
from transports import Network


def test_clients_and_servers_can_be_observed_and_nothing_else() -> None:
    assert isinstance(macaque.Client("amqp://127.0.0.1"), Observable)
    assert isinstance(macaque.Server("amqp://127.0.0.1"), Observable)
    assert not isinstance("a client", Observable)


def test_prometheus_hears_of_everything() -> None:
    told = [name for name, _ in inspect.getmembers(Observer, inspect.isfunction) if not name.startswith("_")]
    assert len(told) == 10
    for name in told:
        assert list(inspect.signature(getattr(Metrics, name)).parameters) == list(
            inspect.signature(getattr(Observer, name)).parameters
        )


class Listening:
    """An observer that remembers the names of its methods that were called."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __getattr__(self, name: str) -> object:
        return lambda *_: self.heard.append(name)


def test_an_observer_is_told_of_requests_and_calls_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network()
    monkeypatch.setattr(macaque.Client, "_connect", staticmethod(network.connect))
    monkeypatch.setattr(macaque.Server, "_connect", staticmethod(network.connect))
    app, client, listening = macaque.Server("amqp://memory"), macaque.Client("amqp://memory"), Listening()
    app._observe(lambda role: listening)
    client._observe(lambda role: listening)

    @app.service("news", max_deliveries=2)
    def news(data: object) -> object:
        return data if data else 1 / 0

    app.start()
    with client:
        assert client.call("news", 1).result() == 1
        network.run()
        assert client.notify("news", 0).result() is None
        network.pass_time(2.0)
    assert listening.heard == [
        "connected", "connected", "request_began", "request_ended", "call_ended",
        "call_ended", "request_began", "request_ended", "retried",
        "redelivered", "request_began", "request_ended", "dead_lettered",
    ]  # fmt: skip
    app.close()
