"""Decode AMQP messages into :class:`Message`, and encode them (AMQP 1.0 section 3.2).

The rules of this file:

* We send small messages: a header only if it is needed, the properties without trailing nulls, one amqp-value.
* We accept all sections that the specification allows, in any of their encodings. The common ones have a short way;
  the others go through :mod:`mqlight.amqp.codec`.
* Bytes are untrusted. The public functions raise :class:`MessageError` only.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from operator import index
from typing import Any
from uuid import UUID

import msgspec

from mqlight.amqp import codec
from mqlight.amqp.codec import BINARY8, STRING8, CodecError, Symbol, Timestamp, Uint, Ulong
from mqlight.amqp.constructors import LIST8, STR8, STR32, VBIN8, VBIN32
from mqlight.amqp.decoder import Reader, short
from mqlight.amqp.fast_messages import (
    FIRST_HEADER,
    FIRST_TTL_HEADER_END,
    TTL_HEADER,
    TTL_HEADER_END,
    is_first_delivery,
)
from mqlight.amqp.sections import (
    ANNOTATIONS,
    DATA,
    DELIVERY_ANNOTATIONS,
    FIELDS,
    FOOTER,
    HEADER,
    KEYWORDS,
    NAMES,
    NO_FIELDS,
    PROPERTIES,
    SEQUENCE,
    VALUE,
    MessageError,
    full_header,
    header,
    read_header,
    read_properties,
    read_section,
    sections,
    topic_of,
)

__all__ = ["Message", "MessageError", "decode", "encode", "header", "topic_of"]

_uint_at: Callable[[bytes, int], tuple[int]] = struct.Struct(">I").unpack_from
_TEXTS = ("to", "subject", "reply_to", "group_id", "reply_to_group_id", "content_type", "content_encoding")
_RANGES: tuple[tuple[str, int, int, str], ...] = (
    ("ttl", 0, 2**32, "0 to 2**32 - 1 ms"),
    ("delivery_count", 0, 2**32, "0 to 2**32 - 1"),
    ("group_sequence", 0, 2**32, "0 to 2**32 - 1"),
    ("priority", 0, 256, "0 to 255"),
    ("creation_time", -(2**63), 2**63, "64 bits, in ms since 1970"),
    ("absolute_expiry_time", -(2**63), 2**63, "64 bits, in ms since 1970"),
)


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message. ``ttl`` is in ms, the two times are in ms since 1970. None means that a field is absent.

    ``body`` is the content of an amqp-value section: str, bytes, None, int, float, bool, list, dict or a type of
    :mod:`mqlight.amqp.codec`. Data sections read as bytes, amqp-sequence sections as a list, no body as None.
    ``message_id`` and ``correlation_id`` may be str, bytes, UUID or int (a ulong). Keys of ``annotations``,
    ``delivery_annotations`` and ``footer`` travel as symbols. ``properties`` hold no list, map or array.
    """

    body: Any = None
    to: str | None = None
    reply_to: str | None = None
    subject: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    message_id: str | bytes | int | UUID | None = None
    correlation_id: str | bytes | int | UUID | None = None
    user_id: bytes | None = None
    group_id: str | None = None
    group_sequence: int | None = None
    reply_to_group_id: str | None = None
    creation_time: int | None = None
    absolute_expiry_time: int | None = None
    ttl: int | None = None
    durable: bool = False
    priority: int = 4
    first_acquirer: bool = False
    delivery_count: int = 0
    properties: dict[str, Any] | None = None
    annotations: dict[Any, Any] | None = None
    delivery_annotations: dict[Any, Any] | None = None
    footer: dict[Any, Any] | None = None


def encode(message: Message) -> bytes:
    """Return the bytes of ``message``. Raises MessageError for a value that its field or AMQP cannot hold."""
    try:
        start = b""
        if message.durable or message.delivery_count or message.priority != 4 or message.first_acquirer:
            start = full_header(
                message.ttl, message.delivery_count, message.durable, message.priority, message.first_acquirer
            )
        elif message.ttl is not None:
            start = TTL_HEADER + message.ttl.to_bytes(4, "big") + TTL_HEADER_END
        if message.annotations is not None or message.delivery_annotations is not None:
            start += _map_section(DELIVERY_ANNOTATIONS, message.delivery_annotations)
            start += _map_section(ANNOTATIONS, message.annotations)
        middle = b"" if message.properties is None else _application_properties(message.properties)
        body = message.body
        if type(body) is str:
            raw = body.encode()
            size = len(raw)
            kind = STRING8[size] if size < 256 else b"\xb1" + size.to_bytes(4, "big")
        elif type(body) is bytes:
            raw = body
            size = len(raw)
            kind = BINARY8[size] if size < 256 else b"\xb0" + size.to_bytes(4, "big")
        else:
            raw, kind = codec.encode(body), b""
        end = b"" if message.footer is None else _map_section(FOOTER, message.footer)
        return b"".join((start, _properties(message), middle, b"\x00Sw", kind, raw, end))
    except (ValueError, OverflowError, AttributeError, TypeError) as error:
        raise MessageError(f"The message cannot be sent: {_wrong_field(message) or error}") from error


def _properties(message: Message) -> bytes:
    """Return the properties section without trailing nulls, or no bytes if every field is None."""
    message_id, to, subject, reply_to = message.message_id, message.to, message.subject, message.reply_to
    correlation_id, content_type = message.correlation_id, message.content_type
    fields = [
        b"@" if message_id is None else codec.encode_string(message_id) if type(message_id) is str else _id(message_id),
        b"@" if message.user_id is None else codec.encode_binary(message.user_id),
        b"@" if to is None else codec.encode_string(to),
        b"@" if subject is None else codec.encode_string(subject),
        b"@" if reply_to is None else codec.encode_string(reply_to),
        b"@"
        if correlation_id is None
        else codec.encode_string(correlation_id)
        if type(correlation_id) is str
        else _id(correlation_id),
        b"@" if content_type is None else codec.encode_symbol(content_type),
    ]
    if not (
        message.content_encoding is None
        and message.absolute_expiry_time is None
        and message.creation_time is None
        and message.group_id is None
        and message.group_sequence is None
        and message.reply_to_group_id is None
    ):
        fields += [
            b"@" if message.content_encoding is None else codec.encode_symbol(message.content_encoding),
            codec.encode(_as(Timestamp, message.absolute_expiry_time)),
            codec.encode(_as(Timestamp, message.creation_time)),
            b"@" if message.group_id is None else codec.encode_string(message.group_id),
            codec.encode(_as(Uint, message.group_sequence)),
            b"@" if message.reply_to_group_id is None else codec.encode_string(message.reply_to_group_id),
        ]
    while fields[-1] == b"@":
        fields.pop()
        if not fields:
            return b""
    return b"\x00Ss" + codec.compound(LIST8, len(fields), b"".join(fields))


def _wrong_field(message: Message) -> str | None:
    """Return a sentence about the first field of a wrong type or range, None if there is no such field."""
    for name in _TEXTS:
        text = getattr(message, name)
        if text is not None and not isinstance(text, str):
            return f"{name} is {short(text)}, where a str is needed."
    for name, low, high, needed in _RANGES:
        number = getattr(message, name)
        if number is not None and not (isinstance(number, int) and low <= number < high):
            return f"{name} is {short(number)}, where an int of {needed} is needed."
    if message.user_id is not None and not isinstance(message.user_id, bytes):
        return f"user_id is {short(message.user_id)}, where bytes are needed."
    return None


def _id(value: Any) -> bytes:
    if isinstance(value, int):
        return codec.encode(Ulong(value))
    if isinstance(value, str):
        return codec.encode_string(value)
    if isinstance(value, (bytes, UUID)):
        return codec.encode(value)
    raise CodecError(f"{short(value)} is no message id; give a str, bytes, UUID or int.")


def _as(kind: type[int], value: int | None) -> int | None:
    return None if value is None else kind(index(value))


def _map_section(number: int, items: dict[Any, Any] | None) -> bytes:
    """Return a section of annotations. Keys of str become symbols, keys of int ulongs (section 3.2.10)."""
    if items is None:
        return b""
    for key in items:
        if not isinstance(key, (str, int)):
            raise CodecError(f"The key {short(key)} of the {NAMES[number]} is not a str.")
    annotations = {Symbol(key) if isinstance(key, str) else Ulong(key): value for key, value in items.items()}
    return bytes((0, 0x53, number)) + codec.encode(annotations)


def _application_properties(items: dict[str, Any]) -> bytes:
    """Return the application-properties: keys are strings, values are of simple types (section 3.2.5)."""
    for key, value in items.items():
        if not isinstance(key, str):
            raise CodecError(f"The key {short(key)} of properties is not a str.")
        if isinstance(value, (list, tuple, dict, codec.Array, codec.Described)):
            raise CodecError(
                f"properties[{short(key)}] is a {type(value).__name__}; only simple values may stand there."
            )
    return b"\x00St" + codec.encode(items)


def delivery_count(data: bytes) -> int:
    """Return the number of failed delivery attempts in the header, 0 if the header has none."""
    return 0 if is_first_delivery(data) else int(_header_of(data).get("delivery_count", 0))


def time_to_live(data: bytes) -> int | None:
    """Return the time to live in the header, in ms; None if it is absent or 0."""
    return _header_of(data).get("ttl") or None


def first_acquirer(data: bytes) -> bool:
    """Return whether the header says that no receiver acquired the message before (section 3.2.1)."""
    return bool(_header_of(data).get("first_acquirer", False))


def _header_of(data: bytes) -> dict[str, Any]:
    """Return the fields of the header, none if the header is invalid."""
    try:
        return read_header(data)[0]
    except (IndexError, ValueError):
        return {}


def decode_properties(data: bytes) -> Message | None:
    """Return a message with the fields of the properties section (3.2.4) only, None if there is no such section.

    It serves to inform the sender of a message that cannot be decoded.
    """
    try:
        for number, _, value, end in sections(data):
            if number == PROPERTIES:
                fields, _ = read_properties(data, value, end)
                return Message(**{field[0]: item for field, item in zip(FIELDS, fields, strict=True)})
    except (IndexError, ValueError):
        pass
    return None


def first_time_to_live(data: bytes) -> int | None:
    """Return the time to live in ms of a message that no receiver acquired before, 0 if its header has none.

    Only the usual forms of the header are read. None means another form, or that a receiver may have acquired it.
    """
    if data[:10] == TTL_HEADER and data[14:16] == FIRST_TTL_HEADER_END:
        return _uint_at(data, 10)[0]
    return 0 if data.startswith(FIRST_HEADER) else None


def decode(data: bytes) -> Message:
    """Return the message in ``data``. Raises MessageError if ``data`` is not exactly one well-formed message."""
    if type(data) is not bytes:
        data = bytes(data)
    fields: list[Any] = NO_FIELDS
    others: dict[str, Any] = {}
    body: Any = None
    bodies: list[Any] = []
    reader: Reader | None = None
    try:
        head, at = read_header(data)
        for number, _, value, end in sections(data, at, HEADER if at else 0):
            if number == PROPERTIES:
                fields, _ = read_properties(data, value, end)
            elif number == VALUE:
                code = data[value]
                if code == STR8 or code == STR32:
                    body = data[value + (2 if code == STR8 else 5) : end].decode()
                elif code == VBIN8 or code == VBIN32:
                    body = data[value + (2 if code == VBIN8 else 5) : end]
                else:
                    body, _ = codec.read(data, value, end)
            else:
                reader = reader or Reader(data)
                item, _ = read_section(reader, number, value, end)
                if number == DATA or number == SEQUENCE:
                    bodies.append(item)
                else:
                    others[KEYWORDS[number]] = item
    except IndexError as error:
        raise MessageError(f"The message is cut off: its {len(data)} bytes end inside a section.") from error
    except UnicodeDecodeError as error:
        raise MessageError(f"A string in the message is not valid {error.encoding}.") from error
    except CodecError as error:
        raise MessageError(f"The message is not well-formed. {error}") from error
    if not data:
        raise MessageError("The message is empty: it has no section at all.")
    if bodies:
        joined = isinstance(bodies[0], bytes)
        body = b"".join(bodies) if joined else [item for part in bodies for item in part]
    others.update(head)
    message = Message(
        body=body,
        ttl=others.pop("ttl", None),
        first_acquirer=others.pop("first_acquirer", False),
        message_id=fields[0],
        user_id=fields[1],
        to=fields[2],
        subject=fields[3],
        reply_to=fields[4],
        correlation_id=fields[5],
        content_type=fields[6],
        content_encoding=fields[7],
        absolute_expiry_time=fields[8],
        creation_time=fields[9],
        group_id=fields[10],
        group_sequence=fields[11],
        reply_to_group_id=fields[12],
    )
    return msgspec.structs.replace(message, **others) if others else message
