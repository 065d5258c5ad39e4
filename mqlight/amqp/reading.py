"""Read AMQP 1.0 values out of bytes that come from strangers (AMQP 1.0 part 1).

The rules of this file:

* Every length is checked against what is left, counts are bounded by the bytes that carry them, nesting by
  :data:`MAX_DEPTH`. Only :class:`CodecError` comes out.
* Which Python type stands for which AMQP type is the table of :mod:`mqlight.amqp.values`.
* A list used as the key of a map reads as a ``tuple``, which encodes as a list. A map as a key is refused, and so are
  two keys that are equal in Python.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any
from uuid import UUID

from mqlight.amqp.constructors import KINDS, WIDTHS
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

MAX_DEPTH = 32
"""How deep lists, maps, arrays and described values may nest."""

MAX_ZERO_WIDTH = 65_536
"""How many array elements that take no bytes (null, say) one decode may bring forth."""


ODD_KEYS = 1024
"""How many keys of maps may be UUIDs in one decode. Others whose hash a stranger can choose (lists, arrays, described
values) count as 16: keys of one hash take time that grows with the square of their number."""


def decode(data: bytes) -> Any:
    """The one value that ``data`` encodes. Raises CodecError when it is not exactly one well-formed AMQP value."""
    value, at = Reader(bytes(data)).read(0, len(data))
    if at != len(data):
        raise CodecError(f"{len(data) - at} bytes follow the value, where the data should end.")
    return value


def read(data: bytes, at: int, end: int) -> tuple[Any, int]:
    """Decode the value that starts at offset ``at`` and lies wholly before ``end``: it, and the offset behind it."""
    return Reader(data).read(at, end)


def skip(data: bytes, at: int, end: int) -> int:
    """The offset behind the value at ``at``, found from its size alone: what is inside is not looked at."""
    for _ in range(MAX_DEPTH + 1):
        if at >= end:
            raise _truncated(at)
        code = data[at]
        if code:
            return skip_payload(data, code, at + 1, end)
        at = skip(data, at + 1, end) if at + 1 < end and data[at + 1] else _no_descriptor(at)
    raise CodecError(f"Values are described more than {MAX_DEPTH} deep at byte {at}.")


def skip_payload(data: bytes, code: int, at: int, end: int) -> int:
    """The offset behind the payload of constructor ``code``, which starts at ``at`` (AMQP 1.0 section 1.2)."""
    if code not in KINDS:
        raise _unknown(code, at)
    width = WIDTHS[code >> 4]
    if width < 0:
        start = at - width
        if start > end:
            raise _truncated(at)
        stop = start + int.from_bytes(data[at:start], "big")
    else:
        stop = at + width
    if stop > end:
        raise _truncated(at)
    return stop


def short(value: Any) -> str:
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # a deep list; an int of more digits than Python prints
        text = f"A {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def _truncated(at: int) -> CodecError:
    return CodecError(f"The data ends, or its container ends, inside the value at byte {at}.")


def _unknown(code: int, at: int) -> CodecError:
    return CodecError(f"0x{code:02x} before byte {at} is not the code of an AMQP type.")


def _no_descriptor(at: int) -> int:
    raise CodecError(f"The described value at byte {at} has no descriptor, or one that is described itself.")


def deeper(depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise CodecError(f"Values nest deeper than {MAX_DEPTH}.")
    return depth + 1


def _unsigned_int(kind: type[int]) -> Callable[[bytes], Any]:
    return lambda raw: kind(int.from_bytes(raw, "big"))


def _signed_int(kind: type[int]) -> Callable[[bytes], Any]:
    return lambda raw: kind(int.from_bytes(raw, "big", signed=True))


def _boolean(raw: bytes) -> bool:
    if raw[0] > 1:
        raise CodecError(f"A boolean is 0 or 1, not {raw[0]}.")
    return raw[0] == 1


_DECODERS: dict[int, Callable[[bytes], Any]] = {
    0x40: lambda raw: None,
    0x41: lambda raw: True,
    0x42: lambda raw: False,
    0x43: _unsigned_int(Uint),
    0x44: _unsigned_int(Ulong),
    0x45: lambda raw: [],
    0x50: _unsigned_int(Ubyte),
    0x51: _signed_int(Byte),
    0x52: _unsigned_int(Uint),
    0x53: _unsigned_int(Ulong),
    0x54: _signed_int(Int),
    0x55: _signed_int(int),
    0x56: _boolean,
    0x60: _unsigned_int(Ushort),
    0x61: _signed_int(Short),
    0x70: _unsigned_int(Uint),
    0x71: _signed_int(Int),
    0x72: lambda raw: Float(struct.unpack(">f", raw)[0]),
    0x73: lambda raw: Char(raw.decode("utf-32-be")),
    0x74: Decimal32,
    0x80: _unsigned_int(Ulong),
    0x81: _signed_int(int),
    0x82: lambda raw: struct.unpack(">d", raw)[0],
    0x83: _signed_int(Timestamp),
    0x84: Decimal64,
    0x94: Decimal128,
    0x98: lambda raw: UUID(bytes=raw),
    0xA0: lambda raw: raw,
    0xA1: lambda raw: raw.decode(),
    0xA3: lambda raw: Symbol(raw.decode("ascii")),
    0xB0: lambda raw: raw,
    0xB1: lambda raw: raw.decode(),
    0xB3: lambda raw: Symbol(raw.decode("ascii")),
}


class Reader:
    """One decode of one or more values: the data, how many zero-width array elements it may still bring forth, and how
    many keys of maps that are neither text nor numbers.
    """

    __slots__ = ("allowance", "data", "keys")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.allowance = MAX_ZERO_WIDTH
        self.keys = ODD_KEYS

    def read(self, at: int, end: int) -> tuple[Any, int]:
        """As :func:`read`."""
        return self.value(at, end, 0)

    def value(self, at: int, end: int, depth: int) -> tuple[Any, int]:
        if at >= end:
            raise _truncated(at)
        code = self.data[at]
        if code:
            return self.payload(code, at + 1, end, depth)
        depth = deeper(depth)
        descriptor, at = self.descriptor(at, end, depth)
        value, at = self.value(at, end, depth)
        return Described(descriptor, value), at

    def descriptor(self, at: int, end: int, depth: int) -> tuple[Any, int]:
        if at + 1 < end and self.data[at + 1] == 0:
            _no_descriptor(at)
        return self.value(at + 1, end, depth)

    def payload(self, code: int, at: int, end: int, depth: int) -> tuple[Any, int]:
        """The value whose constructor ``code`` has been read and whose payload starts at ``at``."""
        stop = skip_payload(self.data, code, at, end)
        width = WIDTHS[code >> 4]
        decoder = _DECODERS.get(code)
        if decoder is not None:
            try:
                return decoder(self.data[at - width if width < 0 else at : stop]), stop
            except UnicodeDecodeError as error:
                raise CodecError(f"The {KINDS[code]} at byte {at} is not valid {error.encoding}.") from error
        depth = deeper(depth)
        start = at - 2 * width  # behind size and count
        if start > stop:
            raise _truncated(at)
        count = int.from_bytes(self.data[at - width : start], "big")
        if code >= 0xE0:
            value, at = self.array(count, start, stop, depth)
        else:
            # Every element has at least the byte of its constructor.
            if count > stop - start:
                raise CodecError(f"The {KINDS[code]} at byte {at} claims {count} elements in {stop - start} bytes.")
            value, at = (self.map if code & 1 else self.list)(count, start, stop, depth)
        if at != stop:
            raise CodecError(f"The {KINDS[code]} before byte {stop} has {stop - at} bytes too many.")
        return value, stop

    def list(self, count: int, at: int, end: int, depth: int) -> tuple[Any, int]:
        items = []
        for _ in range(count):
            item, at = self.value(at, end, depth)
            items.append(item)
        return items, at

    def map(self, count: int, at: int, end: int, depth: int) -> tuple[Any, int]:
        if count % 2:
            raise CodecError(f"The map before byte {at} has {count} elements, and keys and values come in pairs.")
        items: dict[Any, Any] = {}
        for _ in range(count // 2):
            key, at = self.value(at, end, depth)
            if type(key) in _ODD:
                self.keys -= _ODD[type(key)]
                if self.keys < 0:
                    raise CodecError(f"There are too many keys such as {short(key)}: UUIDs, lists, described values.")
                key = _hashable(key)
            elif type(key) is dict:
                raise CodecError("A map is the key of a map, which Python cannot hold.")
            if key in items:
                raise CodecError(f"The map that ends at byte {end} has the key {short(key)} twice.")
            items[key], at = self.value(at, end, depth)
        return items, at

    def array(self, count: int, at: int, end: int, depth: int) -> tuple[Any, int]:
        if at >= end:
            raise _truncated(at)
        descriptor = None
        if self.data[at] == 0:
            descriptor, at = self.descriptor(at, end, depth)
            if at >= end:
                raise _truncated(at)
        code = self.data[at]
        at += 1
        if code not in KINDS:
            raise _unknown(code, at)
        if WIDTHS[code >> 4] == 0:
            self.allowance -= count
            if self.allowance < 0:
                raise CodecError(f"There are more than {MAX_ZERO_WIDTH} array elements without any bytes.")
        elif count > end - at:
            raise CodecError(f"The array before byte {at} claims {count} elements in {end - at} bytes.")
        items = []
        for _ in range(count):
            item, at = self.payload(code, at, end, depth)
            items.append(item)
        return Array(KINDS[code], tuple(items), descriptor), at


_ODD = {UUID: 1, list: 16, Array: 16, Described: 16}


def _hashable(value: Any) -> Any:
    """``value`` as it can be the key of a dict: lists become tuples."""
    if isinstance(value, dict):
        raise CodecError("A map is the key of a map, which Python cannot hold.")
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    if isinstance(value, Described):
        return Described(_hashable(value.descriptor), _hashable(value.value))
    if isinstance(value, Array):
        return Array(value.kind, tuple(map(_hashable, value.values)), _hashable(value.descriptor))
    return value
