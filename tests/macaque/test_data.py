"""The tables of docs/services.md about data, line by line: what is sent, and what arrives."""

from __future__ import annotations

import dataclasses
import enum
import uuid
from collections import namedtuple
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pydantic
import pytest

import macaque
from macaque.envelope import Reply, Request, decode_reply, decode_request, encode_reply, encode_request
from mqlight.amqp.codec import (
    Array,
    Byte,
    Char,
    Decimal64,
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
from mqlight.amqp.message import Message, encode
from processes import Server
from shown import shown


class Markup(str):
    """A safe string, as template engines have them."""

    def __str__(self) -> str:
        return "escaped"


class Number(int):
    def __repr__(self) -> str:
        return "one"


class Float64(float):
    """As numpy.float64, which is a float."""


class Blob(bytes):
    pass


class Pretend(datetime):
    """As pendulum.DateTime and pandas.Timestamp."""


class Duration(timedelta):
    """As pandas.Timedelta."""


class Money(Decimal):
    pass


class Int64:
    """As numpy.int64, which is no int."""

    shape: tuple[int, ...] = ()

    def item(self) -> int:
        return 7


class Index:
    def __index__(self) -> int:
        return 8


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Point:
    x: int
    y: float


class Pair(msgspec.Struct):
    a: int
    b: str


Named = namedtuple("Named", "a b")


def there(data: Any) -> Any:
    """Return the data that a service gets."""
    return decode_request(encode_request("u", "t", data, "response/me", now=0.0, timeout=1.0)).data


def back(data: Any) -> Any:
    """Return the data that a caller gets."""
    return decode_reply(encode_reply(Request("u", None, "response/me"), data)).data


TABLE = [
    (None, None),
    ([True, "text", {"key": 1.5}], [True, "text", {"key": 1.5}]),
    (10**40, 10**40),
    (-(2**63) - 1, -(2**63) - 1),
    ((1, 2), [1, 2]),
    ({1}, [1]),
    (frozenset({1}), [1]),
    (Named(1, 2), [1, 2]),
    (b"\xff\x00", "/wA="),
    (bytearray(b"\xff\x00"), "/wA="),
    (memoryview(b"\xff\x00"), "/wA="),
    (Decimal("1.10"), "1.10"),
    (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (datetime(2026, 1, 31, 12, tzinfo=timezone.utc), "2026-01-31T12:00:00Z"),
    (datetime(2026, 1, 31, 12), "2026-01-31T12:00:00"),
    (date(2026, 1, 31), "2026-01-31"),
    (time(12, 0), "12:00:00"),
    (timedelta(seconds=90), "PT90S"),
    (Colour.RED, "red"),
    (Level.HIGH, 3),
    (Point(1, 2.5), {"x": 1, "y": 2.5}),
    (Pair(1, "b"), {"a": 1, "b": "b"}),
    ({1: "a"}, {"1": "a"}),
    ({1.5: "a"}, {"1.5": "a"}),
    ({date(2026, 1, 31): 1}, {"2026-01-31": 1}),
    ({uuid.UUID(int=5): 1}, {"00000000-0000-0000-0000-000000000005": 1}),
    ({Colour.RED: 1, Level.HIGH: 2}, {"red": 1, "3": 2}),
    ({b"\xff\x00": 1}, {"/wA=": 1}),
    (Markup("hi"), "hi"),
    ({Markup("hi"): Markup("ho")}, {"hi": "ho"}),
    (Number(1), 1),
    ({Number(1): 1}, {"1": 1}),
    (Float64(1.5), 1.5),
    (Blob(b"\xff\x00"), "/wA="),
    (Pretend(2026, 1, 31, 12, tzinfo=timezone.utc), "2026-01-31T12:00:00Z"),
    (Duration(seconds=90), "PT90S"),
    (Money("1.10"), "1.10"),
    ({float("nan"): 1}, {"nan": 1}),
    ([Int64(), Index()], [7, 8]),
]


@pytest.mark.parametrize("data, arrives", TABLE, ids=lambda value: f"{type(value).__name__}-{shown(value)}")
def test_what_is_sent_arrives_as_the_table_says(data: Any, arrives: Any) -> None:
    assert there(data) == arrives and back(data) == arrives
    assert type(there(data)) is type(arrives)


@pytest.mark.parametrize(
    "data, said",
    [
        (float("nan"), "it is nan, a number"),
        ({"prices": [1, None, 2, float("inf")]}, r"\['prices'\]\[3\] is inf, a number"),
        (Float64("nan"), "nan"),
        (Point(1, float("-inf")), r"\['y'\] is -inf"),
        ({"deep": [(Pair(1, "null"), {"x": {float("nan")}})]}, r"\['deep'\]\[0\]\[1\]\['x'\]\[0\] is nan"),
        ("\ud800", "surrogates not allowed"),
        ({"\ud800": 1}, "surrogates not allowed"),
        ({None: 1}, "the key None is of type NoneType"),
        ({True: 1}, "the key True is of type bool"),
        ({(1, 2): 1}, r"the key \(1, 2\) is of type tuple"),
        (object, "is of type type, which JSON cannot represent"),
        ((number for number in "a"), "is of type generator, which JSON cannot represent"),
        (10**5000, "Exceeds the limit"),
        (memoryview(b"abcd")[::2], "not C-contiguous"),
        (msgspec.UNSET, "UNSET"),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_what_json_would_change_is_refused_by_name(data: Any, said: str) -> None:
    for send in there, back:
        with pytest.raises(TypeError, match=f"^The (data|result) .* cannot be sent as JSON: .*{said}"):
            send(data)


def test_a_null_that_is_one_passes() -> None:
    data = {"nothing": None, "null": ["null", Level.HIGH, {1: None}]}
    assert there(data) == {"nothing": None, "null": ["null", 3, {"1": None}]}
    assert decode_reply(encode_reply(Request("u", None, "r"), None)) == Reply("u", None)


VALUES = [
    (Ubyte(1), 1), (Ushort(2), 2), (Uint(3), 3), (Ulong(4), 4), (Byte(-5), -5), (Short(-6), -6), (Int(-7), -7),
    (Timestamp(1_700_000_000_000), 1_700_000_000_000), (Float(1.5), 1.5), (2.5, 2.5), (True, True), (None, None),
    (Char("x"), "x"), (Symbol("name"), "name"), (uuid.UUID(int=5), uuid.UUID(int=5)), (b"\xff", b"\xff"),
    ([Uint(1), [Symbol("a")]], [1, ["a"]]), (Array("uint", (Uint(1), Uint(2))), [1, 2]),
    ({Symbol("k"): Ulong(1), Uint(2): Float(0.5)}, {"k": 1, 2: 0.5}),
    (Described(Symbol("x:point"), [Int(1), Int(2)]), [1, 2]),
    ({Described(Ulong(1), Array("uint", (Uint(1),))): 1}, {(1,): 1}),
]  # fmt: skip


@pytest.mark.parametrize("value, given", VALUES, ids=lambda value: f"{type(value).__name__}")
def test_a_value_of_amqp_reaches_a_service_as_plain_python(value: Any, given: Any) -> None:
    got = decode_request(encode(Message(body=value, to="t", reply_to="answers"))).data
    assert got == given
    assert kinds(got) == kinds(given)


def kinds(value: Any) -> Any:
    """The exact types in a value."""
    if isinstance(value, dict):
        return [(kinds(key), kinds(item)) for key, item in value.items()]
    return [kinds(item) for item in value] if isinstance(value, (list, tuple)) else type(value)


@pytest.mark.parametrize("value, given", [pair for pair in VALUES if not isinstance(pair[0], (bytes, dict))])
def test_a_service_can_return_what_it_was_given(value: Any, given: Any) -> None:
    asked = decode_request(encode(Message(body=value, to="t", reply_to="answers")))
    encode_reply(asked, asked.data)


def test_a_caller_and_a_service_exchange_what_the_table_says(shared_server: Server) -> None:
    app = macaque.Server(broker=shared_server.url)
    app.service("echo")(lambda data: {"given": data, "safe": Markup("hi")})
    app.service("nan")(lambda data: {"rate": float("nan")})
    with app, macaque.Client(broker=shared_server.url, timeout=10.0) as client:
        assert client.call("echo", {Markup("k"): {2}}).result() == {"given": {"k": [2]}, "safe": "hi"}
        with pytest.raises(macaque.RemoteError, match=r"TypeError: .*\['rate'\] is nan"):
            client.call("nan", 1).result()
        with pytest.raises(TypeError, match=r"\[0\] is nan"):
            client.notify("echo", [float("nan")])


# What cannot be decoded


def _broken() -> bytes:
    """A well-formed message but for its body, a string that is not UTF-8."""
    return encode(Message(body="x", to="t", reply_to="answers", message_id="m-1"))[:-1] + b"\xff"


@pytest.mark.parametrize(
    "message, said",
    [
        (_broken(), "not valid utf-8"),
        (encode(Message(body=Decimal64(bytes(8)), reply_to="answers", message_id="m-1")), "decimal64"),
        (encode(Message(body=[Decimal64(bytes(8))], reply_to="answers", message_id="m-1")), "decimal64"),
        (
            encode(Message(body="{", reply_to="answers", message_id="m-1", content_type="Application/JSON; q=1")),
            "truncated",
        ),
    ],
)
def test_a_bare_request_that_cannot_be_decoded_says_who_is_to_be_told(message: bytes, said: str) -> None:
    with pytest.raises(macaque.MacaqueError, match=said) as raised:
        decode_request(message)
    asked = raised.value.asked  # type: ignore[attr-defined]
    assert (asked.reply_to, asked.correlation) == ("answers", "m-1")


@pytest.mark.parametrize(
    "message", [b"", b"\xff" * 20, encode(Message(body="x"))[:-1], encode(Message(body="x", to="t"))[:-1] + b"\xff"]
)
def test_what_has_no_reply_to_that_can_be_read_is_answered_to_nobody(message: bytes) -> None:
    with pytest.raises(macaque.MacaqueError) as raised:
        decode_request(message)
    assert raised.value.asked is None  # type: ignore[attr-defined]


def test_a_pydantic_model_is_sent_as_its_json() -> None:
    class Bill(pydantic.BaseModel):
        total: Decimal = pydantic.Field(alias="sum")

    message = encode_request("u", "t", [Bill(sum=Decimal("1.5"))], "r", now=0.0, timeout=5)
    assert decode_request(message).data == [{"sum": "1.5"}]
