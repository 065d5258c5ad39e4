"""List the constructors of AMQP 1.0 values (section 1.6), in one table for encoder, decoder and skipper.

The high half of the code gives the width of the payload (section 1.2). A positive width is the payload's bytes. A
negative one is the bytes of a length, which the payload follows.
"""

from __future__ import annotations

from typing import Final

TABLE: Final[tuple[tuple[str, tuple[int, ...]], ...]] = (
    # The name of the type, and its codes. The widest code comes first; arrays use that one.
    ("null", (0x40,)),
    ("boolean", (0x56, 0x41, 0x42)),
    ("ubyte", (0x50,)),
    ("ushort", (0x60,)),
    ("uint", (0x70, 0x52, 0x43)),
    ("ulong", (0x80, 0x53, 0x44)),
    ("byte", (0x51,)),
    ("short", (0x61,)),
    ("int", (0x71, 0x54)),
    ("long", (0x81, 0x55)),
    ("float", (0x72,)),
    ("double", (0x82,)),
    ("decimal32", (0x74,)),
    ("decimal64", (0x84,)),
    ("decimal128", (0x94,)),
    ("char", (0x73,)),
    ("timestamp", (0x83,)),
    ("uuid", (0x98,)),
    ("binary", (0xB0, 0xA0)),
    ("string", (0xB1, 0xA1)),
    ("symbol", (0xB3, 0xA3)),
    ("list", (0xD0, 0xC0, 0x45)),
    ("map", (0xD1, 0xC1)),
    ("array", (0xF0, 0xE0)),
)

CODES: Final[dict[str, tuple[int, ...]]] = dict(TABLE)
"""The codes of a type."""
(NULL,) = CODES["null"]
_, TRUE, FALSE = CODES["boolean"]
VBIN32, VBIN8 = CODES["binary"]
STR32, STR8 = CODES["string"]
SYM32, SYM8 = CODES["symbol"]
LIST32, LIST8, LIST0 = CODES["list"]
MAP32, MAP8 = CODES["map"]
ARRAY32, ARRAY8 = CODES["array"]

WIDEST: Final[dict[str, int]] = {name: codes[0] for name, codes in TABLE}
"""The code of a type in an array."""

KINDS: Final[dict[int, str]] = {code: name for name, codes in TABLE for code in codes}
"""The type that a code stands for."""

WIDTHS: Final = (0, 0, 0, 0, 0, 1, 2, 4, 8, 16, -1, -4, -1, -4, -1, -4)
"""The payload's width by the high half of the code."""


def codes_of(*names: str) -> frozenset[int]:
    """Return all codes of the types ``names``."""
    return frozenset([code for code, name in KINDS.items() if name in names])
