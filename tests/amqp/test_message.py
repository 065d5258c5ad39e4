"""Messages: their bytes, real clients' bytes, Proton's codec, and bytes that are no message."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import proton
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqp.messages import (
    ANNOTATIONS,
    APPLICATION_PROPERTIES,
    DATA,
    DELIVERY_ANNOTATIONS,
    FOOTER,
    FULL,
    HEADER,
    JAVA,
    MESSENGER,
    NODE,
    PROPERTIES,
    SEQUENCE,
    VALUE,
    messages,
    section,
)
from mqlight.amqp import codec
from mqlight.amqp.codec import Array, Symbol, Ulong
from mqlight.amqp.message import (
    Message,
    MessageError,
    decode,
    decode_properties,
    delivery_count,
    encode,
    header,
    time_to_live,
)
from shown import shown

SOME_UUID = UUID("f81d4fae-7dec-11d0-a765-00a0c91e6bf6")


USUAL = Message(
    body='{"uuid": "1", "data": {}, "replyTo": "response/x"}',
    to="mqlight/sample/wordsuppercase",
    reply_to="response/x",
    correlation_id="1",
    message_id="1",
    content_type="application/json",
    ttl=30_000,
)


@pytest.mark.parametrize(
    ("message", "data"),
    [
        (Message(), "005377 40"),
        (Message(body="hello"), "005377 a105 68656c6c6f"),
        (Message(body=b"hello"), "005377 a005 68656c6c6f"),
        (Message(body=""), "005377 a100"),
        (Message(body=5), "005377 5505"),
        (Message(body=[]), "005377 45"),
        (Message(body="x", to="t"), "005373 c0 06 03 4040a10174 005377 a10178"),
        (Message(body="x", ttl=5), "005370 c0 0b 05 42 5004 7000000005 42 43 005377 a10178"),
        (Message(body="x", durable=True), "005370 c0 07 05 41 5004 40 42 43 005377 a10178"),
        (Message(body="x", message_id=5), "005373 c0 03 01 5305 005377 a10178"),
        (Message(body="x", message_id=Symbol("s")), "005373 c0 04 01 a10173 005377 a10178"),
        (Message(body="x", properties={}), "005374 c1 01 00 005377 a10178"),
        (Message(body="x", annotations={"a": 1}), "005372 c1 06 02 a30161 5501 005377 a10178"),
        (Message(body="x", group_sequence=1), "005373 c0 0e 0c" + "40" * 11 + "5201 005377 a10178"),
    ],
)
def test_a_message_has_few_bytes(message: Message, data: str) -> None:
    assert encode(message) == bytes.fromhex(data)


@pytest.mark.parametrize("message", [FULL, USUAL, Message(), Message(body=b"x" * 300, to="x" * 300)])
def test_a_message_decodes_to_itself(message: Message) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize("size", [0, 1, 254, 255, 256, 257, 70_000])
def test_every_length_of_text_arrives(size: int) -> None:
    text = "ü" * (size // 2) + "x" * (size % 2)
    message = Message(body=text, to=text, reply_to=text, message_id=text, content_type="x" * size, user_id=b"x" * size)
    assert decode(encode(message)) == message
    assert decode(encode(Message(body=text.encode()))) == Message(body=text.encode())


@pytest.mark.parametrize("identity", ["text", b"bytes", SOME_UUID, 0, 5, 2**64 - 1, ""])
def test_message_ids_are_of_four_types(identity: Any) -> None:
    message = decode(encode(Message(message_id=identity, correlation_id=identity)))
    assert (message.message_id, message.correlation_id) == (identity, identity)
    assert type(message.message_id) is type(identity)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"to": 5}, "to is 5, where a str is needed"),
        ({"to": b"t"}, "to is b't', where a str"),
        ({"reply_to": "\ud800"}, "surrogates not allowed"),
        ({"body": "\ud800"}, "surrogates not allowed"),
        ({"content_type": "ü"}, "ascii"),
        ({"content_encoding": 1}, "content_encoding is 1, where a str"),
        ({"message_id": 1.5}, "1.5 is no message id"),
        ({"message_id": -1}, "-1 cannot be sent"),
        ({"correlation_id": 2**64}, "cannot be sent"),
        ({"user_id": "me"}, "user_id is 'me', where bytes"),
        ({"ttl": -1}, "ttl is -1, where an int of 0 to"),
        ({"ttl": 2**32}, "ttl is 4294967296, where"),
        ({"ttl": 1.5}, "ttl is 1.5, where"),
        ({"ttl": "5", "durable": True}, "ttl is '5', where"),
        ({"priority": 256}, "priority is 256, where an int of 0 to 255"),
        ({"priority": 4.5}, "priority is 4.5, where"),
        ({"delivery_count": -1}, "delivery_count is -1, where"),
        ({"group_sequence": 1.5}, "group_sequence is 1.5, where"),
        ({"group_sequence": 2**32}, "group_sequence is 4294967296, where"),
        ({"creation_time": "now"}, "creation_time is 'now', where"),
        ({"absolute_expiry_time": 2**63}, "absolute_expiry_time is 9223372036854775808, where"),
        ({"body": object()}, "of type object"),
        ({"body": [object()]}, "of type object"),
        ({"properties": {5: "x"}}, "key 5"),
        ({"properties": {"x": [1]}}, r"properties\['x'\] is a list"),
        ({"properties": {"x": Array("uint", ())}}, r"properties\['x'\] is a Array"),
        ({"properties": [1]}, "cannot be sent"),
        ({"annotations": {"ü": 1}}, "ascii"),
        ({"annotations": {None: 1}}, "key None"),
        ({"footer": {-1: 1}}, "cannot be sent"),
    ],
    ids=shown,
)
def test_a_wrong_field_is_named(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(MessageError, match=reason):
        encode(Message(**fields))


def test_the_clients_of_ibm_are_understood() -> None:
    node = decode(NODE)
    assert (node.to, node.content_type, node.body, node.ttl) == (
        "amqp://127.0.0.1:5672/t/simple", "text/plain", "hello", None
    )  # fmt: skip
    messenger = decode(MESSENGER)
    assert (messenger.to, messenger.body, messenger.creation_time, messenger.group_sequence) == (
        "amqp://127.0.0.1:5672/t/priv", "hello", 0, 0
    )  # fmt: skip
    assert decode(JAVA) == Message(to="amqp:///t/priv", body="hello")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DATA, Message(body=b"data")),
        (DATA + DATA, Message(body=b"datadata")),
        (section(0x75, b""), Message(body=b"")),
        (SEQUENCE, Message(body=[1, "two"])),
        (SEQUENCE + section(0x76, []) + SEQUENCE, Message(body=[1, "two", 1, "two"])),
        (section(0x76, []), Message(body=[])),
        (VALUE, Message(body="value")),
        (section(0x77, None), Message(body=None)),
        (section(0x77, codec.Described(Ulong(5), 1)), Message(body=codec.Described(Ulong(5), 1))),
        (PROPERTIES, Message(message_id="id", to="t")),
        (section(0x73, []), Message()),
        (HEADER, Message(durable=True, priority=9, ttl=1_000, first_acquirer=True, delivery_count=2)),
        (section(0x70, []), Message()),
        (section(0x70, [None] * 5), Message()),
        (section(0x70, [True]), Message(durable=True)),
        (header(7) + VALUE, Message(ttl=7, body="value")),
        (header(7) + ANNOTATIONS + VALUE, Message(ttl=7, body="value", annotations={"x-opt-m": 2})),
        (header() + DATA, Message(body=b"data")),
        (DELIVERY_ANNOTATIONS + FOOTER, Message(delivery_annotations={"x-opt-d": 1}, footer={"x-opt-f": 3})),
        (APPLICATION_PROPERTIES + DATA, Message(properties={"key": "value"}, body=b"data")),
        (section(0x74, {"list": [1]}), Message(properties={"list": [1]})),
        (section(0x72, {"text key": 1, Ulong(5): 2}), Message(annotations={"text key": 1, 5: 2})),
        (section(0x73, [None] * 6 + ["text"]), Message(content_type="text")),
        (section(0x73, [Ulong(5)]), Message(message_id=5)),
        (bytes.fromhex("005377 b100000001 61"), Message(body="a")),
        (bytes.fromhex("005377 b000000001 61"), Message(body=b"a")),
        (bytes.fromhex("005373 d00000000c 00000003 4040 b1 00000001 74"), Message(to="t")),
    ],
)
def test_any_sections_in_any_encoding_are_taken(data: bytes, message: Message) -> None:
    assert decode(data) == message
    assert decode(bytearray(data)) == message


@pytest.mark.parametrize("more", [{}, {"ttl": 5}, {"durable": True}, {"priority": 9}, {"annotations": {"x": 1}}])
def test_the_delivery_count_is_found_without_reading_the_rest(more: dict[str, Any]) -> None:
    assert delivery_count(encode(Message(body="x", to="t", **more))) == 0
    assert delivery_count(encode(Message(body="x", to="t", delivery_count=7, **more))) == 7


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x00Sp", b"\x00Sp\xc0", b"\x00Sp\x45", b"\x00Ss\x45", b"xx", b"\x00Sp\xc1\x01\x00"]
)
def test_what_has_no_delivery_count_was_never_tried(data: bytes) -> None:
    assert delivery_count(data) == 0


SHARED = ("reply_to", "subject", "content_type", "content_encoding", "user_id", "group_id", "reply_to_group_id")


def proton_message(message: Message) -> proton.Message:
    theirs = proton.Message(address=message.to, body=message.body, properties=message.properties)
    for name in SHARED:
        if getattr(message, name) is not None:
            setattr(theirs, name, getattr(message, name))
    theirs.id, theirs.correlation_id = message.message_id, message.correlation_id
    theirs.durable, theirs.priority, theirs.delivery_count = message.durable, message.priority, message.delivery_count
    theirs.ttl = (message.ttl or 0) / 1_000
    return theirs


@settings(max_examples=60, deadline=None)
@given(messages)
def test_proton_reads_what_we_write(message: Message) -> None:
    theirs = proton.Message()
    theirs.decode(encode(message))
    assert theirs.address == message.to
    assert theirs.body == message.body
    assert (theirs.id, theirs.correlation_id) == (message.message_id, message.correlation_id)
    for name in SHARED:
        read = getattr(theirs, name)
        written = getattr(message, name)
        if read == "None" and written is None:
            continue  # Proton's way to say that there is no content type
        assert (read or None) == written, name
    assert theirs.properties == message.properties
    assert round(theirs.ttl * 1_000) == (message.ttl or 0)
    assert (theirs.durable, theirs.priority, theirs.delivery_count) == (
        message.durable, message.priority, message.delivery_count
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(messages)
def test_we_read_what_proton_writes(message: Message) -> None:
    read = decode(bytes(proton_message(message).encode()))
    assert abs((read.ttl or 0) - (message.ttl or 0)) <= 1  # Proton takes seconds, as a float
    for name in ("body", "to", *SHARED, "message_id", "correlation_id", "durable", "priority", "delivery_count"):
        assert getattr(read, name) == getattr(message, name), name
    assert (read.properties or None) == (message.properties or None)


@settings(max_examples=60, deadline=None)
@given(messages)
def test_a_message_survives_its_encoding(message: Message) -> None:
    assert decode(encode(message)) == message


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=80), st.sampled_from([b"", b"\x00Sp", b"\x00Ss\xc0", b"\x00Su", b"\x00Sv", b"\x00Sw", header()])
)
def test_any_bytes_are_a_message_or_are_refused(data: bytes, start: bytes) -> None:
    try:
        assert isinstance(decode(start + data), Message)
    except MessageError as error:
        assert str(error).endswith(".")


# What is read of a message that is not decoded


@pytest.mark.parametrize(
    "more, ttl",
    [
        ({"ttl": 5000}, 5000),
        ({"ttl": 2**32 - 1, "delivery_count": 3}, 2**32 - 1),
        ({"ttl": 5000, "durable": True}, 5000),
        ({"ttl": 0}, None),
        ({"durable": True}, None),
        ({}, None),
    ],
)
def test_the_time_to_live_is_read_from_any_header(more: dict[str, Any], ttl: int | None) -> None:
    assert time_to_live(encode(Message(body="x", to="t", **more))) == ttl


@given(st.binary(max_size=40))
def test_no_bytes_bring_out_more_than_a_time_to_live_or_properties(data: bytes) -> None:
    assert time_to_live(data) is None or isinstance(time_to_live(data), int)
    assert decode_properties(data) is None or isinstance(decode_properties(data), Message)


def test_the_properties_are_read_though_the_body_is_broken() -> None:
    whole = Message(body="x", to="t", reply_to="r", correlation_id=7, ttl=5, annotations={"x-opt-a": 1})
    data = encode(whole)
    assert decode_properties(data[:-1]) == Message(to="t", reply_to="r", correlation_id=7)
    assert decode_properties(encode(Message(body="x"))) is None
