"""Clients and servers over a transport in memory: no socket, no thread, and time is set by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

import macaque
from macaque.registry import Service
from macaque.transport import Transport
from mqlight.addresses import Addresses as Addresses
from mqlight.amqp.message import Message, encode
from mqlight.amqp.types import Condition, Outcome, Peer
from mqlight.connection import Connection
from mqlight.dialects.base import Dialect
from transports import Memory, Network


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()
    monkeypatch.setattr(macaque.Client, "_connect", staticmethod(network.connect))
    monkeypatch.setattr(macaque.Server, "_connect", staticmethod(network.connect))
    return network


@pytest.fixture
def app(network: Network) -> Iterator[macaque.Server]:
    app = macaque.Server("amqp://memory")
    app.start()
    yield app
    app.close()


@pytest.fixture
def client(network: Network) -> Iterator[macaque.Client]:
    with macaque.Client("amqp://memory", cid="caller") as client:
        yield client


def settled(network: Network, topic: str) -> list[Outcome | None]:
    (subscription,) = (each for each in network.subscriptions if each.pattern == topic)
    return subscription.settled


def test_a_connection_of_mqlight_is_a_transport() -> None:
    transport: Transport = Connection(Addresses.of("amqp://127.0.0.1"), "macaque_1")
    assert transport.now() > 0


def test_a_call_is_answered_and_its_request_settled_after_the_reply(
    network: Network, app: macaque.Server, client: macaque.Client
) -> None:
    app.service("upper")(str.upper)
    call = client.call("upper", "word")
    assert call.result() == "WORD"
    network.run()
    assert settled(network, "upper") == [Outcome.ACCEPTED]


def test_a_call_of_nobody_ends_at_once(network: Network, client: macaque.Client) -> None:
    with pytest.raises(macaque.NoResponders):
        client.call("nobody", 1).result()


def test_a_call_ends_at_its_deadline_by_the_clock_of_the_transport(
    network: Network, app: macaque.Server, client: macaque.Client
) -> None:
    app.service("work")(lambda data: data)
    network.outcome = (Outcome.ACCEPTED, None)
    network.subscriptions[:] = [each for each in network.subscriptions if each.pattern != "work"]
    told: list[Exception] = []
    call = client.call("work", 1, on_error=told.append, timeout=5.0)
    network.pass_time(4.9)
    assert not call.done()
    network.pass_time(0.2)
    assert call.done() and str(call.exception()) == "No reply from 'work' within 5 s."
    assert told == [call.exception()]


def test_a_gathering_has_a_reply_of_each_service_and_ends_by_its_deadline(
    network: Network, app: macaque.Server, client: macaque.Client
) -> None:
    app.service("word", "one")(str.upper)
    app.service("word", "two")(str.title)
    told: list[str] = []
    call = client.gather("word", "fish", told.append, timeout=2.0)
    network.run()
    assert sorted(told) == ["FISH", "Fish"] and not call.done()
    network.pass_time(2.1)
    assert call.result() == told


def test_a_one_way_message_that_fails_is_tried_again_after_longer_and_longer_pauses(
    network: Network, app: macaque.Server, client: macaque.Client
) -> None:
    runs: list[float] = []

    @app.service("news")
    def news(data: Any) -> None:
        runs.append(network.time)
        if len(runs) < 4:
            raise ValueError(data)

    assert client.notify("news", 1).result() is None
    network.pass_time(20.0)
    pauses = [after - before for before, after in zip(runs, runs[1:], strict=False)]
    assert len(runs) == 4 and 0.25 <= pauses[0] <= 0.75 <= pauses[2] <= 2.25
    assert settled(network, "news") == [Outcome.MODIFIED] * 3 + [Outcome.ACCEPTED]


def test_a_reply_that_a_full_queue_refuses_is_sent_again(
    network: Network, app: macaque.Server, client: macaque.Client
) -> None:
    full = Condition("amqp:resource-limit-exceeded", "the queue is full")

    @app.service("work")
    def work(data: Any) -> Any:
        network.outcome = (Outcome.REJECTED, full)  # the reply's
        return data

    call = client.call("work", 1, timeout=10.0)
    network.run()
    assert settled(network, "work") == []
    network.outcome = None
    network.pass_time(2.0)
    assert call.result() == 1 and settled(network, "work") == [Outcome.ACCEPTED]


def test_an_error_of_the_service_is_the_error_of_its_caller(
    network: Network, app: macaque.Server, client: macaque.Client
) -> None:
    app.service("fails")(lambda data: macaque.abort(404, "no such task"))
    error = client.call("fails", 1).exception()
    assert isinstance(error, macaque.RemoteError) and (error.code, error.message) == (404, "no such task")


@pytest.mark.parametrize("reply_to", [', "replyTo": "response/me"', ""])
def test_data_that_cannot_be_decoded_is_rejected_and_its_caller_told(
    network: Network, app: macaque.Server, reply_to: str
) -> None:
    called: list[Any] = []
    app.service("work")(called.append)
    replies = network.connect(None, "me").subscribe("response/me", credit=9, on_delivery=lambda delivery: None)
    network.send("work", encode(Message(body=f'{{"uuid": "u-1", "data": 1e999{reply_to}}}')), None)
    network.run()
    assert settled(network, "work") == [Outcome.REJECTED] and called == []
    assert replies.held == bool(reply_to)  # type: ignore[attr-defined]


def test_a_call_that_comes_twice_is_run_once(network: Network, app: macaque.Server, client: macaque.Client) -> None:
    runs: list[int] = []
    app.service("pay", idempotent_for=60)(lambda data: runs.append(data) or len(runs))
    assert [client.call("pay", number, uuid="pay-1").result() for number in range(3)] == [1, 1, 1]
    network.pass_time(61.0)
    assert client.call("pay", 9, uuid="pay-1").result() == 2


def test_a_client_that_is_closed_ends_its_calls(network: Network, client: macaque.Client) -> None:
    network.outcome = (Outcome.ACCEPTED, None)
    call = client.call("work", 1)
    client.close()
    with pytest.raises(macaque.ConnectionLost, match="closed before 'work' answered"):
        call.result()


def test_a_server_is_ready_when_its_services_are_confirmed(network: Network, app: macaque.Server) -> None:
    app.service("work")(lambda data: data)
    network.run()
    app.connect(0.0)
    assert app.unready() == {} and [type(service) for service in app._registry] == [Service]


def test_a_request_that_waited_for_a_slow_function_says_nothing_about_clocks(
    network: Network,
    app: macaque.Server,
    client: macaque.Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    began = network.time
    monkeypatch.setattr(Memory, "wall", lambda self: time.time() + network.time - began)
    monkeypatch.setattr(Memory, "dialect", Dialect(Peer("broker", None, {}, (), ())))

    @app.service("slow")
    def slow(number: int) -> int:
        network.time += 5
        return number

    calls = [client.call("slow", number) for number in range(3)]
    assert [call.result() for call in calls] == [0, 1, 2]
    assert "the clock of" not in caplog.text
