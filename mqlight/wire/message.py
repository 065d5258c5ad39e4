"""AMQP messages: their bytes to :class:`Message` and back (AMQP 1.0 section 3.2).

The rules of this file:

* What we send is small: a header only when it says something, the properties without trailing nulls, one amqp-value.
* What we take is everything: any sections that the specification allows, in any of their encodings. The common ones
  have a short way through; the rest goes through :mod:`mqlight.amqp.codec`.
* Bytes come from strangers. Only :class:`MessageError` comes out.
"""

from __future__ import annotations

import struct
from operator import index
from typing import Any
from uuid import UUID

import msgspec

from mqlight.amqp import codec
from mqlight.amqp.codec import BINARY8, STRING8, CodecError, Symbol, Timestamp, Uint, Ulong
from mqlight.amqp.reading import Reader, short
from mqlight.amqp.sections import (
    ANNOTATIONS,
    DATA,
    DELIVERY_ANNOTATIONS,
    FIELDS,
    FIRST_HEADER,
    FIRST_TTL_HEADER_END,
    FOOTER,
    HEADER,
    KEYWORDS,
    NAMES,
    NO_FIELDS,
    PLAIN_HEADER,
    PROPERTIES,
    SEQUENCE,
    TTL_HEADER,
    TTL_HEADER_END,
    VALUE,
    MessageError,
    check_order,
    descriptor_of,
    full_header,
    header,
    read_properties,
    read_section,
    topic_of,
)
from mqlight.amqp.usual import is_first_delivery
from mqlight.wire.admission import Admitted, admit

__all__ = ["Admitted", "Message", "MessageError", "admit", "decode", "encode", "header", "topic_of"]

_uint_at = struct.Struct(">I").unpack_from
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
    """One message. Times are in ms, those of day since 1970; None is "not there" everywhere.

    ``body`` is what an amqp-value section holds: str, bytes, None, int, float, bool, list, dict or a type of
    :mod:`mqlight.amqp.codec`. Data sections read as bytes, amqp-sequence sections as a list, no body as None.
    ``message_id`` and ``correlation_id`` may be str, bytes, UUID or int (a ulong). Keys of ``annotations``,
    ``delivery_annotations`` and ``footer`` travel as symbols; ``properties`` hold no list, map or array.
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
    """The bytes of ``message``. Raises MessageError for a value that its field, or AMQP, has no place for."""
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
    """The properties section without its trailing nulls; nothing at all when every field is None."""
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
    return b"\x00Ss" + codec.compound(0xC0, len(fields), b"".join(fields))


def _wrong_field(message: Message) -> str | None:
    """The sentence about the first field of a wrong type or range; None if the fault is another."""
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
    """A section of annotations: str keys become symbols, int keys ulongs (section 3.2.10)."""
    if items is None:
        return b""
    for key in items:
        if not isinstance(key, (str, int)):
            raise CodecError(f"The key {short(key)} of the {NAMES[number]} is not a str.")
    annotations = {Symbol(key) if isinstance(key, str) else Ulong(key): value for key, value in items.items()}
    return bytes((0, 0x53, number)) + codec.encode(annotations)


def _application_properties(items: dict[str, Any]) -> bytes:
    """Keys are strings, values of simple types (section 3.2.5)."""
    for key, value in items.items():
        if not isinstance(key, str):
            raise CodecError(f"The key {short(key)} of properties is not a str.")
        if isinstance(value, (list, tuple, dict, codec.Array, codec.Described)):
            raise CodecError(
                f"properties[{short(key)}] is a {type(value).__name__}; only simple values may stand there."
            )
    return b"\x00St" + codec.encode(items)


def delivery_count(data: bytes) -> int:
    """How often the message was given out in vain before, by its header; 0 where it does not say."""
    if is_first_delivery(data):
        return 0
    try:
        number, at = descriptor_of(data, 0, len(data))
        if number != HEADER:
            return 0
        return int(read_section(Reader(data), number, at, len(data))[0].get("delivery_count", 0))
    except (IndexError, ValueError):
        return 0


def decode_properties(data: bytes) -> Message | None:
    """The message without its body, of which only the properties section (3.2.4) is read; None where that is not there.

    It is for telling the sender of a message that cannot be decoded.
    """
    at, end = 0, len(data)
    try:
        while at < end:
            number, at = descriptor_of(data, at, end)
            if number == PROPERTIES:
                fields, _ = read_properties(data, at, end)
                return Message(**{field[0]: value for field, value in zip(FIELDS, fields, strict=True)})
            if number > PROPERTIES:
                break
            at = codec.skip(data, at, end)
    except (IndexError, ValueError):
        pass
    return None


def time_to_live(data: bytes) -> int | None:
    """What the header says of the time to live, in ms; None where it does not say, or says 0 for that."""
    try:
        if data.startswith(TTL_HEADER):
            return _uint_at(data, 10)[0] or None
        number, at = descriptor_of(data, 0, len(data))
        if number != HEADER:
            return None
        return int(read_section(Reader(data), number, at, len(data))[0].get("ttl", 0)) or None
    except (IndexError, ValueError, struct.error):
        return None

def first_acquirer(data: bytes) -> bool:
    """Return whether the header says that nobody was given the message before (section 3.2.1)."""
    if data.startswith(FIRST_HEADER):
        return True
    if data.startswith(TTL_HEADER):
        return data[14:16] == FIRST_TTL_HEADER_END
    try:
        number, at = descriptor_of(data, 0, len(data))
        if number != HEADER:
            return False
        return bool(read_section(Reader(data), number, at, len(data))[0].get("first_acquirer", False))
    except (IndexError, ValueError):
        return False


def decode(data: bytes) -> Message:
    """The message that ``data`` holds. Raises MessageError when it is not exactly one well-formed message."""
    if type(data) is not bytes:
        data = bytes(data)
    fields: list[Any] = NO_FIELDS
    others: dict[str, Any] = {}
    body: Any = None
    ttl: int | None = None
    first = False
    reader: Reader | None = None
    at, last, end = 0, 0, len(data)
    try:
        if data.startswith(TTL_HEADER) and data[14:16] in (TTL_HEADER_END, FIRST_TTL_HEADER_END):
            ttl, first = int.from_bytes(data[10:14], "big"), data[14] == 0x41
            at, last = 16, HEADER
        elif data.startswith((PLAIN_HEADER, FIRST_HEADER)):
            first = data[10] == 0x41
            at, last = 12, HEADER
        while at < end:
            if data[at] == 0 and data[at + 1] == 0x53:
                number = data[at + 2]
                at += 3
            else:
                number, at = descriptor_of(data, at, end)
            if number <= last or last >= DATA:
                check_order(last, number)
            last = number
            if number == PROPERTIES:
                fields, at = read_properties(data, at, end)
            elif number == VALUE:
                code = data[at]
                if code == 0xA1 or code == 0xA0:
                    start = at + 2
                    at = start + data[at + 1]
                elif code == 0xB1 or code == 0xB0:
                    start = at + 5
                    at = start + int.from_bytes(data[at + 1 : start], "big")
                else:
                    body, at = codec.read(data, at, end)
                    continue
                if at > end:
                    raise MessageError(f"The message ends inside its body: it has {end} bytes of {at}.")
                body = data[start:at].decode() if code & 1 else data[start:at]
            else:
                reader = reader or Reader(data)
                value, at = read_section(reader, number, at, end)
                if number == DATA or number == SEQUENCE:
                    others.setdefault("body", []).append(value)
                elif number == HEADER:
                    others.update(value)
                else:
                    others[KEYWORDS[number]] = value
    except IndexError as error:
        raise MessageError(f"The message is cut off: its {end} bytes end inside a section.") from error
    except UnicodeDecodeError as error:
        raise MessageError(f"A string in the message is not valid {error.encoding}.") from error
    except CodecError as error:
        raise MessageError(f"The message is not well-formed. {error}") from error
    if others:
        if "body" not in others:
            others["body"] = body
        elif isinstance(others["body"][0], bytes):
            others["body"] = b"".join(others["body"])
        else:
            others["body"] = [item for part in others["body"] for item in part]
        if ttl is not None:
            others["ttl"] = ttl
        if first:
            others["first_acquirer"] = True
        return Message(**others, **{field[0]: value for field, value in zip(FIELDS, fields, strict=True)})
    if not end:
        raise MessageError("The message is empty: it has no section at all.")
    return Message(
        body=body,
        ttl=ttl,
        first_acquirer=first,
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
