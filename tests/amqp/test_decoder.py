"""Values out of untrusted bytes: other forms than ours, faults, and limits (AMQP 1.0 part 1)."""

from __future__ import annotations

import struct
import time
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mqlight.amqp import codec
from mqlight.amqp.codec import Array, CodecError, Described, Int, Symbol, Uint, Ulong, decode, encode
from mqlight.amqp.decoder import Reader, read, short, skip


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("5600", False),
        ("5601", True),
        ("70 00000005", Uint(5)),
        ("80 0000000000000005", Ulong(5)),
        ("71 ffffffff", Int(-1)),
        ("81 ffffffffffffffff", -1),
        ("b1 00000001 61", "a"),
        ("b0 00000001 61", b"a"),
        ("b3 00000001 61", Symbol("a")),
        ("c0 01 00", []),
        ("d0 00000004 00000000", []),
        ("d0 00000005 00000001 40", [None]),
        ("d1 00000004 00000000", {}),
        ("f0 0000000a 00000001 b1 00000001 61", Array("string", ("a",))),
        ("e0 04 02 a1 00 00", Array("string", ("", ""))),
        ("e0 02 03 40", Array("null", (None, None, None))),
        ("e0 02 02 45", Array("list", ([], []))),
        ("e0 02 02 41", Array("boolean", (True, True))),
        ("c1 05 02 45 40", {(): None}),
        ("c1 08 02 c0 04 02 5501 40 41", {(1, None): True}),
    ],
)
def test_longer_and_shorter_forms_than_ours_are_read(data: str, value: Any) -> None:
    raw = bytes.fromhex(data)
    if raw[0] == 0xC1 and raw[1] != len(raw) - 2:
        raw = raw[:1] + bytes((len(raw) - 2,)) + raw[2:]
    assert decode(raw) == value
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "ends"),
        ("55", "ends"),
        ("81 00", "ends"),
        ("a1", "ends"),
        ("a1 02 61", "ends"),
        ("b1 000000", "ends"),
        ("b1 ffffffff 61", "ends"),
        ("4000", "1 bytes follow"),
        ("46", "0x46"),
        ("01", "0x01"),
        ("ff 00000001 00", "0xff"),
        ("a1 01 ff", "not valid utf-8"),
        ("a3 01 ff", "not valid ascii"),
        ("73 00110000", "not valid utf-32-be"),
        ("73 0000d800", "not valid utf-32-be"),
        ("56 02", "boolean"),
        ("c0 00", "ends"),
        ("c0 01 01", "claims 1 elements"),
        ("c0 02 01 00", "ends"),
        ("c0 03 01 40 40", "too many"),
        ("c0 02 02 40", "claims 2 elements"),
        ("d0 00000003 000000", "ends"),
        ("d0 00000004 ffffffff", "claims 4294967295 elements"),
        ("d0 ffffffff 00000000", "ends"),
        ("c1 02 01 40", "pairs"),
        ("c1 05 04 40 40 40 40", "twice"),
        ("c1 05 02 c1 01 00 40", "map is the key"),
        ("e0 01 00", "ends"),
        ("e0 02 01 70", "claims 1 elements"),
        ("e0 06 02 70 00000001", "ends"),
        ("f0 00000005 ffffffff 40", "without any bytes"),
        ("f0 00000005 ffffffff 50", "claims"),
        ("e0 03 01 46 00", "0x46"),
        ("00 00 5301 5301 40", "descriptor"),
        ("00", "ends"),
        ("00 5301", "ends"),
    ],
)
def test_what_is_no_value_is_refused_in_a_sentence(data: str, reason: str) -> None:
    with pytest.raises(CodecError, match=reason) as caught:
        decode(bytes.fromhex(data))
    assert str(caught.value).endswith(".")


def test_elements_without_bytes_are_bounded_over_the_whole_of_the_data() -> None:
    nulls = struct.pack(">BIIB", 0xF0, 5, 200, 0x40)
    assert decode(nulls) == Array("null", (None,) * 200)
    with pytest.raises(CodecError, match=r"more than 256 .*\(MAX_ZERO_WIDTH\)"):
        decode(codec.compound(0xC0, 2, nulls * 2))


@pytest.mark.parametrize("code", [0xD0, 0xF0], ids=["list", "array"])
def test_values_in_containers_are_bounded_over_the_whole_of_the_data(code: int) -> None:
    """A list of empty lists would take 64 times as much memory as the data."""
    half = codec.MAX_VALUES // 2 + 2
    content = b"\x50" + bytes(half) if code == 0xF0 else b"\x45" * half
    values = struct.pack(">BII", code, 4 + len(content), half) + content
    decode(values)
    with pytest.raises(CodecError, match=r"more than 1048576 values .*\(MAX_VALUES\)"):
        decode(codec.compound(0xC0, 2, values * 2))


COLLIDING = [UUID(int=number * (2**61 - 1)) for number in range(20_000)]
"""Python gives them all the hash 0."""


@pytest.mark.parametrize(
    "keys",
    [
        COLLIDING,
        [[key] for key in COLLIDING],
        [Described(Symbol("d"), key) for key in COLLIDING],
        [Array("uuid", (key,)) for key in COLLIDING],
    ],
    ids=["uuids", "lists", "described values", "arrays"],
)
def test_keys_of_one_hash_do_not_take_time_that_grows_with_their_square(keys: list[Any]) -> None:
    pairs = b"".join(encode(key) + b"@" for key in keys)
    start = time.process_time()
    with pytest.raises(CodecError, match=r"too many keys such as .*\(ODD_KEYS\)"):
        decode(codec.compound(0xC1, 2 * len(keys), pairs))
    assert time.process_time() - start < 2.0


def test_usual_keys_may_be_as_many_as_one_likes() -> None:
    value = {kind(number): None for number in range(5000) for kind in (int, str, Symbol)} | {
        UUID(int=number): None for number in range(1000)
    }
    assert decode(encode(value)) == value


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
@example(b"\xe0\x03\x01\xe0\x02\x00")
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        decode(data)
    except CodecError as error:
        assert str(error)


def test_a_value_is_read_and_skipped_in_the_middle_of_data() -> None:
    data = b"before" + encode({"key": [1, "two"]}) + b"behind"
    end = len(data) - len(b"behind")
    assert read(data, 6, end) == ({"key": [1, "two"]}, end)
    assert skip(data, 6, end) == end
    for short_by in range(1, end - 6):
        with pytest.raises(CodecError):
            read(data, 6, end - short_by)


def test_what_is_skipped_is_not_looked_at() -> None:
    """The size of a container is read, its content is not."""
    assert skip(b"\xc0\x03\x09\xff\xff", 0, 5) == 5
    with pytest.raises(CodecError):
        read(b"\xc0\x03\x09\xff\xff", 0, 5)
    with pytest.raises(CodecError, match=r"deep .*\(MAX_DEPTH\)"):
        skip(b"\x00\x53\x01" * 100 + b"\x40", 0, 301)


def test_one_reader_has_its_limits_for_all_values_that_it_reads() -> None:
    nulls = encode(Array("null", (None,) * 200))
    reader = Reader(nulls * 2)
    reader.read(0, len(nulls))
    with pytest.raises(CodecError, match="MAX_ZERO_WIDTH"):
        reader.read(len(nulls), 2 * len(nulls))
    assert Reader(nulls * 2).read(len(nulls), 2 * len(nulls))[1] == 2 * len(nulls)


@pytest.mark.parametrize("value", ["x" * 100, 10**5000, [None] * 1000, "short"], ids=["text", "int", "list", "short"])
def test_a_value_in_an_error_has_at_most_80_characters(value: object) -> None:
    assert len(short(value)) <= 80


def test_a_list_as_a_key_becomes_a_tuple_at_any_depth() -> None:
    key = Described(Symbol("d"), [1, [Array("list", ([2],))]])
    data = codec.compound(0xC1, 2, encode(key) + encode("value"))
    ((read_key, value),) = decode(data).items()
    assert value == "value" and read_key == Described("d", (1, (Array("list", ((2,),)),)))
    assert encode(decode(data)) == data
