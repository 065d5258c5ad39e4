"""A message that a client sends: its topic, its header, and the bytes that receivers get."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqp.messages import (
    ANNOTATIONS,
    APPLICATION_PROPERTIES,
    BROKEN,
    DATA,
    DELIVERY_ANNOTATIONS,
    FOOTER,
    FULL,
    HEADER,
    JAVA,
    MESSENGER,
    NAMES,
    NODE,
    PROPERTIES,
    SEQUENCE,
    VALUE,
    messages,
    section,
)
from mqlight.amqp import codec
from mqlight.amqp.codec import Symbol, Uint
from mqlight.amqp.message import Message, MessageError, decode, encode, header, topic_of
from mqlight.amqp.text import control_in
from mqlight.server.publication import Publication, read_publication


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=80), st.sampled_from([b"", b"\x00Sp", b"\x00Ss\xc0", b"\x00Su", b"\x00Sv", b"\x00Sw", header()])
)
def test_any_bytes_are_a_publication_or_are_refused(data: bytes, start: bytes) -> None:
    check_stranger(start + data)


@settings(max_examples=100, deadline=None)
@given(messages, st.data())
def test_damaged_messages_are_publications_or_are_refused(message: Message, draw: st.DataObject) -> None:
    data = bytearray(encode(message))
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    check_stranger(bytes(data))
    check_stranger(bytes(data[: draw.draw(st.integers(0, len(data)))]))


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


@pytest.mark.parametrize("section", ["header", "descriptor"])
def test_a_small_message_that_stands_for_many_values_is_refused_before_they_are_made(section: str) -> None:
    """60,000 nulls in an array have no bytes, and took 30 ms in a message of 20 bytes."""
    nulls = bytes.fromhex("f0 00000005 0000ea60 40")
    start = b"\x00Sp" + codec.compound(0xC0, 1, nulls) if section == "header" else b"\x00" + nulls + b"E"
    with pytest.raises(MessageError, match="MAX_ZERO_WIDTH"):
        read_publication(start + b"\x00Sw@", "t")


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
    """Check that the server passes on all that MQ Light clients need, and what the message said."""
    assert publication.rest[:1] == b"\x00"
    try:
        before = decode(data)
    except MessageError:  # the server does not look inside values
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
def test_bytes_that_are_no_message_are_refused(data: bytes, reason: str) -> None:
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
