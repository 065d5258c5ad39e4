"""The messages about a request that was sent before."""

from __future__ import annotations

import pytest

from macaque.control import BadControl, Control, cancel_topic, decode_control, encode_cancel
from mqlight.amqp.message import Message, decode, encode


def test_a_cancel_message_names_the_request_and_is_of_use_only_for_a_while() -> None:
    topic = cancel_topic("todo/find")
    message = encode_cancel("u1", topic, 12345, 2.5)
    assert decode_control(message) == Control("u1", 12345)
    decoded = decode(message)
    assert decoded.body == '{"uuid":"u1","expires":12345}'
    assert (decoded.to, decoded.ttl) == ("macaque/cancel/todo/find", 2500)


@pytest.mark.parametrize("body", ["", "1", "{}", '{"uuid":1}', None, b"\xff"])
def test_anything_else_is_refused(body: object) -> None:
    with pytest.raises(BadControl, match="The message is no control message: "):
        decode_control(encode(Message(body=body)))


def test_bytes_that_are_no_message_are_refused() -> None:
    with pytest.raises(BadControl, match="The message is no control message: "):
        decode_control(b"\x00")
