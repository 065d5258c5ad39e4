"""Encode and read messages of the usual form. Other forms take the slower way of :mod:`mqlight.amqp.message`.

Nearly every message has the usual form: no header, a plain one or one with a time to live; properties in their short
form; and a string or binary as amqp-value (section 3.2). RabbitMQ's messages, which have a full header and
annotations, are read as well. The results equal those of the encoder and decoder of messages, byte for byte. Bytes are
untrusted: a function returns None for a form that it does not know, and never reads beyond the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct, error
from typing import TYPE_CHECKING, Any, Final

from mqlight.amqp.frames import PLAIN, u32

if TYPE_CHECKING:
    from mypy_extensions import i64

PLAIN_HEADER: Final = bytes.fromhex("005370c00705425004404243")
FIRST_HEADER: Final = bytes.fromhex("005370c00705425004404143")
"""The plain header of a message that no receiver acquired before (first-acquirer, section 3.2.1)."""
TTL_HEADER: Final = bytes.fromhex("005370c00b0542500470")
"""4 bytes of ttl, in ms, and ``TTL_HEADER_END`` or ``FIRST_TTL_HEADER_END`` follow."""
TTL_HEADER_END: Final = bytes.fromhex("4243")
FIRST_TTL_HEADER_END: Final = bytes.fromhex("4143")
_TTL_AT: Final = 10
_TTL_SIZE: Final = 16
_PLAIN_SIZE: Final = 12
_PLAIN_HEADERS: Final = frozenset((PLAIN_HEADER, FIRST_HEADER))
_TTL_HEADER_ENDS: Final = frozenset((TTL_HEADER_END, FIRST_TTL_HEADER_END))
_PROPERTIES: Final = b"\x00\x53\x73\xc0"
TEXT: Final = b"\xa3\x0atext/plain"
JSON: Final = b"\xa3\x10application/json"
_VALUE: Final = b"\x00\x53\x77"
_TRACE: Final = b"\x00\x53\x74\xc1\x47\x02\xa1\x0btraceparent\xa1\x37"
"""The start of application-properties with nothing but a ``traceparent`` (W3C Trace Context, version 00)."""
_TRACE_SIZE: Final = 76
TRACEPARENT: Final = 55
"""The number of characters of a ``traceparent``."""
_NULL: Final = b"\x40"
_STRING8: Final = tuple([bytes((0xA1, size)) for size in range(256)])
_VALUE8: Final = tuple([_VALUE + start for start in _STRING8])
_PROPERTIES8: Final = tuple([_PROPERTIES + bytes((size + 1, 7)) for size in range(255)])
"""The start of a properties section with seven fields, by the number of bytes in its fields."""
_MOST_BODY: Final = 0x7FFFFF00
_TEXT: Final = b"\x00\x53\x77\xa1"
_FIELDS: Final = frozenset(range(3, 14))
"""The possible numbers of fields in properties with a ``to``."""
_NULL_STRING: Final = b"\x40\xa1"
_SIZE_AT: Final = 4
"""The offset of a header's size."""
# In plain Python one call of struct is quicker than many operations on bytes.
_ttl_start: Final[Callable[[bytes], Any]] = Struct(">10sI2s4sB").unpack_from
_plain_start: Final[Callable[[bytes], Any]] = Struct(">12s4sB").unpack_from
_ttl_properties: Final[Callable[[bytes], Any]] = Struct(">10sI2s4sBBB").unpack_from
_bare_properties: Final[Callable[[bytes], Any]] = Struct(">4sBBB").unpack_from
_value_start: Final[Callable[[bytes, int], Any]] = Struct(">4sB").unpack_from
_MOST_TEXT: Final = 0x1000000


def _string(text: str) -> bytes:
    raw = text.encode()
    size = len(raw)
    if size < 256:
        return _STRING8[size] + raw
    if size >= _MOST_TEXT:
        raise OverflowError("an address or id is 16 MiB or more")
    return b"\xb1" + size.to_bytes(4, "big") + raw


_address: Final = lru_cache(4096)(_string)
"""``_string`` of an address below 256 characters: many messages have the same address."""


def text_message(
    body: bytes,
    to: str | None,
    message_id: str | None,
    reply_to: str | None,
    correlation_id: str | None,
    ttl: int = -1,
    content_type: bytes = TEXT,
) -> bytes:
    """Return a message with a string as its body.

    Args:
        body: The string in UTF-8.
        ttl: Milliseconds, -1 for none.
        content_type: ``TEXT`` or ``JSON``.

    Raises:
        UnicodeEncodeError: a text has lone surrogates.
        OverflowError: the ttl is not below 2**32, or the body not below 2 GiB.
    """
    size = len(body)
    if ttl >= 0x100000000 or size >= _MOST_BODY:
        raise OverflowError("the ttl is 2**32 ms or more, or the body 2 GiB or more")
    fields = b"".join(
        [
            _NULL if message_id is None else _string(message_id),
            _NULL,
            _NULL if to is None else _address(to) if len(to) < 256 else _string(to),
            _NULL,
            _NULL if reply_to is None else _address(reply_to) if len(reply_to) < 256 else _string(reply_to),
            _NULL if correlation_id is None else _string(correlation_id),
            content_type,
        ]
    )
    length = len(fields)
    if length < 255:
        start = _PROPERTIES8[length] + fields
    else:
        start = b"\x00\x53\x73\xd0" + (length + 4).to_bytes(4, "big") + b"\x00\x00\x00\x07" + fields
    if ttl >= 0:
        start = TTL_HEADER + ttl.to_bytes(4, "big") + TTL_HEADER_END + start
    if size < 256:
        return start + _VALUE8[size] + body
    return start + b"\x00\x53\x77\xb1" + size.to_bytes(4, "big") + body


def with_trace(message: bytes, body: bytes, traceparent: str) -> bytes:
    """Return a message of ``text_message`` with a ``traceparent`` in its application-properties (section 3.2.5).

    Args:
        body: The body of the message.
        traceparent: ``TRACEPARENT`` characters of ASCII.
    """
    at = len(message) - len(body) - (5 if len(body) < 256 else 8)
    return message[:at] + _TRACE + traceparent.encode() + message[at:]


def _skip_trace(data: bytes, at: i64) -> i64:
    """Return the offset behind application-properties that ``with_trace`` has written at ``at``, else ``at``."""
    stop: i64 = at + _TRACE_SIZE
    if stop > len(data) or data[at : at + 21] != _TRACE or not data[at + 21 : stop].isascii():
        return at
    return stop


def _is_boolean(code: i64) -> bool:
    return code == 0x41 or code == 0x42 or code == 0x40


def _skip_first_header(data: bytes) -> i64:
    """Return the offset behind a header of all five fields if no delivery of the message failed, else 0."""
    size: i64 = len(data)
    if data[:_PLAIN_SIZE] in _PLAIN_HEADERS:
        return _PLAIN_SIZE
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
    """Return the offset behind the message-annotations at ``at``.

    Return ``at`` if they hold anything but short symbols and strings.
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
    """Return whether a message begins with a header of the usual length by which no delivery attempt failed."""
    return _skip_first_header(data) > 0


def text_body(data: bytes) -> bytes | None:
    """Return a string body in UTF-8, for a message of the usual form or of RabbitMQ's form; else None."""
    if PLAIN:
        try:
            if data[_SIZE_AT] == _TTL_SIZE - _SIZE_AT - 1:
                head, _, end, properties, length = _ttl_start(data)
                place = 21 + length
                known = head == TTL_HEADER and end in _TTL_HEADER_ENDS
            else:
                head, properties, length = _plain_start(data)
                place = 17 + length
                known = head in _PLAIN_HEADERS
            value, count = _value_start(data, place)
            place += 5
            if known and properties == _PROPERTIES and value == _TEXT and place + count == len(data):
                return data[place:]
        except (IndexError, error):
            pass
    return _text_body(data)


def _text_body(data: bytes) -> bytes | None:
    size: i64 = len(data)
    at: i64 = 0
    start: i64 = 0
    if size < _TTL_SIZE:
        return None
    if data[:_PLAIN_SIZE] in _PLAIN_HEADERS:
        at = _PLAIN_SIZE
    elif data[:_TTL_AT] == TTL_HEADER and data[_TTL_AT + 4 : _TTL_SIZE] in _TTL_HEADER_ENDS:
        at = _TTL_SIZE
    else:
        at = _skip_annotations(data, _skip_first_header(data))
    if at + 6 <= size and data[at : at + 4] == _PROPERTIES:
        at += 5 + data[at + 4]
    if at + 5 <= size and data[at + 2] == 0x74:
        at = _skip_trace(data, at)
    if at + 5 > size or data[at : at + 3] != _VALUE:
        return None
    if data[at + 3] == 0xA1:
        start = at + 5
        return data[start:] if start + data[at + 4] == size else None
    start = at + 8
    if data[at + 3] == 0xB1 and start <= size and start + u32(data, at + 4) == size:
        return data[start:]
    return None


def address_and_rest(data: bytes) -> tuple[bytes, int, bytes] | None:
    """Return three parts of a message of the usual form, or None for any other form or without a ``to``.

    Returns:
        The ``to`` in UTF-8, the ttl in ms (0 if there is none), and all sections but the header.
    """
    if PLAIN:
        try:
            if data[2] == 0x73:
                properties, length, fields, code = _bare_properties(data)
                ttl = place = 0
            else:
                head, ttl, end, properties, length, fields, code = _ttl_properties(data)
                place = _TTL_SIZE
                if head != TTL_HEADER or end != TTL_HEADER_END:
                    return _address_and_rest(data)
            stop = place + 5 + length
            value, count = _value_start(data, stop)
            start = place + (10 + data[place + 7] if code == 0xA1 else 9)
            over = start + 1 + data[start]
            if (
                properties == _PROPERTIES
                and value == _TEXT
                and stop + 5 + count == len(data)
                and (code == 0xA1 or code == 0x40)
                and data[start - 2 : start] == _NULL_STRING
                and over <= stop
                and fields in _FIELDS
            ):
                return data[start + 1 : over], ttl, data[place:] if place else data
        except (IndexError, error):
            pass
    return _address_and_rest(data)


def _address_and_rest(data: bytes) -> tuple[bytes, int, bytes] | None:
    size: i64 = len(data)
    first: i64 = 0
    ttl = 0
    if size >= _TTL_SIZE and data[:_TTL_AT] == TTL_HEADER and data[_TTL_AT + 4 : _TTL_SIZE] == TTL_HEADER_END:
        ttl = int.from_bytes(data[_TTL_AT : _TTL_AT + 4], "big")
        first = _TTL_SIZE
    elif data[:_PLAIN_SIZE] == PLAIN_HEADER:
        first = _PLAIN_SIZE
    if first + 6 > size or data[first : first + 4] != _PROPERTIES:
        return None
    stop: i64 = first + 5 + data[first + 4]
    value: i64 = stop
    if value + 5 <= size and data[value + 2] == 0x74:
        value = _skip_trace(data, value)
    if value + 5 > size or data[value : value + 3] != _VALUE or not 2 < data[first + 5] < 14:
        return None
    code: i64 = data[value + 3]
    if code == 0xA1 or code == 0xA0:
        if value + 5 + data[value + 4] != size:
            return None
    elif (code != 0xB1 and code != 0xB0) or value + 8 > size or value + 8 + u32(data, value + 4) != size:
        return None
    at: i64 = first + 6
    if data[at] == 0xA1:  # the message-id
        at += 2 + data[at + 1]
    elif data[at] == 0x40:
        at += 1
    else:
        return None
    if at + 3 > stop or data[at] != 0x40 or data[at + 1] != 0xA1:  # no user-id
        return None
    start: i64 = at + 3
    at = start + data[at + 2]
    if at > stop:
        return None
    return data[start:at], ttl, data[first:] if first else data
