"""The usual form of a message: what is compiled does, byte for byte, what the general way does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqlight.amqp import fast_messages
from mqlight.amqp.fast_messages import address_and_rest, is_first_delivery, text_body, text_message, with_trace
from mqlight.amqp.message import Message, MessageError, decode, delivery_count, encode, header
from mqlight.server.publication import Publication, _rewrite, read_publication

TEXTS = st.text(st.characters(codec="utf-8"), max_size=300)
SOME = st.none() | TEXTS
TTLS = st.integers(0, 2**32 - 1)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@given(body=TEXTS, to=SOME, message_id=SOME, reply_to=SOME, correlation_id=SOME, ttl=st.none() | TTLS)
def test_a_text_message_is_the_one_that_encode_makes(
    body: str, to: str | None, message_id: str | None, reply_to: str | None, correlation_id: str | None, ttl: int | None
) -> None:
    message = Message(
        body=body,
        to=to,
        message_id=message_id,
        reply_to=reply_to,
        correlation_id=correlation_id,
        content_type="text/plain",
        ttl=ttl,
    )
    made = text_message(body.encode(), to, message_id, reply_to, correlation_id, -1 if ttl is None else ttl)
    assert made == encode(message)
    assert decode(made) == message
    assert text_body(made) in (None, body.encode())


# As RabbitMQ gives out a message: a full header, and annotations of what it was sent to.
FROM_RABBITMQ = (
    "005370c0{header}"
    "005372c133" "04" "a30a782d65786368616e6765" "a109616d712e746f706963"
    "a30d782d726f7574696e672d6b6579" "a10a62656e63682e75707065"
    "005373c00c07" "40404040" "4040" "a303742f70"
    "005377a103" "616263"
)  # fmt: skip


@pytest.mark.parametrize(
    ("header", "count"),
    [
        ("0705415004404143", 0),
        ("0705425009404243", 0),
        ("06054140404143", 0),
        ("0b0541500470000075304143", 0),
        ("080541500440415243", 0x43),
        ("0c054150047000007530415207", 7),
    ],
)
def test_the_text_is_found_in_what_rabbitmq_makes_of_a_message(header: str, count: int) -> None:
    data = bytes.fromhex(FROM_RABBITMQ.format(header=header))
    assert decode(data).body == "abc"
    assert decode(data).delivery_count == delivery_count(data) == count
    assert is_first_delivery(data) is not bool(count)
    assert text_body(data) == (None if count else b"abc")


@given(body=TEXTS, reply_to=SOME, ttl=TTLS)
def test_a_trace_is_the_application_property_that_encode_makes(body: str, reply_to: str | None, ttl: int) -> None:
    message = Message(
        body=body, to="t", message_id="m", reply_to=reply_to, content_type="text/plain", ttl=ttl,
        properties={"traceparent": PARENT},
    )  # fmt: skip
    made = with_trace(text_message(body.encode(), "t", "m", reply_to, None, ttl), body.encode(), PARENT)
    assert made == encode(message) and decode(made) == message


def test_the_short_way_is_taken_with_a_trace() -> None:
    made = with_trace(text_message(b"abc", "t", "m", "r", None, 5), b"abc", PARENT)
    assert text_body(made) == b"abc"
    usual = address_and_rest(made)
    assert usual is not None and usual[:2] == (b"t", 5) and made.endswith(usual[2])
    spoilt = made.replace(b"00-0af", b"\xff0-0a")
    assert text_body(spoilt) is None and address_and_rest(spoilt) is None


@pytest.mark.parametrize("size", [0, 1, 254, 255, 256, 257, 70_000])
def test_lengths_at_the_borders_of_their_encodings(size: int) -> None:
    text = "x" * size
    assert text_message(text.encode(), text, text, None, text) == encode(
        Message(body=text, to=text, message_id=text, correlation_id=text, content_type="text/plain")
    )


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(OverflowError):
        text_message(b"", "to", None, None, None, 2**32)
    with pytest.raises(UnicodeEncodeError):
        text_message(b"", "\ud800", None, None, None)


BODIES = TEXTS | st.binary(max_size=300)
MESSAGES = st.builds(
    Message,
    body=BODIES | st.none() | st.integers(-5, 5),
    to=SOME,
    message_id=SOME | st.binary(max_size=9) | st.uuids(),
    user_id=st.none() | st.binary(max_size=9),
    subject=SOME,
    content_type=st.sampled_from([None, "text/plain"]),
    ttl=st.none() | TTLS,
    durable=st.booleans(),
    priority=st.integers(0, 255),
    delivery_count=st.sampled_from([0, 1, 0x43, 300]),
    annotations=st.none() | st.dictionaries(st.text("xyz-", max_size=5), TEXTS | st.integers(0, 9), max_size=3),
    properties=st.none() | st.dictionaries(TEXTS, TEXTS, max_size=2) | st.just({"traceparent": PARENT}),
)


def outcome(data: bytes, topic: str | None, way: object) -> Publication | str:
    try:
        return way(data, topic)  # type: ignore[operator]
    except MessageError as error:
        return f"refused: {type(error).__name__}"


@given(message=MESSAGES)
def test_text_and_delivery_count_are_what_the_long_way_reads(message: Message) -> None:
    data = encode(message)
    text = text_body(data)
    assert text is None or text.decode() == message.body
    assert delivery_count(data) == message.delivery_count


@given(message=MESSAGES, topic=st.sampled_from([None, "a/topic"]))
def test_a_message_is_admitted_alike_on_the_short_and_the_long_way(message: Message, topic: str | None) -> None:
    data = encode(message)
    assert outcome(data, topic, read_publication) == outcome(data, topic, _rewrite)


@given(data=MESSAGES.map(encode), cut=st.integers(0, 400), at=st.integers(0, 400), byte=st.integers(0, 255))
def test_damaged_bytes_are_never_read_beyond_their_end(data: bytes, cut: int, at: int, byte: int) -> None:
    damaged = bytearray(data[: len(data) - cut])
    if at < len(damaged):
        damaged[at] = byte
    text = text_body(bytes(damaged))
    assert text is None or bytes(damaged).endswith(text)
    usual = address_and_rest(bytes(damaged))
    if usual is not None:
        address, ttl, rest = usual
        assert address in damaged and 0 <= ttl < 2**32 and bytes(damaged).endswith(rest)


@pytest.mark.skipif(not fast_messages.PLAIN, reason="compiled code has one way only")
@pytest.mark.parametrize("ttl", [-1, 30_000])
@pytest.mark.parametrize("message_id", [None, "m"])
def test_plain_python_reads_what_it_writes_by_the_shortest_way(
    monkeypatch: pytest.MonkeyPatch, ttl: int, message_id: str | None
) -> None:
    """Nothing but this test would miss the way by struct."""
    for way in ("_text_body", "_address_and_rest"):
        monkeypatch.setattr(fast_messages, way, None)
    sent = text_message(b"abc", "to", message_id, "r", None, ttl)
    assert address_and_rest(sent) == (b"to", max(0, ttl), sent[16:] if ttl >= 0 else sent)
    rest = sent[16:] if ttl >= 0 else sent
    for first in (True, False):
        assert text_body(header(None if ttl < 0 else ttl, first_acquirer=first) + rest) == b"abc"
