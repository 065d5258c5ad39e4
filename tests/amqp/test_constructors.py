"""The table of constructors (section 1.6)."""

from __future__ import annotations

import pytest

from mqlight.amqp.codec import encode
from mqlight.amqp.constructors import CODES, KINDS, TABLE, WIDEST, WIDTHS, codes_of


def test_every_code_stands_for_one_type() -> None:
    assert len(KINDS) == sum(len(codes) for _, codes in TABLE) == 39
    assert all(KINDS[code] == name for name, codes in CODES.items() for code in codes)


def test_the_widest_code_of_a_type_comes_first() -> None:
    for name, codes in TABLE:
        widths = [abs(WIDTHS[code >> 4]) for code in codes]
        assert widths == sorted(widths, reverse=True), name
        assert WIDEST[name] == codes[0]


@pytest.mark.parametrize(("code", "width"), [(0x43, 0), (0x52, 1), (0x60, 2), (0x70, 4), (0x80, 8), (0x98, 16)])
def test_the_high_half_of_a_code_gives_the_width_of_a_fixed_payload(code: int, width: int) -> None:
    assert WIDTHS[code >> 4] == width


@pytest.mark.parametrize(("value", "length"), [("x", 1), ("x" * 256, 4), ([0], 1), ([0] * 256, 4), ({0: 0}, 1)])
def test_a_negative_width_is_that_of_the_length_before_the_payload(value: object, length: int) -> None:
    data = encode(value)
    assert WIDTHS[data[0] >> 4] == -length
    assert int.from_bytes(data[1 : 1 + length], "big") == len(data) - 1 - length


def test_the_codes_of_several_types_are_found() -> None:
    assert codes_of("list", "map") == {0x45, 0xC0, 0xD0, 0xC1, 0xD1}
    assert codes_of() == frozenset()
