"""Messages of many forms, and sections to build others from."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mqlight.amqp import codec
from mqlight.amqp.codec import Symbol, Timestamp, Ubyte, Uint, Ulong
from mqlight.amqp.message import Message

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
