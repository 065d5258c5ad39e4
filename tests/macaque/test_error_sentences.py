"""Each error that a caller can get, read as its user reads it (docs/errors.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import macaque
from macaque.call import Call
from mqlight.amqp.message import Message, decode, encode
from mqlight.amqp.types import Condition, Outcome
from mqlight.connection import State
from mqlight.senders import EXPIRED
from transports import Network


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()
    monkeypatch.setattr(macaque.Client, "_connect", staticmethod(network.connect))
    monkeypatch.setattr(macaque.Server, "_connect", staticmethod(network.connect))
    return network


@pytest.fixture
def client(network: Network) -> Iterator[macaque.Client]:
    with macaque.Client("amqp://memory", cid="caller") as client:
        yield client


def error_of(call: Call) -> tuple[type, str]:
    error = call.exception()
    return type(error), str(error)


def test_no_service_listens(client: macaque.Client) -> None:
    said = "No service listens on the topic 'work': start it, or check the spelling."
    assert error_of(client.call("work", 1)) == (macaque.NoResponders, said)
    assert error_of(client.notify("work", 1)) == (macaque.NoResponders, said)


@pytest.mark.parametrize(
    "condition, code, retryable",
    [
        ("amqp:resource-limit-exceeded", 503, True),
        ("amqp:link:message-size-exceeded", 413, False),
        ("amqp:not-allowed", 403, False),
        ("amqp:unauthorized-access", 403, False),
        ("amqp:decode-error", 502, False),
    ],
)
def test_the_broker_refuses_the_request(
    network: Network, client: macaque.Client, condition: str, code: int, retryable: bool
) -> None:
    network.outcome = Outcome.REJECTED, Condition(condition, "because of this")
    call = client.call("work", 1)
    said = f"{condition}: The broker did not accept the request: because of this (code {code})"
    assert error_of(call) == (macaque.RemoteError, said)
    error = call.exception()
    assert isinstance(error, macaque.RemoteError) and (error.code, error.retryable) == (code, retryable)


def test_the_broker_gives_the_request_back(network: Network, client: macaque.Client) -> None:
    network.outcome = Outcome.MODIFIED, None
    said = "amqp:modified: The broker did not accept the request: it gave the request back (code 503)"
    assert error_of(client.call("work", 1)) == (macaque.RemoteError, said)


def without_a_reply(network: Network) -> None:
    network.outcome = Outcome.ACCEPTED, None


def without_an_outcome(network: Network) -> None:
    network.send = lambda topic, message, on_outcome: None  # type: ignore[method-assign]


def without_time(network: Network) -> None:
    network.outcome = Outcome.RELEASED, Condition(EXPIRED, "")


def without_a_connection(network: Network) -> None:
    without_an_outcome(network)
    network.transports[0].state = State.RETRYING
    network.transports[0].error = ConnectionRefusedError("refused")  # type: ignore[assignment]


@pytest.mark.parametrize(
    "arrange, kind, said",
    [
        (without_a_reply, macaque.Timeout, "No reply from 'work' within 5 s."),
        (without_an_outcome, macaque.Timeout, "The broker did not take the request to 'work' within 5 s."),
        (without_time, macaque.Timeout, "The message to 'work' could not be sent before its time was over."),
        (without_a_connection, macaque.ConnectionLost, "No connection to the broker: refused"),
    ],
)
def test_no_reply_comes_in_time(
    network: Network, client: macaque.Client, arrange: Callable[[Network], None], kind: type, said: str
) -> None:
    client.start()
    arrange(network)
    call = client.call("work", 1, timeout=5.0)
    network.pass_time(6.0)
    assert error_of(call) == (kind, said)


def test_the_connection_is_given_up(network: Network, client: macaque.Client) -> None:
    network.outcome = Outcome.RELEASED, Condition("mqlight:stopped", "")
    said = "No connection to the broker: it does not answer"
    assert error_of(client.call("work", 1)) == (macaque.ConnectionLost, said)


def test_the_client_is_closed_before_and_after_the_call(network: Network, client: macaque.Client) -> None:
    without_a_reply(network)
    call = client.call("work", 1)
    client.close()
    assert error_of(call) == (macaque.ConnectionLost, "The client was closed before 'work' answered.")
    with pytest.raises(macaque.ConnectionLost) as caught:
        client.call("work", 1)
    assert str(caught.value) == "The client caller was closed: make a new one to go on calling."


def test_the_call_is_cancelled_or_belongs_to_the_parent_of_a_fork(network: Network, client: macaque.Client) -> None:
    without_a_reply(network)
    cancelled, forked = client.call("work", 1), client.call("work", 1)
    cancelled.cancel()
    client._calls.abandon()
    assert error_of(cancelled) == (macaque.Cancelled, "The call of 'work' was cancelled.")
    assert error_of(forked) == (macaque.ConnectionLost, "The call belongs to the parent of this process.")


def abort(data: Any) -> None:
    macaque.abort(404, "no such task")


def typed(number: int) -> None: ...


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda data: {}[data], "KeyError: 'tea' (code 500)"),
        (lambda data: object, "TypeError: The result <class 'object'> cannot be sent as JSON: "),
        (abort, "no such task (code 404)"),
        (typed, "The data does not fit the parameter 'number' of work: Expected `int`, got `str` at number (code 400)"),
        (lambda data: exit(3), "SystemExit: the service ended its process: SystemExit(3) (code exit)"),
    ],
)
def test_the_service_replies_with_an_error(
    network: Network, client: macaque.Client, function: Callable[[Any], Any], said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    app = macaque.Server("amqp://memory")
    monkeypatch.setattr(app, "_exit", lambda wanted: None)
    app.service("work")(function)
    app.start()
    kind, text = error_of(client.call("work", "tea"))
    assert kind is macaque.RemoteError and text.startswith(said)
    app.close()


def test_a_request_that_cannot_be_decoded_or_was_tried_too_often(network: Network) -> None:
    replies: list[bytes] = []
    listener = network.connect(None, "me")
    listener.subscribe("response/me", credit=9, on_delivery=lambda delivery: replies.append(delivery.message))
    app = macaque.Server("amqp://memory")
    app.service("work", max_deliveries=2)(lambda data: data)
    app.start()
    body = '{"uuid": "u-1", "data": %s, "replyTo": "response/me"}'
    network.send("work", encode(Message(body=body % "1e999")), None)
    network.send("work", encode(Message(body=body % "1", delivery_count=2)), None)
    network.run()
    assert [decode(reply).body for reply in replies] == [
        '{"uuid":"u-1","error":{"code":400,"message":"The data of the request cannot be decoded: Number out of range.",'
        '"type":"BadRequest"}}',
        '{"uuid":"u-1","error":{"code":"undeliverable","message":"the request failed 2 delivery attempts at work; it '
        'is now in macaque/dead/work","details":{"count":2}}}',
    ]
    app.close()


def test_the_function_takes_too_long(network: Network, client: macaque.Client) -> None:
    app = macaque.Server("amqp://memory")
    app.service("work", timeout=5)(lambda data: network.pass_time(6.0))
    app.start()
    said = "Timeout: work was not done within 5 s (code 504)"
    assert error_of(client.call("work", 1)) == (macaque.RemoteError, said)
    app.close()
