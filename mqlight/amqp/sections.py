"""The sections of an AMQP message: their numbers, order, fields and framing (AMQP 1.0 section 3.2).

Bytes come from strangers. Only :class:`MessageError` and the :class:`~mqlight.amqp.values.CodecError` of the codec come
out of the functions here, and IndexError where the data ends early; the callers turn all of them into MessageError.
"""

from __future__ import annotations

import re
from operator import index
from typing import Any
from uuid import UUID

from mqlight.amqp import codec
from mqlight.amqp.codec import CodecError, Symbol, Timestamp, Ubyte, Uint, Ulong
from mqlight.amqp.constructors import codes_of
from mqlight.amqp.reading import Reader, short


class MessageError(ValueError):
    """Bytes that are no AMQP message, or a Message that cannot be encoded. The text says what is wrong with it."""


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
    APPLICATION_PROPERTIES: _MAPS, DATA: _BINARIES, SEQUENCE: _LISTS, FOOTER: _MAPS,
}  # fmt: skip

# The thirteen fields of the properties section: name, type of the value in Python, and the constructor that has a
# short way (-1: none).
_STRINGS, IDS = (str,), (str, bytes, UUID, Ulong)
FIELDS: tuple[tuple[str, tuple[type, ...], int], ...] = (
    ("message_id", IDS, 0xA1),
    ("user_id", (bytes,), -1),
    ("to", _STRINGS, 0xA1),
    ("subject", _STRINGS, 0xA1),
    ("reply_to", _STRINGS, 0xA1),
    ("correlation_id", IDS, 0xA1),
    ("content_type", (Symbol,), 0xA3),
    ("content_encoding", (Symbol,), 0xA3),
    ("absolute_expiry_time", (Timestamp,), -1),
    ("creation_time", (Timestamp,), -1),
    ("group_id", _STRINGS, 0xA1),
    ("group_sequence", (Uint,), -1),
    ("reply_to_group_id", _STRINGS, 0xA1),
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

PLAIN_HEADER = bytes.fromhex("005370c00705425004404243")
FIRST_HEADER = bytes.fromhex("005370c00705425004404143")
"""The plain header of a message that nobody was given before (first-acquirer, section 3.2.1)."""
TTL_HEADER = bytes.fromhex("005370c00b0542500470")  # and 4 bytes of ttl, and:
TTL_HEADER_END = bytes.fromhex("4243")
FIRST_TTL_HEADER_END = bytes.fromhex("4143")

MOST_DESCRIPTOR = MOST_HEADER = 64
"""Bytes: more than any encoding of them has. Strangers' bytes are not decoded, slowly, only to be refused."""

_SERVICE = re.compile("^amqps?://[^/]*/")


def topic_of(to: str) -> str:
    """The topic that the application used, from a message's ``to``: a URL's service part is taken off, once."""
    return _SERVICE.sub("", to, count=1) if to.startswith("amqp") else to


def header(
    ttl: int | None = None,
    delivery_count: int = 0,
    durable: bool = False,
    priority: int = 4,
    first_acquirer: bool = False,
) -> bytes:
    """A header section with all five fields; ``ttl`` in ms.

    Raises MessageError when ttl or delivery count is not in 0 to 2**32 - 1, or priority not in 0 to 255.
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
    """A header section of any values. Raises CodecError or TypeError for what is no number in range."""
    remaining = None if ttl is None else Uint(index(ttl))
    fields = [bool(durable), Ubyte(index(priority)), remaining, bool(first_acquirer), Uint(index(delivery_count))]
    return b"\x00Sp" + codec.encode(fields)


def read_properties(data: bytes, at: int, end: int) -> tuple[list[Any], int]:
    """The thirteen fields of the properties list at ``at``, and the offset behind it."""
    count, at, stop = list_at(data, at, end)
    if count > len(FIELDS):
        raise MessageError(f"The properties have {count} fields; there are {len(FIELDS)}.")
    fields: list[Any] = []
    for common in _COMMON[count]:
        code = data[at]
        if code == 0x40:
            fields.append(None)
            at += 1
        elif code == common:
            start = at + 2
            at = start + data[at + 1]
            fields.append(data[start:at].decode() if code == 0xA1 else data[start:at].decode("ascii"))
        else:
            name, kind, _ = FIELDS[len(fields)]
            value, at = codec.read(data, at, stop)
            fields.append(_field(name, kind, value))
    if at != stop:
        raise MessageError("The size of the properties and the sizes of their fields disagree.")
    return fields + _ABSENT[count], at


def list_at(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Of the list at ``at``: how many elements it claims, where the first starts, and where the list ends."""
    code = data[at]
    if code == 0xC0:
        count, start, stop = data[at + 2], at + 3, at + 2 + data[at + 1]
    elif code == 0xD0:
        size, count = int.from_bytes(data[at + 1 : at + 5], "big"), int.from_bytes(data[at + 5 : at + 9], "big")
        start, stop = at + 9, at + 5 + size
    elif code == 0x45:
        count, start, stop = 0, at + 1, at + 1
    else:
        raise MessageError(f"Byte {at} is 0x{code:02x} where the list of a section should start.")
    if not start <= stop <= end:
        raise MessageError(f"The list at byte {at} does not fit into the {end} bytes of the message.")
    return count, start, stop


def _field(name: str, kind: tuple[type, ...], value: Any) -> Any:
    """``value`` as a field of Message holds it: an AMQP type stays only where the field may have several."""
    if value is None or type(value) in (str, bytes, bool, UUID) and type(value) in kind:
        return value
    if Symbol in kind and isinstance(value, str) and value.isascii():  # some send a string here
        return str(value)
    if type(value) in kind and isinstance(value, int):
        return int(value)
    raise MessageError(f"The field {name} holds {short(value)}, which is not of its type.")


def read_section(reader: Reader, number: int, at: int, end: int) -> tuple[Any, int]:
    """What a section other than properties and amqp-value holds; a header as a dict of its fields.

    All sections of a message have one ``reader``, whose allowances hold for the whole.
    """
    check_shape(reader.data, number, at)
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


def check_shape(data: bytes, number: int, at: int) -> None:
    """That the value at ``at`` is of a type that section ``number`` may hold."""
    if number not in NAMES:
        raise MessageError(f"The section at byte {at} has the descriptor 0x{number:02x}, which is none of a message.")
    if number != VALUE and data[at] not in _SHAPES[number]:
        raise MessageError(f"The section {NAMES[number]} holds a value of constructor 0x{data[at]:02x}.")


def descriptor_of(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The number of the section that starts at ``at``, and where its value starts. Any encoding of the descriptor."""
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
    """Sections come in the order of their numbers, once; bodies are of one kind, data and sequences may repeat."""
    if number not in NAMES:
        raise MessageError(f"A section has the descriptor 0x{number:02x}, which is none of a message.")
    if number < last or number == last and number not in (DATA, SEQUENCE):
        raise MessageError(f"A section {NAMES[number]} stands after {NAMES[last]}, where none may be.")
    if DATA <= last < number <= VALUE:
        raise MessageError(f"The message has a body of {NAMES[last]} and one of {NAMES[number]}.")
