"""Define Python types for the AMQP 1.0 types that have no equal in Python (AMQP 1.0 section 1.6).

A value keeps its AMQP type through decode and encode. For other code a decoded ``Uint(5)`` is an ``int``, and a
``Symbol`` is a ``str``.

| AMQP                                  | Python                                                            |
|---------------------------------------|-------------------------------------------------------------------|
| null, boolean, long, double           | ``None``, ``bool``, ``int``, ``float``                            |
| string, binary, uuid, list, map       | ``str``, ``bytes``, ``uuid.UUID``, ``list``, ``dict``             |
| ubyte .. ulong, byte, short, int      | `Ubyte`, `Ushort`, `Uint`, `Ulong`, `Byte`, `Short`, `Int`        |
| float, char, symbol                   | `Float`, `Char`, `Symbol`                                         |
| timestamp                             | `Timestamp` (ms since 1970); an aware ``datetime`` encodes too    |
| decimal32, decimal64, decimal128      | `Decimal32`, `Decimal64`, `Decimal128`: their bytes, not read     |
| array, described types                | `Array`, `Described`                                              |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class CodecError(ValueError):
    """The bytes are not an AMQP value, or AMQP cannot carry a Python value."""


class Ubyte(int):
    """0 to 2**8 - 1."""


class Ushort(int):
    """0 to 2**16 - 1."""


class Uint(int):
    """0 to 2**32 - 1."""


class Ulong(int):
    """0 to 2**64 - 1."""


class Byte(int):
    """-2**7 to 2**7 - 1."""


class Short(int):
    """-2**15 to 2**15 - 1."""


class Int(int):
    """-2**31 to 2**31 - 1."""


class Timestamp(int):
    """Milliseconds since 1970-01-01 UTC, 64 bits with sign."""


class Float(float):
    """A number that travels as IEEE 754 binary32."""


class Char(str):
    """One Unicode character."""


class Symbol(str):
    """A name of ASCII characters."""


class Decimal32(bytes):
    """The 4 bytes of an IEEE 754 decimal32."""


class Decimal64(bytes):
    """The 8 bytes of an IEEE 754 decimal64."""


class Decimal128(bytes):
    """The 16 bytes of an IEEE 754 decimal128."""


@dataclass(frozen=True)
class Described:
    """A value with a descriptor, by custom a :class:`Symbol` or a :class:`Ulong`."""

    descriptor: Any
    value: Any


@dataclass(frozen=True)
class Array:
    """Values of one AMQP type. ``kind`` is the type's name in AMQP: ``symbol``, ``uint``, ``list`` and so on."""

    kind: str
    values: tuple[Any, ...] = ()
    descriptor: Any = None
