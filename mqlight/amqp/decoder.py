"""Decode AMQP 1.0 values from untrusted bytes (AMQP 1.0 part 1).

The rules of this file:

* Every length is checked against the bytes that are left. Counts are bounded by the bytes that carry them, nesting by
  :data:`MAX_DEPTH`. The public functions raise :class:`CodecError` only.
* :mod:`mqlight.amqp.values` has the table of Python and AMQP types.
* A list as the key of a map is decoded as a ``tuple``, which encodes as a list. A map as a key is refused, and so are
  two keys that are equal in Python.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any
from uuid import UUID

from mqlight.amqp import values
from mqlight.amqp.constructors import ARRAY8, FALSE, KINDS, LIST0, TRUE, WIDTHS
from mqlight.amqp.values import Array, CodecError, Described

MAX_DEPTH = 32
"""The deepest nesting of lists, maps, arrays and described values."""

MAX_ZERO_WIDTH = 256
"""The most array elements without bytes (such as null) that one decode may produce. They cost time and take no data."""

MAX_VALUES = 1 << 20
"""The most values in the lists, maps and arrays of one decode. A value of one byte takes 64 bytes in Python."""

ODD_KEYS = 1024
"""The most map keys in one decode that are UUIDs. A list, array or described value as a key counts as 16.

A peer can choose the hashes of such keys, and the time for keys of one hash grows with the square of their number."""


def decode(data: bytes) -> Any:
    """Return the one value in ``data``. Raises CodecError when ``data`` is not exactly one well-formed AMQP value."""
    value, at = Reader(bytes(data)).read(0, len(data))
    if at != len(data):
        raise CodecError(f"{len(data) - at} bytes follow the value, where the data should end.")
    return value


def read(data: bytes, at: int, end: int) -> tuple[Any, int]:
    """Return the value that starts at offset ``at`` and ends before ``end``, and the offset behind it."""
    return Reader(data).read(at, end)


def skip(data: bytes, at: int, end: int) -> int:
    """Return the offset behind the value at ``at``. Only the value's size is read, not its content."""
    for _ in range(MAX_DEPTH + 1):
        if at >= end:
            raise _truncated(at)
        code = data[at]
        if code:
            return skip_payload(data, code, at + 1, end)
        at = skip(data, at + 1, end) if at + 1 < end and data[at + 1] else _no_descriptor(at)
    raise CodecError(f"Values are described more than {MAX_DEPTH} deep at byte {at} (MAX_DEPTH).")


def skip_payload(data: bytes, code: int, at: int, end: int) -> int:
    """Return the offset behind the payload of constructor ``code``, which starts at ``at`` (AMQP 1.0 section 1.2)."""
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
    """Return a value for an error message, in at most 80 characters."""
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
    """Return the depth inside a container at ``depth``. Raises CodecError beyond MAX_DEPTH."""
    if depth >= MAX_DEPTH:
        raise CodecError(f"Values nest deeper than {MAX_DEPTH} (MAX_DEPTH).")
    return depth + 1


def too_many() -> CodecError:
    """Return the error for more than MAX_VALUES values."""
    return CodecError(f"There are more than {MAX_VALUES} values in lists, maps and arrays (MAX_VALUES).")


def _unsigned_int(kind: type[int]) -> Callable[[bytes], Any]:
    return lambda raw: kind(int.from_bytes(raw, "big"))


def _signed_int(kind: type[int]) -> Callable[[bytes], Any]:
    return lambda raw: kind(int.from_bytes(raw, "big", signed=True))


def _boolean(raw: bytes) -> bool:
    if raw[0] > 1:
        raise CodecError(f"A boolean is 0 or 1, not {raw[0]}.")
    return raw[0] == 1


_DECODERS_BY_TYPE: dict[str, Callable[[bytes], Any]] = {
    "null": lambda raw: None,
    "boolean": _boolean,
    "ubyte": _unsigned_int(values.Ubyte),
    "ushort": _unsigned_int(values.Ushort),
    "uint": _unsigned_int(values.Uint),
    "ulong": _unsigned_int(values.Ulong),
    "byte": _signed_int(values.Byte),
    "short": _signed_int(values.Short),
    "int": _signed_int(values.Int),
    "long": _signed_int(int),
    "float": lambda raw: values.Float(struct.unpack(">f", raw)[0]),
    "double": lambda raw: struct.unpack(">d", raw)[0],
    "decimal32": values.Decimal32,
    "decimal64": values.Decimal64,
    "decimal128": values.Decimal128,
    "char": lambda raw: values.Char(raw.decode("utf-32-be")),
    "timestamp": _signed_int(values.Timestamp),
    "uuid": lambda raw: UUID(bytes=raw),
    "binary": lambda raw: raw,
    "string": lambda raw: raw.decode(),
    "symbol": lambda raw: values.Symbol(raw.decode("ascii")),
}
_DECODERS: dict[int, Callable[[bytes], Any]] = {
    **{code: _DECODERS_BY_TYPE[kind] for code, kind in KINDS.items() if kind in _DECODERS_BY_TYPE},
    TRUE: lambda raw: True,
    FALSE: lambda raw: False,
    LIST0: lambda raw: [],
}


class Reader:
    """One decode of one or more values: the data, and what is left of three limits.

    The limits are those on values in containers, on array elements without bytes, and on map keys that are neither
    text nor numbers.
    """

    __slots__ = ("allowance", "data", "keys", "values")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.allowance = MAX_ZERO_WIDTH
        self.keys = ODD_KEYS
        self.values = MAX_VALUES

    def read(self, at: int, end: int) -> tuple[Any, int]:
        """Do as the function :func:`read` does."""
        return self.value(at, end, 0)

    def value(self, at: int, end: int, depth: int) -> tuple[Any, int]:
        """Return the value at ``at``, which is inside ``depth`` containers, and the offset behind it."""
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
        """Return the descriptor of the described value at ``at``, and the offset behind the descriptor."""
        if at + 1 < end and self.data[at + 1] == 0:
            _no_descriptor(at)
        return self.value(at + 1, end, depth)

    def payload(self, code: int, at: int, end: int, depth: int) -> tuple[Any, int]:
        """Return the value of constructor ``code`` whose payload starts at ``at``, and the offset behind it."""
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
        if code >= ARRAY8:
            value, at = self.array(count, start, stop, depth)
        else:
            # Every element has at least the byte of its constructor.
            if count > stop - start:
                raise CodecError(f"The {KINDS[code]} at byte {at} claims {count} elements in {stop - start} bytes.")
            self.take(count)
            value, at = (self.map if KINDS[code] == "map" else self.list)(count, start, stop, depth)
        if at != stop:
            raise CodecError(f"The {KINDS[code]} before byte {stop} has {stop - at} bytes too many.")
        return value, stop

    def take(self, count: int) -> None:
        """Count ``count`` values in a container. Raises CodecError beyond MAX_VALUES."""
        self.values -= count
        if self.values < 0:
            raise too_many()

    def list(self, count: int, at: int, end: int, depth: int) -> tuple[Any, int]:
        """Return the list of the ``count`` values at ``at``, and the offset behind them."""
        items = []
        for _ in range(count):
            item, at = self.value(at, end, depth)
            items.append(item)
        return items, at

    def map(self, count: int, at: int, end: int, depth: int) -> tuple[Any, int]:
        """Return the map of the ``count`` keys and values at ``at``, and the offset behind them."""
        if count % 2:
            raise CodecError(f"The map before byte {at} has {count} elements, and keys and values come in pairs.")
        items: dict[Any, Any] = {}
        for _ in range(count // 2):
            key, at = self.value(at, end, depth)
            if type(key) in _ODD:
                self.keys -= _ODD[type(key)]
                if self.keys < 0:
                    reason = f"There are too many keys such as {short(key)}: UUIDs, lists, described values"
                    raise CodecError(f"{reason} (ODD_KEYS).")
                key = _hashable(key)
            elif type(key) is dict:
                raise CodecError("A map is the key of a map, which Python cannot hold.")
            if key in items:
                raise CodecError(f"The map that ends at byte {end} has the key {short(key)} twice.")
            items[key], at = self.value(at, end, depth)
        return items, at

    def array(self, count: int, at: int, end: int, depth: int) -> tuple[Any, int]:
        """Return the array of ``count`` values whose one constructor is at ``at``, and the offset behind them."""
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
                reason = f"There are more than {MAX_ZERO_WIDTH} array elements without any bytes"
                raise CodecError(f"{reason} (MAX_ZERO_WIDTH).")
        elif count > end - at:
            raise CodecError(f"The array before byte {at} claims {count} elements in {end - at} bytes.")
        self.take(count)
        items = []
        for _ in range(count):
            item, at = self.payload(code, at, end, depth)
            items.append(item)
        return Array(KINDS[code], tuple(items), descriptor), at


_ODD = {UUID: 1, list: 16, Array: 16, Described: 16}


def _hashable(value: Any) -> Any:
    """Return ``value`` in a form that can be the key of a dict: lists become tuples."""
    if isinstance(value, dict):
        raise CodecError("A map is the key of a map, which Python cannot hold.")
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    if isinstance(value, Described):
        return Described(_hashable(value.descriptor), _hashable(value.value))
    if isinstance(value, Array):
        return Array(value.kind, tuple(map(_hashable, value.values)), _hashable(value.descriptor))
    return value
