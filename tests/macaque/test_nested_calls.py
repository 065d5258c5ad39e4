"""Calls that a service makes: their time, and the request that they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import macaque
from macaque.call import Call
from transports import Network


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()
    monkeypatch.setattr(macaque.Client, "_connect", network.connect)
    monkeypatch.setattr(macaque.Server, "_connect", network.connect)
    return network


@pytest.fixture
def client(network: Network) -> Iterator[macaque.Client]:
    with macaque.Client("amqp://memory", timeout=20.0) as client:
        yield client


def served(network: Network, client: macaque.Client, function: Any, timeout: float | None = None) -> Any:
    """Return the result of one call of a function that is a service."""
    app = macaque.Server("amqp://memory")
    app.service("outer")(function)
    app.start()
    try:
        return client.call("outer", None, timeout=timeout).result()
    finally:
        app.close()


@pytest.mark.parametrize("own, expected", [(2.0, 2.0), (None, 5.0), (60.0, 5.0)])
def test_a_call_of_a_service_has_at_most_what_is_left_of_its_request(
    network: Network, client: macaque.Client, own: float | None, expected: float
) -> None:
    made: list[Call] = []
    served(network, client, lambda data: made.append(client.call("inner", data, timeout=own)), timeout=5.0)
    assert made[0].timeout == pytest.approx(expected, abs=0.01)


def test_a_detached_call_has_its_own_time(network: Network, client: macaque.Client) -> None:
    made: list[Call] = []

    def outer(data: Any) -> None:
        with macaque.detached():
            made.append(client.call("inner", data, timeout=60.0))
        made.append(client.call("inner", data, timeout=60.0))

    served(network, client, outer, timeout=5.0)
    assert [call.timeout for call in made] == [60.0, pytest.approx(5.0, abs=0.01)]


def test_a_one_way_message_is_not_bound_to_the_time_of_the_request(network: Network, client: macaque.Client) -> None:
    made: list[Call] = []
    served(network, client, lambda data: made.append(client.notify("inner", data, timeout=60.0)), timeout=5.0)
    assert made[0].timeout == 60.0


def test_a_call_is_not_made_when_nothing_is_left(network: Network, client: macaque.Client) -> None:
    errors: list[macaque.Timeout] = []

    def outer(data: Any) -> None:
        network.time += 6.0
        try:
            client.call("inner", data)
        except macaque.Timeout as error:
            errors.append(error)

    served(network, client, outer, timeout=5.0)
    assert [str(error) for error in errors] == ["The time of the request to 'outer' is over, so 'inner' is not called."]
    assert (errors[0].topic, errors[0].timeout) == ("inner", 0.0)


def test_outside_of_a_service_detached_does_nothing(client: macaque.Client) -> None:
    with macaque.detached():
        assert client.call("inner", None, timeout=60.0).timeout == 60.0
    with pytest.raises(RuntimeError):
        _ = macaque.request.uuid


def test_calls_of_a_service_continue_the_trace_of_its_request(network: Network, client: macaque.Client) -> None:
    seen: list[tuple[str | None, str]] = []
    app = macaque.Server("amqp://memory")

    def note(data: Any) -> None:
        seen.append((macaque.request.trace, macaque.request.trace_id))

    def outer(data: Any) -> None:
        note(data)
        client.call("inner", data).result()
        with macaque.detached():
            client.notify("inner", data).result()
        list(client.map("inner", [1]))

    app.service("outer")(outer)
    app.service("inner")(note)
    app.start()
    call = client.call("outer", None)
    call.result()
    app.close()
    traces, ids = zip(*seen, strict=True)
    assert set(ids) == {call.uuid.replace("-", "")} and traces[0] is None
    assert len(seen) == 4 and len(set(traces[1:])) == 1 and traces[1][3:35] == ids[0]
