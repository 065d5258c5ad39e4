"""Encode Python values in AMQP 1.0 (part 1). :mod:`mqlight.amqp.decoder` reads them back.

:mod:`mqlight.amqp.values` has the table of Python and AMQP types. Numbers and lengths take their shortest form. The
public functions raise :class:`CodecError` only.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sized
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from mqlight.amqp.constructors import (
    ARRAY8,
    CODES,
    FALSE,
    LIST0,
    LIST8,
    MAP8,
    NULL,
    STR8,
    STR32,
    SYM8,
    SYM32,
    TRUE,
    VBIN8,
    VBIN32,
    WIDEST,
)  # fmt: skip
from mqlight.amqp.decoder import MAX_DEPTH, MAX_VALUES, MAX_ZERO_WIDTH, decode, deeper, read, short, skip, too_many
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

__all__ = [
    "MAX_DEPTH",
    "MAX_VALUES",
    "MAX_ZERO_WIDTH",
    "Array",
    "Byte",
    "Char",
    "CodecError",
    "Decimal32",
    "Decimal64",
    "Decimal128",
    "Described",
    "Float",
    "Int",
    "Short",
    "Symbol",
    "Timestamp",
    "Ubyte",
    "Uint",
    "Ulong",
    "Ushort",
    "decode",
    "encode",
    "read",
    "skip",
]


def encode(value: Any) -> bytes:
    """Return the AMQP encoding of ``value``, each number and length in its shortest form.

    Raises:
        CodecError: AMQP cannot carry ``value``: an int beyond 64 bits, a type that is not in the table, nesting deeper
            than MAX_DEPTH (as in a list that holds itself), or a container of more than MAX_VALUES values.
    """
    try:
        return _encode(value, 0)
    except (UnicodeEncodeError, OverflowError, struct.error) as error:
        raise CodecError(f"{short(value)} cannot be sent: {error}.") from error


def encode_string(value: str) -> bytes:
    """Return ``value`` as an AMQP string. Raises UnicodeEncodeError for lone surrogates."""
    raw = value.encode()
    return (STRING8[len(raw)] if len(raw) < 256 else _STR32 + len(raw).to_bytes(4, "big")) + raw


def encode_binary(value: bytes) -> bytes:
    """Return ``value`` as AMQP binary."""
    return (BINARY8[len(value)] if len(value) < 256 else _VBIN32 + len(value).to_bytes(4, "big")) + value


def encode_symbol(value: str) -> bytes:
    """Return ``value`` as an AMQP symbol. Raises UnicodeEncodeError when it is not ASCII."""
    raw = value.encode("ascii")
    return (SYMBOL8[len(raw)] if len(raw) < 256 else _SYM32 + len(raw).to_bytes(4, "big")) + raw


def compound(narrow: int, count: int, content: bytes) -> bytes:
    """Return a list (``narrow`` LIST8), map (MAP8) or array (ARRAY8) of encoded elements, in its 8 or 32 bit form."""
    if len(content) < 255 and count < 256:
        return bytes((narrow, len(content) + 1, count)) + content
    return bytes((narrow + 0x10,)) + (len(content) + 4).to_bytes(4, "big") + count.to_bytes(4, "big") + content


BINARY8 = tuple(bytes((VBIN8, size)) for size in range(256))
STRING8 = tuple(bytes((STR8, size)) for size in range(256))
SYMBOL8 = tuple(bytes((SYM8, size)) for size in range(256))
_VBIN32, _STR32, _SYM32 = bytes((VBIN32,)), bytes((STR32,)), bytes((SYM32,))
_NULL, _TRUE, _FALSE, _LIST0 = bytes((NULL,)), bytes((TRUE,)), bytes((FALSE,)), bytes((LIST0,))
_CHAR, _TIMESTAMP, _UUID = (bytes(CODES[kind]) for kind in ("char", "timestamp", "uuid"))


def _integer(kind: str, size: int, signed: bool) -> Callable[[int, int], bytes]:
    wide_code, narrow_code = (bytes((code,)) for code in CODES[kind][:2])
    low, high = (-128, 128) if signed else (0, 256)

    def encode_integer(value: int, depth: int) -> bytes:
        if low <= value < high:
            return narrow_code + value.to_bytes(1, "big", signed=signed)
        return wide_code + value.to_bytes(size, "big", signed=signed)

    return encode_integer


def _fixed(kind: str, format: str) -> Callable[[Any, int], bytes]:
    prefix, pack = bytes(CODES[kind]), struct.Struct(">" + format).pack
    return lambda value, depth: prefix + pack(value)


def _opaque(kind: str, size: int) -> Callable[[bytes, int], bytes]:
    prefix = bytes(CODES[kind])

    def encode_opaque(value: bytes, depth: int) -> bytes:
        if len(value) != size:
            raise CodecError(f"{short(value)} has {len(value)} bytes where its AMQP type has {size}.")
        return prefix + value

    return encode_opaque


def _unsigned(kind: str, size: int) -> Callable[[int, int], bytes]:
    nonzero, nothing = _integer(kind, size, False), bytes(CODES[kind][2:])
    return lambda value, depth: nonzero(value, depth) if value else nothing


def _encode_char(value: str, depth: int) -> bytes:
    if len(value) != 1:
        raise CodecError(f"{short(value)} is {len(value)} characters where a char is one.")
    return _CHAR + value.encode("utf-32-be")


def _encode_datetime(value: datetime, depth: int) -> bytes:
    if value.utcoffset() is None:
        raise CodecError(f"{value!r} has no time zone; give it one, such as timezone.utc.")
    since = value - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return _TIMESTAMP + (since // timedelta(milliseconds=1)).to_bytes(8, "big", signed=True)


def _inside(values: Sized, depth: int) -> int:
    """Return the depth of a container's values. Raises CodecError if they are too deep or too many."""
    if len(values) > MAX_VALUES:
        raise too_many()
    return deeper(depth)


def _encode_list(value: Any, depth: int) -> bytes:
    if not value:
        return _LIST0
    depth = _inside(value, depth)
    return compound(LIST8, len(value), b"".join([_encode(item, depth) for item in value]))


def _encode_map(value: dict[Any, Any], depth: int) -> bytes:
    depth = _inside(value, depth)
    return compound(MAP8, 2 * len(value), b"".join([_encode(item, depth) for pair in value.items() for item in pair]))


def _encode_described(value: Described, depth: int) -> bytes:
    depth = deeper(depth)
    descriptor = _encode(value.descriptor, depth)
    if descriptor[0] == 0:
        raise CodecError(f"The descriptor {short(value.descriptor)} is itself described; use a Symbol or a Ulong.")
    return b"\x00" + descriptor + _encode(value.value, depth)


def _encode_array(value: Array, depth: int) -> bytes:
    depth = _inside(value.values, depth)
    code = WIDEST.get(value.kind)
    if code is None:
        raise CodecError(f"{value.kind!r} is not the name of an AMQP type; use one of {', '.join(WIDEST)}.")
    constructor = bytes((code,))
    if value.descriptor is not None:
        constructor = _encode_described(Described(value.descriptor, None), depth)[:-1] + constructor
    content = constructor + b"".join([_element(value.kind, item, depth) for item in value.values])
    return compound(ARRAY8, len(value.values), content)


def _element(kind: str, item: Any, depth: int) -> bytes:
    """Return ``item`` as an array holds it: in the widest form of ``kind``, without its constructor."""
    try:
        if kind == "boolean":
            return b"\x01" if item is True else b"\x00" if item is False else _wrong_element(kind, item)
        if kind in _SIZES:
            size, signed = _SIZES[kind]
            if not isinstance(item, int):
                return _wrong_element(kind, item)
            return item.to_bytes(size, "big", signed=signed)
        cast = _CASTS[kind]
        if not isinstance(item, cast[0]):
            return _wrong_element(kind, item)
        encoded = _ENCODERS[cast[1]](item, depth)
    except TypeError:
        return _wrong_element(kind, item)
    code, wide = encoded[0], WIDEST[kind]
    if code == wide:
        return encoded[1:]
    if code == LIST0:
        return b"\x00\x00\x00\x04\x00\x00\x00\x00"
    if code < LIST8:
        return len(encoded[2:]).to_bytes(4, "big") + encoded[2:]
    return (len(encoded) + 1).to_bytes(4, "big") + encoded[2].to_bytes(4, "big") + encoded[3:]


def _wrong_element(kind: str, item: Any) -> bytes:
    raise CodecError(f"{short(item)} cannot stand in an array of {kind}.")


def _encode(value: Any, depth: int) -> bytes:
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        for base in type(value).__mro__:
            if base in _ENCODERS:
                return _ENCODERS[base](value, depth)
        raise CodecError(f"{short(value)} is of type {type(value).__name__}, which AMQP has no place for.")
    return encoder(value, depth)


_ENCODERS: dict[type, Callable[[Any, int], bytes]] = {
    type(None): lambda value, depth: _NULL,
    bool: lambda value, depth: _TRUE if value else _FALSE,
    int: _integer("long", 8, True),
    float: _fixed("double", "d"),
    str: lambda value, depth: encode_string(value),
    bytes: lambda value, depth: encode_binary(value),
    bytearray: lambda value, depth: encode_binary(bytes(value)),
    memoryview: lambda value, depth: encode_binary(bytes(value)),
    list: _encode_list,
    tuple: _encode_list,
    dict: _encode_map,
    UUID: lambda value, depth: _UUID + value.bytes,
    datetime: _encode_datetime,
    Ubyte: _fixed("ubyte", "B"),
    Ushort: _fixed("ushort", "H"),
    Uint: _unsigned("uint", 4),
    Ulong: _unsigned("ulong", 8),
    Byte: _fixed("byte", "b"),
    Short: _fixed("short", "h"),
    Int: _integer("int", 4, True),
    Timestamp: _fixed("timestamp", "q"),
    Float: _fixed("float", "f"),
    Char: _encode_char,
    Symbol: lambda value, depth: encode_symbol(value),
    Decimal32: _opaque("decimal32", 4),
    Decimal64: _opaque("decimal64", 8),
    Decimal128: _opaque("decimal128", 16),
    Described: _encode_described,
    Array: _encode_array,
}

_SIZES = {
    "ubyte": (1, False), "ushort": (2, False), "uint": (4, False), "ulong": (8, False),
    "byte": (1, True), "short": (2, True), "int": (4, True), "long": (8, True), "timestamp": (8, True),
}  # fmt: skip

_CASTS: dict[str, tuple[Any, type]] = {
    "null": (type(None), type(None)), "float": ((float, int), Float), "double": ((float, int), float),
    "decimal32": (bytes, Decimal32), "decimal64": (bytes, Decimal64), "decimal128": (bytes, Decimal128),
    "char": (str, Char), "uuid": (UUID, UUID), "binary": (bytes, bytes), "string": (str, str), "symbol": (str, Symbol),
    "list": ((list, tuple), list), "map": (dict, dict), "array": (Array, Array),
}  # fmt: skip
