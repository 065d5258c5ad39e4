"""Messages that get their address, and their durability, when it is known where they go."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqlight.amqp.message import Message, decode, encode
from mqlight.dialects.readdress import count_down, readdress

MESSAGES = [
    Message(body="text", to="t"),
    Message(body="text", to="t", ttl=5000),
    Message(body="text", to="t", reply_to="r", message_id="1", subject="s", content_type="text/plain"),
    Message(body=b"bytes", to="t" * 300, reply_to="r" * 300, correlation_id=7),
    Message(body=None),
    Message(body={"a": [1]}, to="t", user_id=b"u", group_id="g", properties={"p": 1}, annotations={"x-opt-a": 1}),
    Message(body="text", to="t", priority=7, durable=True, delivery_count=2),
    Message(body="text", message_id="only"),
    Message(body="text", reply_to="r"),
]


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("message", MESSAGES)
def test_only_the_addresses_and_the_durability_change(message: Message, durable: bool) -> None:
    stamped = decode(readdress(encode(message), "/to/somewhere", lambda topic: "/reply/" + topic, durable=durable))
    for name in Message.__struct_fields__:
        expected: Any = getattr(message, name)
        if name == "to":
            expected = "/to/somewhere"
        elif name == "reply_to" and message.reply_to is not None:
            expected = "/reply/" + message.reply_to
        elif name == "durable":
            expected = durable or message.durable
        assert getattr(stamped, name) == expected, name


def test_a_message_of_another_encoding_is_stamped_as_well() -> None:
    wide = b"\x00\x80\x00\x00\x00\x00\x00\x00\x00\x73\xd0\x00\x00\x00\x09\x00\x00\x00\x03@@\xa1\x01t\x00Sw\xa1\x02hi"
    assert decode(readdress(wide, "u", str, durable=False)) == Message(body="hi", to="u")


@given(st.text(max_size=400), st.text(max_size=400), st.none() | st.text(max_size=20), st.booleans())
def test_any_address_fits(to: str, reply_to: str, correlation: str | None, durable: bool) -> None:
    message = encode(Message(body="b", to="t", reply_to="r", correlation_id=correlation))
    stamped = decode(readdress(message, to, lambda _: reply_to, durable=durable))
    assert (stamped.to, stamped.reply_to, stamped.correlation_id, stamped.body) == (to, reply_to, correlation, "b")


def test_a_message_that_waited_has_less_time_to_live_and_none_is_left_at_its_end() -> None:
    message = encode(Message(body="text", to="t", ttl=5000))
    left = count_down(message, 1500)
    assert left is not None and decode(left) == Message(body="text", to="t", ttl=3500)
    assert count_down(message, 0) == message
    assert count_down(message, 4999) is not None
    assert count_down(message, 5000) is None


@pytest.mark.parametrize("more", [{}, {"ttl": 0}, {"durable": True}])
def test_a_message_without_a_time_to_live_waits_as_long_as_it_takes(more: Any) -> None:
    message = encode(Message(body="text", to="t", **more))
    assert count_down(message, 10**9) == message
