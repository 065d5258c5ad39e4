"""Read and write the sections of an AMQP message: numbers, order, fields and framing (AMQP 1.0 section 3.2).

Bytes are untrusted. The functions here raise only :class:`MessageError`, the codec's
:class:`~mqlight.amqp.values.CodecError`, and IndexError if the data ends early. The callers turn all of them into
MessageError.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import index
from typing import Any
from uuid import UUID

from mqlight.amqp import codec
from mqlight.amqp.codec import CodecError, Symbol, Timestamp, Ubyte, Uint, Ulong
from mqlight.amqp.constructors import KINDS, LIST0, LIST8, LIST32, NULL, STR8, SYM8, WIDTHS, codes_of
from mqlight.amqp.decoder import Reader, short
from mqlight.amqp.fast_messages import FIRST_HEADER, FIRST_TTL_HEADER_END, PLAIN_HEADER, TTL_HEADER, TTL_HEADER_END


class MessageError(ValueError):
    """The bytes are not an AMQP message, or a Message cannot be encoded. The text names the fault."""


HEADER, DELIVERY_ANNOTATIONS, ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES = range(0x70, 0x75)
DATA, SEQUENCE, VALUE, FOOTER = range(0x75, 0x79)

NAMES = {
    HEADER: "header", DELIVERY_ANNOTATIONS: "delivery-annotations", ANNOTATIONS: "message-annotations",
    PROPERTIES: "properties", APPLICATION_PROPERTIES: "application-properties", DATA: "data",
    SEQUENCE: "amqp-sequence", VALUE: "amqp-value", FOOTER: "footer",
}  # fmt: skip
_SYMBOLS = {
    "amqp:header:list": HEADER, "amqp:delivery-annotations:map": DELIVERY_ANNOTATIONS,
    "amqp:message-annotations:map": ANNOTATIONS, "amqp:properties:list": PROPERTIES,
    "amqp:application-properties:map": APPLICATION_PROPERTIES, "amqp:data:binary": DATA,
    "amqp:amqp-sequence:list": SEQUENCE, "amqp:amqp-value:*": VALUE, "amqp:footer:map": FOOTER,
}  # fmt: skip
_LISTS, _MAPS, _BINARIES = codes_of("list"), codes_of("map"), codes_of("binary")
_SHAPES = {
    HEADER: _LISTS, DELIVERY_ANNOTATIONS: _MAPS, ANNOTATIONS: _MAPS, PROPERTIES: _LISTS,
    APPLICATION_PROPERTIES: _MAPS, DATA: _BINARIES, SEQUENCE: _LISTS, FOOTER: _MAPS, VALUE: frozenset((*KINDS, 0)),
}  # fmt: skip
"""The constructors that a section's value may have; 0 begins a described value."""
_NONE: frozenset[int] = frozenset()
_SHORT = frozenset(code for code in KINDS if WIDTHS[code >> 4] == -1)

# The thirteen fields of the properties section: name, types of the value in Python, and the constructor that is read
# without the codec (-1: none).
_STRINGS, IDS = (str,), (str, bytes, UUID, Ulong)
FIELDS: tuple[tuple[str, tuple[type, ...], int], ...] = (
    ("message_id", IDS, STR8),
    ("user_id", (bytes,), -1),
    ("to", _STRINGS, STR8),
    ("subject", _STRINGS, STR8),
    ("reply_to", _STRINGS, STR8),
    ("correlation_id", IDS, STR8),
    ("content_type", (Symbol,), SYM8),
    ("content_encoding", (Symbol,), SYM8),
    ("absolute_expiry_time", (Timestamp,), -1),
    ("creation_time", (Timestamp,), -1),
    ("group_id", _STRINGS, STR8),
    ("group_sequence", (Uint,), -1),
    ("reply_to_group_id", _STRINGS, STR8),
)
_COMMON = tuple(tuple(field[2] for field in FIELDS[:count]) for count in range(len(FIELDS) + 1))
_ABSENT: tuple[list[None], ...] = tuple([None] * (len(FIELDS) - count) for count in range(len(FIELDS) + 1))
NO_FIELDS: list[Any] = [None] * len(FIELDS)
HEADER_FIELDS: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("durable", (bool,)),
    ("priority", (Ubyte,)),
    ("ttl", (Uint,)),
    ("first_acquirer", (bool,)),
    ("delivery_count", (Uint,)),
)
KEYWORDS = {
    DELIVERY_ANNOTATIONS: "delivery_annotations", ANNOTATIONS: "annotations",
    APPLICATION_PROPERTIES: "properties", FOOTER: "footer",
}  # fmt: skip

MOST_DESCRIPTOR = MOST_HEADER = 64
"""The most bytes of a descriptor or header: no valid one has more. A longer one is refused before a slow decode."""

_SERVICE = re.compile("^amqps?://[^/]*/")


def topic_of(to: str) -> str:
    """Return the topic in a message's ``to``. The service part of a URL is removed, once."""
    return _SERVICE.sub("", to, count=1) if to.startswith("amqp") else to


def header(
    ttl: int | None = None,
    delivery_count: int = 0,
    durable: bool = False,
    priority: int = 4,
    first_acquirer: bool = False,
) -> bytes:
    """Return a header section with all five fields. ``ttl`` is in ms.

    Raises:
        MessageError: ttl or delivery count is not in 0 to 2**32 - 1, or priority is not in 0 to 255.
    """
    try:
        if priority == 4 and not delivery_count and not durable:
            if ttl is None:
                return FIRST_HEADER if first_acquirer else PLAIN_HEADER
            return TTL_HEADER + ttl.to_bytes(4, "big") + (FIRST_TTL_HEADER_END if first_acquirer else TTL_HEADER_END)
        return full_header(ttl, delivery_count, durable, priority, first_acquirer)
    except (OverflowError, AttributeError, TypeError, CodecError) as error:
        raise MessageError(
            f"A header takes ttl and delivery count below 2**32 and priority below 256, not {ttl}, {delivery_count} "
            f"and {priority}."
        ) from error


def full_header(ttl: int | None, delivery_count: int, durable: bool, priority: int, first_acquirer: bool) -> bytes:
    """Return a header section of any values. Raises CodecError or TypeError unless each number is in its range."""
    remaining = None if ttl is None else Uint(index(ttl))
    fields = [bool(durable), Ubyte(index(priority)), remaining, bool(first_acquirer), Uint(index(delivery_count))]
    return b"\x00Sp" + codec.encode(fields)


def read_properties(data: bytes, at: int, end: int) -> tuple[list[Any], int]:
    """Return the thirteen fields of the properties list at ``at``, and the offset behind the list."""
    count, at, stop = list_at(data, at, end)
    if count > len(FIELDS):
        raise MessageError(f"The properties have {count} fields; there are {len(FIELDS)}.")
    fields: list[Any] = []
    for common in _COMMON[count]:
        code = data[at]
        if code == NULL:
            fields.append(None)
            at += 1
        elif code == common:
            start = at + 2
            at = start + data[at + 1]
            fields.append(data[start:at].decode() if code == STR8 else data[start:at].decode("ascii"))
        else:
            name, kind, _ = FIELDS[len(fields)]
            value, at = codec.read(data, at, stop)
            fields.append(_field(name, kind, value))
    if at != stop:
        raise MessageError("The size of the properties and the sizes of their fields disagree.")
    return fields + _ABSENT[count], at


def list_at(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Return the element count that the list at ``at`` claims, the offset of its first element, and its end."""
    code = data[at]
    if code == LIST8:
        count, start, stop = data[at + 2], at + 3, at + 2 + data[at + 1]
    elif code == LIST32:
        size, count = int.from_bytes(data[at + 1 : at + 5], "big"), int.from_bytes(data[at + 5 : at + 9], "big")
        start, stop = at + 9, at + 5 + size
    elif code == LIST0:
        count, start, stop = 0, at + 1, at + 1
    else:
        raise MessageError(f"Byte {at} is 0x{code:02x} where the list of a section should start.")
    if not start <= stop <= end:
        raise MessageError(f"The list at byte {at} does not fit into the {end} bytes of the message.")
    return count, start, stop


def _field(name: str, kind: tuple[type, ...], value: Any) -> Any:
    """Return ``value`` as a field of Message holds it. Only a field of several types keeps the AMQP type."""
    if value is None or type(value) in (str, bytes, bool, UUID) and type(value) in kind:
        return value
    if Symbol in kind and isinstance(value, str) and value.isascii():  # some send a string here
        return str(value)
    if type(value) in kind and isinstance(value, int):
        return int(value)
    raise MessageError(f"The field {name} holds {short(value)}, which is not of its type.")


def read_section(reader: Reader, number: int, at: int, end: int) -> tuple[Any, int]:
    """Return the content of a section other than properties and amqp-value, and the offset behind it.

    A header is a dict of its fields. All sections of a message share one ``reader``, so its limits hold for the whole.
    """
    if reader.data[at] not in _SHAPES[number]:
        raise _wrong_shape(number, at, reader.data[at])
    value, at = reader.read(at, end)
    if number == HEADER:
        if len(value) > len(HEADER_FIELDS):
            raise MessageError(f"The header has {len(value)} fields; there are {len(HEADER_FIELDS)}.")
        present = [(field, item) for field, item in zip(HEADER_FIELDS, value, strict=False) if item is not None]
        return {name: _field(name, kind, item) for (name, kind), item in present}, at
    if number == APPLICATION_PROPERTIES:
        for key in value:
            if not isinstance(key, str):
                raise MessageError(f"The key {short(key)} of the application-properties is not a string.")
        return {str(key): item for key, item in value.items()}, at
    if number in KEYWORDS:
        for key in value:
            if not (isinstance(key, Ulong) or isinstance(key, str) and key.isascii()):
                raise MessageError(f"The key {short(key)} of the {NAMES[number]} is not a symbol.")
    return value, at


def sections(data: bytes, at: int = 0, last: int = 0) -> Iterator[tuple[int, int, int, int]]:
    """Yield the sections from offset ``at`` on, which follow a section ``last``. Only their sizes are read.

    Yields:
        Each section's number, the offset of the section, the offset of its value, and the offset of its end.

    Raises:
        MessageError: the sections are not those of a message, or not in their order (section 3.2).
        CodecError: a section does not end inside the data. IndexError: the same.
    """
    end = len(data)
    while at < end:
        start = at
        if data[at] == 0 and data[at + 1] == 0x53:
            number, value = data[at + 2], at + 3
        else:
            number, value = descriptor_of(data, at, end)
        if number <= last or last >= DATA:
            check_order(last, number)
        code = data[value]
        if code not in _SHAPES.get(number, _NONE):
            raise _wrong_shape(number, value, code)
        if code in _SHORT:
            at = value + 2 + data[value + 1]
            if at > end:
                raise MessageError(f"The message ends inside the section {NAMES[number]}: it has {end} bytes of {at}.")
        else:
            at = codec.skip(data, value, end)
        yield number, start, value, at
        last = number


def elements(data: bytes, at: int, end: int, most: int) -> list[bytes]:
    """Return the encoded elements of the list at ``at``, which ends at ``end``. It may have at most ``most``."""
    count, at, stop = list_at(data, at, end)
    if count > most:
        raise MessageError(f"The properties have {count} fields; there are {most}.")
    if stop != end or count > stop - at:
        raise MessageError(f"The list that ends at byte {end} claims {count} elements in {stop - at} bytes.")
    found = []
    for _ in range(count):
        start, code = at, data[at]
        if code == NULL:
            at += 1
        elif code in _SHORT:
            at += 2 + data[at + 1]
        else:
            at = codec.skip(data, at, stop)
        found.append(data[start:at])
    if at != stop:
        raise MessageError(f"The list that ends at byte {end} has {stop - at} bytes more than its elements.")
    return found


def read_header(data: bytes) -> tuple[dict[str, Any], int]:
    """Return the fields of the header by name, and the offset of the next section.

    They are empty and 0 if the message begins with another section.
    """
    if data.startswith(TTL_HEADER) and data[14:16] in (TTL_HEADER_END, FIRST_TTL_HEADER_END):
        return {"ttl": int.from_bytes(data[10:14], "big"), "first_acquirer": data[14] == 0x41}, 16
    if data.startswith((PLAIN_HEADER, FIRST_HEADER)):
        return {"first_acquirer": data[10] == 0x41}, 12
    if not data or data[0] == 0 and data[1] == 0x53 and data[2] != HEADER:
        return {}, 0
    number, at = descriptor_of(data, 0, len(data))
    if number != HEADER:
        return {}, 0
    if (size := codec.skip(data, at, len(data)) - at) > MOST_HEADER:
        raise MessageError(f"The header has {size} bytes, where its {len(HEADER_FIELDS)} fields need fewer.")
    fields, at = read_section(Reader(data), number, at, len(data))
    return fields, at


def _wrong_shape(number: int, at: int, code: int) -> MessageError:
    if number not in NAMES:
        return MessageError(f"The section at byte {at} has the descriptor 0x{number:02x}, which is none of a message.")
    return MessageError(f"The section {NAMES[number]} holds a value of constructor 0x{code:02x}.")


def descriptor_of(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the number of the section at ``at``, and the offset of its value. The descriptor has any encoding."""
    if data[at] != 0:
        raise MessageError(f"Byte {at} is 0x{data[at]:02x} where a section should start with 0x00.")
    if (size := codec.skip(data, at + 1, end) - at - 1) > MOST_DESCRIPTOR:
        raise MessageError(f"The section at byte {at} has a descriptor of {size} bytes, which is none of a message.")
    descriptor, behind = codec.read(data, at + 1, end)
    number = 0
    if isinstance(descriptor, Ulong):
        number = int(descriptor)
    elif isinstance(descriptor, Symbol):
        number = _SYMBOLS.get(descriptor, 0)
    if number not in NAMES:
        raise MessageError(
            f"The section at byte {at} has the descriptor {short(descriptor)}, which is none of a message."
        )
    return number, behind


def check_order(last: int, number: int) -> None:
    """Raise MessageError if section ``number`` must not follow ``last``.

    Each section comes once, in the order of the numbers. Bodies are of one kind; data and sequences may repeat.
    """
    if number not in NAMES:
        raise MessageError(f"A section has the descriptor 0x{number:02x}, which is none of a message.")
    if number < last or number == last and number not in (DATA, SEQUENCE):
        raise MessageError(f"A section {NAMES[number]} stands after {NAMES[last]}, where none may be.")
    if DATA <= last < number <= VALUE:
        raise MessageError(f"The message has a body of {NAMES[last]} and one of {NAMES[number]}.")
