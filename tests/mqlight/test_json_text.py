from __future__ import annotations

import pytest

from mqlight.errors import InvalidArgumentError
from mqlight.json_text import encode_json, short
from mqlight.payload import pack, unpack


class Text(str):
    pass


class Data(bytes):
    pass


def test_json_is_short_and_in_utf_8() -> None:
    assert encode_json({"a": [1, "ü"]}) == '{"a":[1,"ü"]}'.encode()


def test_a_nan_is_refused_with_its_place_and_a_null_is_not() -> None:
    with pytest.raises(ValueError, match=r"\[1\] is nan"):
        encode_json([0, float("nan")])
    assert encode_json({"data": None}) == b'{"data":null}'


def test_what_cannot_be_shown_is_named_by_its_type() -> None:
    class Silent:
        def __repr__(self) -> str:
            raise OSError

    assert short(Silent()) == "<Silent>"
    assert len(short("x" * 1000)) == 80


def test_the_mq_light_client_refuses_a_nan_and_sends_subclasses_as_their_base() -> None:
    with pytest.raises(InvalidArgumentError, match=r"\['rate'\] is nan"):
        pack("t", {"rate": float("nan")}, None)
    assert unpack(pack("t", Text("safe"), None)).data == "safe"
    assert unpack(pack("t", Data(b"raw"), None)).data == b"raw"
    assert unpack(pack("t", {"a": Text("safe")}, None)).data == {"a": "safe"}
