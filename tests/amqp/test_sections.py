"""The sections of a message: their order, shapes, fields and headers (section 3.2)."""

from __future__ import annotations

from typing import Any

import pytest

from amqp.messages import (
    ANNOTATIONS,
    APPLICATION_PROPERTIES,
    BROKEN,
    DELIVERY_ANNOTATIONS,
    FOOTER,
    HEADER,
    NAMES,
    PROPERTIES,
    VALUE,
    section,
)
from mqlight.amqp import codec
from mqlight.amqp.codec import Symbol, Uint
from mqlight.amqp.message import MessageError, decode, header, topic_of
from mqlight.amqp.sections import check_order, elements, read_header, sections
from mqlight.server.publication import read_publication


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


def test_the_sections_of_a_message_together_bring_forth_no_more_than_one_value_may() -> None:
    sequence = b"\x00Sv\xc0\x0b\x01" + bytes.fromhex("f0 00000005 00000100 40")
    assert len(decode(sequence).body[0].values) == 256
    with pytest.raises(MessageError, match="more than 256 array elements without any bytes"):
        decode(sequence * 1000)
    keys = b"".join(b"\x98" + number.to_bytes(16, "big") + b"@" for number in range(1000))
    section = b"\x00Sv" + codec.compound(0xC0, 1, codec.compound(0xC1, 2000, keys))
    with pytest.raises(MessageError, match="too many keys"):
        decode(section * 100)


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


def test_sections_are_found_by_their_sizes_alone() -> None:
    data = HEADER + PROPERTIES + VALUE
    found = list(sections(data))
    assert [number for number, *_ in found] == [0x70, 0x73, 0x77]
    assert [(start, end) for _, start, _, end in found] == [
        (0, len(HEADER)),
        (len(HEADER), len(HEADER + PROPERTIES)),
        (len(HEADER + PROPERTIES), len(data)),
    ]
    assert all(value == start + 3 for _, start, value, _ in found)
    broken = HEADER[:-1] + b"\xff" + VALUE
    assert [number for number, *_ in sections(broken)] == [0x70, 0x77], "their content is not looked at"


def test_the_order_goes_on_behind_an_offset() -> None:
    data = HEADER + PROPERTIES
    assert [number for number, *_ in sections(data, len(HEADER), 0x70)] == [0x73]
    with pytest.raises(MessageError, match="properties stands after amqp-value"):
        list(sections(data, len(HEADER), 0x77))


@pytest.mark.parametrize(("last", "number"), [(0x70, 0x70), (0x73, 0x72), (0x75, 0x76), (0x76, 0x77), (0x78, 0x77)])
def test_a_section_out_of_order_is_refused(last: int, number: int) -> None:
    with pytest.raises(MessageError, match="stands after|body of"):
        check_order(last, number)


@pytest.mark.parametrize(("last", "number"), [(0, 0x77), (0x70, 0x73), (0x75, 0x75), (0x76, 0x76), (0x77, 0x78)])
def test_bodies_of_one_kind_may_repeat_and_sections_may_be_left_out(last: int, number: int) -> None:
    check_order(last, number)


@pytest.mark.parametrize(
    ("data", "fields", "at"),
    [
        (header(7) + VALUE, {"ttl": 7, "first_acquirer": False}, 16),
        (header(first_acquirer=True) + VALUE, {"first_acquirer": True}, 12),
        (section(0x70, [True, None, Uint(5)]) + VALUE, {"durable": True, "ttl": 5}, 10),
        (VALUE, {}, 0),
        (b"", {}, 0),
    ],
)
def test_a_header_is_read_before_the_rest(data: bytes, fields: dict[str, Any], at: int) -> None:
    assert read_header(data) == (fields, at)


def test_the_elements_of_a_list_stay_encoded() -> None:
    items: list[Any] = ["id", None, [1, 2], "x" * 300]
    data = codec.encode(items)
    assert elements(data, 0, len(data), 4) == [codec.encode(item) for item in items]
    with pytest.raises(MessageError, match="4 fields; there are 3"):
        elements(data, 0, len(data), 3)
    for end, reason in ((len(data) - 1, "does not fit"), (len(data) + 1, "claims 4 elements")):
        with pytest.raises(MessageError, match=reason):
            elements(data + b"@", 0, end, 4)
