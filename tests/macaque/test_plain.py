from __future__ import annotations

import pytest

from macaque.plain import plain
from mqlight.amqp.codec import Array, Decimal32, Described, Symbol, Timestamp, Ulong


def test_plain_python_stays_as_it_is() -> None:
    value = {"a": [1, 2.5, "x", b"y", None, True]}
    assert plain(value) == value


def test_what_amqp_adds_to_a_type_is_gone_at_any_depth() -> None:
    value = plain([{Symbol("a"): Described(Ulong(5), Array("timestamp", (Timestamp(1),)))}])
    assert value == [{"a": [1]}]
    assert [type(key) for key in value[0]] == [str] and type(value[0]["a"][0]) is int


def test_a_decimal_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="a decimal32, which is not read"):
        plain({"price": [Decimal32(bytes(4))]})
