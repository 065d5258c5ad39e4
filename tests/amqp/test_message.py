"""Messages against real clients' bytes, against Proton's codec and against strangers; and the server's door."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import proton
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqlight.amqp import codec
from mqlight.amqp.codec import Array, Symbol, Timestamp, Ubyte, Uint, Ulong
from mqlight.amqp.message import (
    Message,
    MessageError,
    decode,
    decode_properties,
    delivery_count,
    encode,
    header,
    time_to_live,
    topic_of,
)
from mqlight.amqp.text import control_in
from mqlight.server.publication import Publication, read_publication
from shown import shown

SOME_UUID = UUID("f81d4fae-7dec-11d0-a765-00a0c91e6bf6")

# What IBM's clients send, byte for byte.
NODE = (
    bytes.fromhex("00 53 70 c0 07 05 42 50 04 40 42 43")
    + b"\x00\x53\x73\xc0\x38\x0d@@\xa1\x1eamqp://127.0.0.1:5672/t/simple@@@\xa3\x0atext/plain@@@@@@"
    + b"\x00\x53\x77\xa1\x05hello"
)
MESSENGER = (
    bytes.fromhex("00 53 70 d0 0000000b 00000005 42 50 04 40 42 52 00")
    + codec.encode(
        codec.Described(
            Ulong(0x73),
            [
                None, None, "amqp://127.0.0.1:5672/t/priv", None, None, None, Symbol("text/plain"), None,
                Timestamp(0), Timestamp(0), None, Uint(0), None,
            ],
        )
    )
    + b"\x00\x53\x77\xa1\x05hello"
)  # fmt: skip
JAVA = b"\x00\x53\x73\xc0\x13\x03\x40\x40\xa1\x0eamqp:///t/priv\x00\x53\x77\xa1\x05hello"

FULL = Message(
    body={"a": [1, 2.5, None, b"x"]},
    to="t/a",
    reply_to="response/x",
    subject="s",
    content_type="application/json",
    content_encoding="gzip",
    message_id="m1",
    correlation_id="c1",
    user_id=b"me",
    group_id="g",
    group_sequence=7,
    reply_to_group_id="rg",
    creation_time=1_700_000_000_000,
    absolute_expiry_time=1_800_000_000_000,
    ttl=5_000,
    durable=True,
    priority=9,
    first_acquirer=True,
    delivery_count=3,
    properties={"text": "x", "number": 5, "flag": True, "none": None, "bytes": b"x", "float": 0.5},
    annotations={"x-opt-a": 1},
    delivery_annotations={"x-opt-b": "two"},
    footer={"x-opt-c": [3]},
)
USUAL = Message(
    body='{"uuid": "1", "data": {}, "replyTo": "response/x"}',
    to="mqlight/sample/wordsuppercase",
    reply_to="response/x",
    correlation_id="1",
    message_id="1",
    content_type="application/json",
    ttl=30_000,
)


NAMES = [
    "amqp:header:list", "amqp:delivery-annotations:map", "amqp:message-annotations:map", "amqp:properties:list",
    "amqp:application-properties:map", "amqp:data:binary", "amqp:amqp-sequence:list", "amqp:amqp-value:*",
    "amqp:footer:map",
]  # fmt: skip


def section(number: int, value: Any) -> bytes:
    return codec.encode(codec.Described(Ulong(number), value))


HEADER = section(0x70, [True, Ubyte(9), Uint(1_000), True, Uint(2)])
DELIVERY_ANNOTATIONS = section(0x71, {Symbol("x-opt-d"): 1})
ANNOTATIONS = section(0x72, {Symbol("x-opt-m"): 2})
PROPERTIES = section(0x73, ["id", None, "t"])
APPLICATION_PROPERTIES = section(0x74, {"key": "value"})
DATA = section(0x75, b"data")
SEQUENCE = section(0x76, [1, "two"])
VALUE = section(0x77, "value")
FOOTER = section(0x78, {Symbol("x-opt-f"): 3})


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


def test_symbolic_and_long_descriptors_are_taken() -> None:
    usual = HEADER + DELIVERY_ANNOTATIONS + ANNOTATIONS + PROPERTIES + APPLICATION_PROPERTIES + VALUE + FOOTER
    symbolic = longest = usual
    for number, name in enumerate(NAMES, 0x70):
        numeric = b"\x00\x53" + bytes((number,))
        symbolic = symbolic.replace(numeric, b"\x00" + codec.encode(Symbol(name)))
        longest = longest.replace(numeric, b"\x00\x80" + number.to_bytes(8, "big"))
    assert decode(usual) == decode(symbolic) == decode(longest)
    assert (
        read_publication(usual, "t").topic
        == read_publication(symbolic, "t").topic
        == read_publication(longest, "t").topic
    )
    assert (
        decode(read_publication(symbolic, "t").rest)
        == decode(read_publication(longest, "t").rest)
        == decode(read_publication(usual, "t").rest)
    )


BROKEN = [
    (b"", "empty"),
    (b"\x00", "cut off"),
    (b"\x00\x53", "cut off"),
    (b"\x00\x53\x77", "cut off"),
    (b"hello", "0x68 where a section should start"),
    (VALUE[:-1], "ends"),
    (VALUE + b"\x00", "cut off"),
    (VALUE + b"x", "0x78 where a section should start"),
    (VALUE + VALUE, "amqp-value stands after amqp-value"),
    (PROPERTIES + HEADER, "header stands after properties"),
    (VALUE + PROPERTIES, "properties stands after amqp-value"),
    (FOOTER + VALUE, "amqp-value stands after footer"),
    (HEADER + HEADER, "header stands after header"),
    (DATA + SEQUENCE, "body of data and one of amqp-sequence"),
    (SEQUENCE + VALUE, "body of amqp-sequence and one of amqp-value"),
    (b"\x00\x53\x6f\x45", "111|0x6f"),
    (b"\x00\x53\x79\x45", "121|0x79"),
    (VALUE + b"\x00\x53\x99\x45", "153|0x99"),
    (codec.encode(codec.Described(Symbol("amqp:open:list"), [])), "'amqp:open:list'"),
    (codec.encode(codec.Described("amqp:header:list", [])), "descriptor"),
    (section(0x70, {}), "header holds a value of constructor 0xc1"),
    (section(0x73, {}), "0xc1"),
    (section(0x74, []), "application-properties holds"),
    (section(0x75, "text"), "data holds"),
    (section(0x76, {}), "amqp-sequence holds"),
    (section(0x78, []), "footer holds"),
    (section(0x73, [None] * 14), "14 fields"),
    (section(0x70, [None] * 6), "6 fields"),
    (b"\x00\x53\x73\xc0\x05\x02\xa1\x01i", "fit|ends|cut"),
    (b"\x00\x53\x73\xc0\x04\x02\xa1\x01i" + VALUE, "not well-formed"),
    (b"\x00\x53\x00\x45", "0x00|0"),
    (b"\x00\x44\x45", "descriptor 0"),
    (b"\x00\x53\x73\xc0\x06\x01\xa1\x01i\x40\x40" + VALUE, "disagree|too many|more than"),
    (b"\x00\x53\x73\xc0\x00", "fit|ends|cut"),
    (b"\x00\x53\x73\xd0\xff\xff\xff\xff\x00\x00\x00\x00", "fit|ends|cut"),
    (b"\x00\x53\x73\xd0\x00\x00\x00\x04\xff\xff\xff\xff", "fields|claims"),
]


@pytest.mark.parametrize(("data", "reason"), BROKEN)
def test_what_is_no_message_is_refused_in_a_sentence(data: bytes, reason: str) -> None:
    with pytest.raises(MessageError, match=reason) as caught:
        decode(data)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (section(0x73, [None, None, 5]), "field to holds 5"),
        (section(0x73, [None, None, b"t"]), "field to holds b't'"),
        (section(0x73, [None, None, Symbol("t")]), "field to holds 't'"),
        (section(0x73, [Uint(5)]), "field message_id"),
        (section(0x73, [True]), "field message_id"),
        (section(0x73, [None, "user"]), "field user_id"),
        (section(0x73, [None, b"me", "t"]).replace(b"\xa0\x02me", b"\x00\x02me"), "0x02"),
        (section(0x73, [None] * 6 + ["ü"]), "field content_type"),
        (section(0x73, [None] * 8 + [5]), "field absolute_expiry_time"),
        (section(0x70, [1]), "field durable"),
        (section(0x70, [None, None, 5]), "field ttl"),
        (section(0x72, {b"x": 1}), "is not a symbol"),
        (section(0x74, {5: 1}), "is not a string"),
        (b"\x00\x53\x73\xc0\x06\x03@@\xa1\x01\xff" + VALUE, "not valid utf-8"),
        (b"\x00\x53\x77\xa1\x01\xff", "not valid utf-8"),
        (b"\x00\x53\x77\xb1\x00\x00\x00\x01\xff", "not valid utf-8"),
    ],
)
def test_a_field_of_a_wrong_type_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(MessageError, match=reason):
        decode(data)


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


characters = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
texts = st.text(characters, min_size=1, max_size=40)
ascii_texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)
optional = st.none() | texts
identities = st.none() | texts | st.integers(0, 2**64 - 1)
bodies = st.text(characters, max_size=300) | st.binary(max_size=300) | st.booleans() | st.integers(-(2**63), 2**63 - 1)
messages = st.builds(
    Message,
    body=bodies | st.lists(st.booleans() | texts) | st.dictionaries(texts, texts, max_size=3),
    to=optional,
    reply_to=optional,
    subject=optional,
    content_type=st.none() | ascii_texts,
    content_encoding=st.none() | ascii_texts,
    message_id=identities,
    correlation_id=identities,
    user_id=st.none() | st.binary(min_size=1),
    group_id=optional,
    reply_to_group_id=optional,
    ttl=st.none() | st.integers(1, 2**31),
    durable=st.booleans(),
    priority=st.integers(0, 255),
    delivery_count=st.integers(0, 2**32 - 1),
    properties=st.none() | st.dictionaries(texts, texts | st.booleans() | st.none(), min_size=1, max_size=3),
)


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


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=80), st.sampled_from([b"", b"\x00Sp", b"\x00Ss\xc0", b"\x00Su", b"\x00Sv", b"\x00Sw", header()])
)
def test_any_bytes_are_a_message_or_are_refused(data: bytes, start: bytes) -> None:
    check_stranger(start + data)


@settings(max_examples=100, deadline=None)
@given(messages, st.data())
def test_damaged_messages_are_messages_or_are_refused(message: Message, draw: st.DataObject) -> None:
    data = bytearray(encode(message))
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    check_stranger(bytes(data))
    check_stranger(bytes(data[: draw.draw(st.integers(0, len(data)))]))


def test_the_sections_of_a_message_together_bring_forth_no_more_than_one_value_may() -> None:
    sequence = b"\x00Sv\xc0\x0b\x01" + bytes.fromhex("f0 00000005 0000ffff 40")
    assert len(decode(sequence).body[0].values) == 65_535
    with pytest.raises(MessageError, match="more than 65536 array elements without any bytes"):
        decode(sequence * 1000)
    keys = b"".join(b"\x98" + number.to_bytes(16, "big") + b"@" for number in range(1000))
    section = b"\x00Sv" + codec.compound(0xC0, 1, codec.compound(0xC1, 2000, keys))
    with pytest.raises(MessageError, match="too many keys"):
        decode(section * 100)


def test_what_the_server_refuses_it_does_not_decode_first() -> None:
    """0.7 s a megabyte, in which it would serve nobody."""
    much = codec.compound(0xC0, 2_000_000, b"E" * 2_000_000)
    start = time.process_time()
    for data in (
        b"\x00Sp" + codec.compound(0xC0, 1, much),
        b"\x00" + much + b"@",
        b"\x00Ss" + codec.compound(0xC0, 3, b"@@" + much),
        b"\x00Ss" + much,
    ):
        with pytest.raises(MessageError):
            read_publication(data, "t")
    assert time.process_time() - start < 1.0


def test_a_header_that_is_hard_to_read_takes_the_server_no_time() -> None:
    """Every byte of it comes from a stranger, and the server has one thread."""
    keys = b"".join(b"\x98" + (number * (2**61 - 1)).to_bytes(16, "big") + b"@" for number in range(20_000))
    start = time.process_time()
    with pytest.raises(MessageError, match="The header has 360018 bytes"):
        read_publication(b"\x00Sp" + codec.compound(0xC0, 1, codec.compound(0xC1, 40_000, keys)), "t")
    assert time.process_time() - start < 2.0


def test_a_message_cut_anywhere_is_refused_or_complete() -> None:
    data = encode(FULL)
    for size in range(len(data)):
        check_stranger(data[:size])


def check_stranger(data: bytes) -> None:
    for topic in ("t", None):
        try:
            publication = read_publication(data, topic)
        except MessageError as error:
            assert str(error).endswith(".")
            refused = True
        else:
            refused = False
            check_admitted(data, publication)
    try:
        decode(data)
    except MessageError as error:
        assert str(error).endswith(".")
    else:
        if refused:  # without a link's topic only a message with a possible one is admitted
            topic = topic_of(decode(data).to or "")
            assert not topic or len(topic) > 5_000 or control_in(topic)


def check_admitted(data: bytes, publication: Publication) -> None:
    """What the server passes on has what MQ Light clients need and says what the message said."""
    assert publication.rest[:1] == b"\x00"
    try:
        before = decode(data)
    except MessageError:  # the door does not look inside values
        return
    assert publication.delivery_count == 0, "how often others have tried it is nothing to this server"
    after = decode(
        header(publication.ttl, publication.delivery_count, publication.durable, publication.priority)
        + publication.rest
    )
    assert after.to == (publication.topic if before.to is None else before.to)
    assert after.delivery_annotations is None
    sections = list(descriptors(publication.rest))
    assert sections == sorted(sections)
    assert {0x73, 0x77} <= set(sections) <= {0x72, 0x73, 0x74, 0x77, 0x78}
    assert after.body == before.body or (before.body is None and after.body == "")
    assert publication.ttl == (before.ttl or None)
    for name in Message.__struct_fields__:
        if name not in ("body", "to", "ttl", "delivery_annotations", "first_acquirer", "delivery_count"):
            assert getattr(after, name) == getattr(before, name), name
    again = read_publication(publication.rest, publication.topic)
    assert again.rest == publication.rest


def descriptors(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        described, at = codec.read(data, at, len(data))
        if isinstance(described.descriptor, Symbol):
            yield 0x70 + NAMES.index(described.descriptor)
        else:
            yield described.descriptor


@settings(max_examples=60, deadline=None)
@given(messages)
def test_what_is_admitted_says_the_same(message: Message) -> None:
    publication = read_publication(encode(message), "link/topic")
    assert publication.topic == "link/topic"
    check_admitted(encode(message), publication)


@pytest.mark.parametrize(
    ("data", "topic", "publication"),
    [
        (NODE, "t/simple", Publication("t/simple", None, False, 0, 4, NODE[12:])),
        (NODE, None, Publication("t/simple", None, False, 0, 4, NODE[12:])),
        (MESSENGER, None, Publication("t/priv", None, False, 0, 4, MESSENGER[19:])),
        (JAVA, None, Publication("t/priv", None, False, 0, 4, JAVA)),
        (HEADER + PROPERTIES + VALUE, None, Publication("t", 1_000, True, 0, 9, PROPERTIES + VALUE)),
        (header(50) + PROPERTIES + VALUE, None, Publication("t", 50, False, 0, 4, PROPERTIES + VALUE)),
        (header(0) + PROPERTIES + VALUE, None, Publication("t", None, False, 0, 4, PROPERTIES + VALUE)),
        (
            section(0x70, [None, None, Uint(0)]) + PROPERTIES + VALUE,
            None,
            Publication("t", None, False, 0, 4, PROPERTIES + VALUE),
        ),
        (
            HEADER + DELIVERY_ANNOTATIONS + ANNOTATIONS + PROPERTIES + APPLICATION_PROPERTIES + VALUE + FOOTER,
            "other",
            Publication("other", 1_000, True, 0, 9, ANNOTATIONS + PROPERTIES + APPLICATION_PROPERTIES + VALUE + FOOTER),
        ),
        (
            header() + PROPERTIES + APPLICATION_PROPERTIES + VALUE,
            "t",
            Publication("t", None, False, 0, 4, PROPERTIES + APPLICATION_PROPERTIES + VALUE),
        ),
    ],
)
def test_what_needs_no_change_is_passed_on_byte_for_byte(
    data: bytes, topic: str | None, publication: Publication
) -> None:
    assert read_publication(data, topic) == publication


@pytest.mark.parametrize(
    ("data", "rest"),
    [
        (VALUE, section(0x73, [None, None, "t"]) + VALUE),
        (section(0x73, []) + VALUE, section(0x73, [None, None, "t"]) + VALUE),
        (section(0x73, ["id"]) + VALUE, section(0x73, ["id", None, "t"]) + VALUE),
        (section(0x73, [None] * 3 + ["s"]) + VALUE, section(0x73, [None, None, "t", "s"]) + VALUE),
        (ANNOTATIONS + VALUE, ANNOTATIONS + section(0x73, [None, None, "t"]) + VALUE),
        (PROPERTIES, PROPERTIES + section(0x77, "")),
        (PROPERTIES + FOOTER, PROPERTIES + section(0x77, "") + FOOTER),
        (PROPERTIES + DATA, PROPERTIES + section(0x77, b"data")),
        (PROPERTIES + DATA + DATA + FOOTER, PROPERTIES + section(0x77, b"datadata") + FOOTER),
        (PROPERTIES + section(0x75, b"x" * 300), PROPERTIES + section(0x77, b"x" * 300)),
        (PROPERTIES + SEQUENCE + SEQUENCE, PROPERTIES + section(0x77, [1, "two", 1, "two"])),
        (PROPERTIES + section(0x76, list(range(300))), PROPERTIES + section(0x77, list(range(300)))),
        (PROPERTIES + section(0x77, None), PROPERTIES + section(0x77, None)),
        (PROPERTIES + section(0x77, {"a": [1]}), PROPERTIES + section(0x77, {"a": [1]})),
    ],
)
def test_what_receivers_cannot_do_without_is_added(data: bytes, rest: bytes) -> None:
    assert read_publication(data, "t").rest == rest
    assert read_publication(header(5) + data, "t").rest == rest
    check_admitted(data, read_publication(data, "t"))


def test_an_empty_sequence_becomes_an_empty_list() -> None:
    assert decode(read_publication(PROPERTIES + section(0x76, []) + FOOTER, "t").rest).body == []


@pytest.mark.parametrize(("data", "reason"), [case for case in BROKEN if case[0] != section(0x70, {})])
def test_the_door_is_closed_to_what_is_no_message(data: bytes, reason: str) -> None:
    with pytest.raises(MessageError) as caught:
        read_publication(data, "t")
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (VALUE, "for no topic"),
        (section(0x73, [None, None, ""]) + VALUE, "for no topic"),
        (section(0x73, [None, None, "amqp://host/"]) + VALUE, "for no topic"),
        (section(0x73, [None, None, 5]) + VALUE, "not a string"),
        (section(0x73, [None, None, "x" * 20_000]) + VALUE, "limit"),
        (section(0x73, [None, None, "x" * 250]).replace(b"xx", b"\xff\xff") + VALUE, "UTF-8|utf-8"),
    ],
)
def test_a_message_needs_a_topic_where_the_link_has_none(data: bytes, reason: str) -> None:
    with pytest.raises(MessageError, match=reason):
        read_publication(data, None)


@pytest.mark.parametrize(
    ("to", "topic"),
    [
        ("amqp://127.0.0.1:5672/t/a", "t/a"),
        ("amqps://host/t", "t"),
        ("amqp:///t", "t"),
        ("amqp://h:1//a", "/a"),
        ("amqp://h:1/amqp://x/y", "amqp://x/y"),
        ("amqp://u:p@h/a b/#/+/%20?@:", "a b/#/+/%20?@:"),
        ("amqp://h:1/ü", "ü"),
        ("t", "t"),
        ("/t", "/t"),
        ("", ""),
        ("amqp://host", "amqp://host"),
        ("amqp/t", "amqp/t"),
        ("http://host/t", "http://host/t"),
        ("amqpx://host/t", "amqpx://host/t"),
    ],
)
def test_the_topic_of_an_address_is_what_the_application_used(to: str, topic: str) -> None:
    assert topic_of(to) == topic


@pytest.mark.parametrize(
    ("arguments", "data"),
    [
        ((), "005370 c0 07 05 42 5004 40 42 43"),
        ((None, 0, False), "005370 c0 07 05 42 5004 40 42 43"),
        ((5, 0, False), "005370 c0 0b 05 42 5004 7000000005 42 43"),
        ((0, 0, False), "005370 c0 0b 05 42 5004 7000000000 42 43"),
        ((None, 1, False), "005370 c0 08 05 42 5004 40 42 5201"),
        ((None, 0, True), "005370 c0 07 05 41 5004 40 42 43"),
        ((None, 0, False, 9), "005370 c0 07 05 42 5009 40 42 43"),
    ],
)
def test_a_delivery_always_has_a_header_of_five_fields(arguments: tuple[Any, ...], data: str) -> None:
    assert header(*arguments) == bytes.fromhex(data)


@pytest.mark.parametrize("arguments", [(-1,), (2**32,), (None, -1), (None, 2**32), (None, 0, False, 256), (1.5,)])
def test_a_header_of_impossible_numbers_is_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(MessageError, match="A header takes"):
        header(*arguments)


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
