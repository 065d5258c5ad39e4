"""The usual form of a message: nearly every message has it, and the others go the long way.

It is a header that says nothing or a time to live, or none; properties in their short form; and a string or binary as
amqp-value (section 3.2). The messages that RabbitMQ gives out are read as well: it fills in the header and adds
annotations. The functions here do for this form, byte for byte, what the encoder and decoder of messages do. Bytes come
from strangers: each function returns None for a form that it does not know, and never looks beyond the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mqlight.amqp.frames import u32

if TYPE_CHECKING:
    from mypy_extensions import i64

PLAIN_HEADER: Final = bytes.fromhex("005370c00705425004404243")
TTL_HEADER: Final = bytes.fromhex("005370c00b0542500470")
"""Is followed by 4 bytes of ttl, in ms, and ``TTL_HEADER_END``."""
TTL_HEADER_END: Final = bytes.fromhex("4243")
_TTL_AT: Final = 10
_TTL_SIZE: Final = 16
_PLAIN_SIZE: Final = 12
_TEXT_PLAIN: Final = b"\xa3\x0atext/plain"
_VALUE: Final = b"\x00\x53\x77"
_STRING8: Final = tuple([bytes((0xA1, size)) for size in range(256)])
_MOST_BODY: Final = 0x7FFFFF00
_MOST_TEXT: Final = 0x1000000


def _string(text: str | None) -> bytes:
    if text is None:
        return b"\x40"
    raw = text.encode()
    size = len(raw)
    if size < 256:
        return _STRING8[size] + raw
    if size >= _MOST_TEXT:
        raise OverflowError("an address or id is 16 MiB or more")
    return b"\xb1" + size.to_bytes(4, "big") + raw


def text_message(
    body: bytes, to: str | None, message_id: str | None, reply_to: str | None, correlation_id: str | None, ttl: int = -1
) -> bytes:
    """Return the message of type ``text/plain`` whose ``body`` is UTF-8 already.

    Args:
        ttl: Milliseconds, -1 for none.

    Raises:
        UnicodeEncodeError: a text has lone surrogates.
        OverflowError: the ttl is not below 2**32, or the body not below 2 GiB.
    """
    size = len(body)
    if ttl >= 0x100000000 or size >= _MOST_BODY:
        raise OverflowError("the ttl is 2**32 ms or more, or the body 2 GiB or more")
    fields = (
        _string(message_id)
        + b"\x40"
        + _string(to)
        + b"\x40"
        + _string(reply_to)
        + _string(correlation_id)
        + _TEXT_PLAIN
    )
    head = TTL_HEADER + ttl.to_bytes(4, "big") + TTL_HEADER_END if ttl >= 0 else b""
    if len(fields) < 255:
        start = head + b"\x00\x53\x73\xc0" + (len(fields) + 1).to_bytes(1, "big") + b"\x07" + fields
    else:
        start = head + b"\x00\x53\x73\xd0" + (len(fields) + 4).to_bytes(4, "big") + b"\x00\x00\x00\x07" + fields
    if size < 256:
        return start + _VALUE + _STRING8[size] + body
    return start + b"\x00\x53\x77\xb1" + size.to_bytes(4, "big") + body


def _is_boolean(code: i64) -> bool:
    return code == 0x41 or code == 0x42 or code == 0x40


def _skip_first_header(data: bytes) -> i64:
    """Return where the sections behind a header of all five fields begin, if no delivery of the message
    failed; else 0.
    """
    size: i64 = len(data)
    if size >= _TTL_SIZE:
        head = data[:_PLAIN_SIZE]
        if head == PLAIN_HEADER:
            return _PLAIN_SIZE
        if head[:_TTL_AT] == TTL_HEADER and data[_TTL_AT + 4 : _TTL_SIZE] == TTL_HEADER_END:
            return _TTL_SIZE
    if size < 11 or data[0] != 0 or data[1] != 0x53 or data[2] != 0x70 or data[3] != 0xC0 or data[5] != 5:
        return 0
    stop: i64 = 5 + data[4]
    at: i64 = 7
    if stop > size or stop < 11 or not _is_boolean(data[6]):
        return 0
    if data[at] == 0x50:  # a priority
        at += 2
    elif data[at] == 0x40:
        at += 1
    else:
        return 0
    if data[at] == 0x70:  # a time to live
        at += 5
    elif data[at] == 0x40:
        at += 1
    else:
        return 0
    return stop if at + 2 == stop and _is_boolean(data[at]) and data[at + 1] == 0x43 else 0


def _skip_annotations(data: bytes, at: i64) -> i64:
    """Return where the section behind message-annotations at ``at`` begins, if they are short symbols and strings; else
    ``at``.
    """
    size: i64 = len(data)
    if at + 6 > size or data[at : at + 4] != b"\x00\x53\x72\xc1":
        return at
    stop: i64 = at + 5 + data[at + 4]
    place: i64 = at + 6
    count: i64 = data[at + 5]
    if stop > size or count & 1:
        return at
    item: i64 = 0
    while item < count:
        if place + 2 > stop or data[place] != (0xA1 if item & 1 else 0xA3):
            return at
        place += 2 + data[place + 1]
        item += 1
    return stop if place == stop else at


def is_first_delivery(data: bytes) -> bool:
    """Return whether a message begins with a header of the usual length that says that no delivery of it failed."""
    return _skip_first_header(data) > 0


def _body_at(data: bytes, at: i64) -> i64:
    """Return where the content of the amqp-value at ``at`` begins, if it is one string or binary that ends the message;
    else -1.
    """
    size: i64 = len(data)
    if at + 5 > size or data[at : at + 3] != _VALUE:
        return -1
    code: i64 = data[at + 3]
    start: i64 = at + 5
    if code == 0xA1 or code == 0xA0:
        return start if start + data[at + 4] == size else -1
    if code == 0xB1 or code == 0xB0:
        start = at + 8
        return start if start <= size and start + u32(data, at + 4) == size else -1
    return -1


def _has_short_properties(data: bytes, at: i64) -> bool:
    """Return whether a properties section in its short form is at ``at``, and whole."""
    size: i64 = len(data)
    return at + 6 <= size and data[at : at + 4] == b"\x00\x53\x73\xc0" and at + 5 + data[at + 4] <= size


def text_body(data: bytes) -> bytes | None:
    """Return the UTF-8 of the body of a message of the usual form, or of RabbitMQ's, whose body is a string."""
    at = _skip_annotations(data, _skip_first_header(data))
    if _has_short_properties(data, at):
        at += 5 + data[at + 4]
    start = _body_at(data, at)
    if start < 0 or not data[at + 3] & 1:
        return None
    return data[start:]


def address_and_rest(data: bytes) -> tuple[bytes, int, bytes] | None:
    """Of a message of the usual form with a ``to``, return its UTF-8, the ttl in ms (0 where there is none), and all
    sections but the header.
    """
    size: i64 = len(data)
    first: i64 = 0
    ttl: i64 = 0
    if size >= _TTL_SIZE and data[:_TTL_AT] == TTL_HEADER and data[_TTL_AT + 4 : _TTL_SIZE] == TTL_HEADER_END:
        ttl = u32(data, _TTL_AT)
        first = _TTL_SIZE
    elif size >= _PLAIN_SIZE and data[:_PLAIN_SIZE] == PLAIN_HEADER:
        first = _PLAIN_SIZE
    if not _has_short_properties(data, first):
        return None
    stop: i64 = first + 5 + data[first + 4]
    if not 2 < data[first + 5] < 14 or _body_at(data, stop) < 0:
        return None
    at: i64 = first + 6
    field: i64 = 0
    while field < 2:  # message-id and user-id
        if at + 2 > stop:
            return None
        if data[at] == 0x40:
            at += 1
        elif data[at] == 0xA1 or data[at] == 0xA0:
            at += 2 + data[at + 1]
        else:
            return None
        field += 1
    if at + 2 > stop or data[at] != 0xA1 or at + 2 + data[at + 1] > stop:
        return None
    to = data[at + 2 : at + 2 + data[at + 1]]
    return to, int(ttl), data[first:] if first else data
