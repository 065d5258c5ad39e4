"""Performatives out of bytes, and frames of fields."""

from __future__ import annotations

import pytest

from mqlight.amqp.codec import Described, Symbol, Uint, Ulong, encode
from mqlight.amqp.frames import OPEN, GarbledError, behind, described_error, fields_of, performative, read_fields
from mqlight.amqp.types import Condition


def test_a_performative_is_known_by_its_number_or_its_name() -> None:
    """Section 1.5: a descriptor is a symbol or a ulong."""
    for descriptor in (Ulong(OPEN), Symbol("amqp:open:list")):
        data = encode(Described(descriptor, ["me"])) + b"payload"
        fields, at = read_fields(data, 0, len(data))
        assert (fields.code, fields.text(0), data[at:]) == (OPEN, "me", b"payload")


def test_fields_that_are_left_out_are_null() -> None:
    fields = fields_of(Described(Ulong(OPEN), []))
    assert (fields.any(3), fields.text(3), fields.number(3, 9), fields.flag(3), fields.symbols(3)) == (
        None,
        None,
        -1,
        False,
        (),
    )


@pytest.mark.parametrize("value", [True, -1, 256, "7", 1.5])
def test_a_number_is_of_its_type_and_range(value: object) -> None:
    with pytest.raises(GarbledError):
        fields_of(Described(Ulong(OPEN), [value])).number(0, 255)


def test_nulls_at_the_end_are_left_out() -> None:
    assert performative(OPEN, ["a", None, None]) == performative(OPEN, ["a"])
    assert performative(OPEN, [None, Uint(1)]) != performative(OPEN, [Uint(1)])


def test_an_error_of_ours_never_lacks_its_condition_nor_cannot_be_encoded() -> None:
    """Section 2.8.14."""
    for condition in (Condition(""), Condition("ü:x", "lone \ud800"), Condition("amqp:x", "")):
        encode(error := described_error(condition, 512))
        assert error.value[0]
    assert described_error(None, 512) is None


@pytest.mark.parametrize(
    ("ours", "theirs", "distance"), [(5, 3, 2), (3, 5, -2), (2**32, 0, 0), (2**32 + 1, 2**32 - 1, 2), (0, 2**32 - 1, 1)]
)
def test_serial_numbers_wrap(ours: int, theirs: int, distance: int) -> None:
    """RFC 1982."""
    assert behind(ours, theirs) == distance
