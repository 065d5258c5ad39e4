"""Values of AMQP as plain Python, for services whose clients know only AMQP 1.0.

A service does not tell a ulong from an int, so it can return a value that it was given. The table is in
docs/services.md.
"""

from __future__ import annotations

from typing import Any

from mqlight.amqp.codec import Array, Decimal32, Decimal64, Decimal128, Described

__all__ = ["plain"]

_DECIMALS = (Decimal32, Decimal64, Decimal128)


def plain(value: Any) -> Any:
    """Return a decoded AMQP value as plain Python.

    Numbers are int or float, a timestamp the int of its milliseconds since 1970, a symbol or char str, an array a list.
    Of a described value (AMQP 1.0 section 1.3) only the value is kept. A list in the key of a map is a tuple.

    Raises:
        TypeError: the value contains a decimal, whose digits are not read.
    """
    kind = type(value)
    if value is None or kind in _PLAIN:
        return value
    if kind is list:
        return [plain(item) for item in value]
    if kind is dict:
        return {_key(key): plain(item) for key, item in value.items()}
    if kind is Array:
        return [plain(item) for item in value.values]
    if kind is Described:
        return plain(value.value)
    if kind is tuple:
        return tuple(plain(item) for item in value)
    if kind in _DECIMALS:
        raise TypeError(f"it holds a {kind.__name__.lower()}, which is not read: send a string or a double")
    for base in (int, float, str):
        if isinstance(value, base):
            return base(value)
    return value  # a UUID


_PLAIN = (str, int, float, bool, bytes)


def _key(value: Any) -> Any:
    """Return the plain value in a hashable form."""
    key = plain(value)
    return tuple(map(_key, key)) if isinstance(key, list) else key
