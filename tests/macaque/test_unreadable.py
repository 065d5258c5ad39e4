"""Replies that cannot be decoded."""

from __future__ import annotations

import msgspec
import pytest

import macaque
from mqlight.amqp.message import Message, encode
from mqlight.amqp.types import Outcome
from transports import Network


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Message(body="[" * 2000 + "]" * 2000), "unreadable"),
        (Message(body="no JSON"), "unreadable"),
        (Message(body=b"\xff"), "unreadable"),
        (Message(body="1", properties={"error-code": 400, "error-message": "The data is nested too deeply."}), 400),
        (Message(body="1", properties={"error-code": 1.5, "error-message": None}), "unreadable"),
    ],
)
def test_a_reply_that_cannot_be_read_ends_its_call(
    monkeypatch: pytest.MonkeyPatch, reply: Message, code: int | str
) -> None:
    network = Network()
    network.outcome = Outcome.ACCEPTED, None
    monkeypatch.setattr(macaque.Client, "_connect", staticmethod(network.connect))
    client = macaque.Client("amqp://memory", cid="caller")
    call, other = client.call("upper", "word"), client.call("upper", "word")
    network.send("response/caller", encode(msgspec.structs.replace(reply, correlation_id=call.uuid)), None)
    network.send("response/caller", encode(msgspec.structs.replace(reply, correlation_id=7)), None)
    network.run()
    with pytest.raises(macaque.RemoteError) as raised:
        call.result(timeout=0)
    assert raised.value.code == code
    assert not other.done()
    (subscription,) = (each for each in network.subscriptions if each.pattern == "response/caller")
    assert subscription.settled == [Outcome.REJECTED] * 2
    client.close()
