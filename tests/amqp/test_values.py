"""Python types for the AMQP types that Python lacks (section 1.6)."""

from __future__ import annotations

from typing import Any

import pytest

from mqlight.amqp.codec import decode, encode
from mqlight.amqp.values import (
    Array,
    Byte,
    Char,
    CodecError,
    Decimal32,
    Decimal64,
    Decimal128,
    Described,
    Float,
    Int,
    Short,
    Symbol,
    Timestamp,
    Ubyte,
    Uint,
    Ulong,
    Ushort,
)

RANGES = {
    Ubyte: (0, 2**8 - 1), Ushort: (0, 2**16 - 1), Uint: (0, 2**32 - 1), Ulong: (0, 2**64 - 1),
    Byte: (-(2**7), 2**7 - 1), Short: (-(2**15), 2**15 - 1), Int: (-(2**31), 2**31 - 1),
    Timestamp: (-(2**63), 2**63 - 1),
}  # fmt: skip


@pytest.mark.parametrize("kind", RANGES)
def test_a_number_is_sent_within_its_range_and_refused_outside(kind: type[int]) -> None:
    least, most = RANGES[kind]
    for number in (least, most):
        read = decode(encode(kind(number)))
        assert read == number and type(read) is kind
    for number in (least - 1, most + 1):
        with pytest.raises(CodecError):
            encode(kind(number))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Uint(5), 5),
        (Float(0.5), 0.5),
        (Symbol("s"), "s"),
        (Char("c"), "c"),
        (Decimal32(b"1234"), b"1234"),
        (Decimal64(b"12345678"), b"12345678"),
        (Decimal128(b"1234567812345678"), b"1234567812345678"),
    ],
    ids=repr,
)
def test_other_code_sees_the_python_value_and_the_codec_its_amqp_type(value: Any, plain: Any) -> None:
    assert value == plain and hash(value) == hash(plain)
    assert type(decode(encode(value))) is type(value)
    assert encode(value) != encode(plain)


def test_described_values_and_arrays_are_values() -> None:
    assert Described(Ulong(1), "x") == Described(Ulong(1), "x") != Described(Ulong(2), "x")
    assert Array("uint", (1,)) == Array("uint", (1,), None) != Array("uint", (1,), Symbol("d"))
    assert len({Described("a", 1), Described("a", 1), Array("uint"), Array("uint")}) == 2
