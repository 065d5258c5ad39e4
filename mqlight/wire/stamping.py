"""The address and the durability on an encoded message, written over those that it was encoded with.

Applications encode a message before it is known which broker will get it. What they write is short-cut here: the usual
header and properties are rewritten in place, everything else is decoded and encoded again.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mqlight.amqp import codec
from mqlight.amqp.sections import PLAIN_HEADER, TTL_HEADER, TTL_HEADER_END
from mqlight.wire.message import decode, encode

_DURABLE = bytes.fromhex("005370c0020141")
_DURABLE_TTL = bytes.fromhex("005370c0090341500470")  # and 4 bytes of ttl
_PROPERTIES = b"\x00Ss\xc0"


def stamp(message: bytes, to: str, address: Callable[[str], str], *, durable: bool) -> bytes:
    """``message`` with ``to``, with its ``reply-to`` translated by ``address``, and durable or as it was."""
    at = 0
    start = b""
    if message.startswith(TTL_HEADER) and message[14:16] == TTL_HEADER_END:
        at = 16
        start = _DURABLE_TTL + message[10:14] if durable else message[:16]
    elif message.startswith(PLAIN_HEADER):
        at = 12
        start = _DURABLE if durable else message[:12]
    elif durable:
        start = _DURABLE
    if message.startswith(_PROPERTIES, at):
        stamped = _properties(message, at, to, address)
        if stamped is not None:
            return start + stamped
    whole = decode(message)
    reply_to = None if whole.reply_to is None else address(whole.reply_to)
    return encode(msgspec.structs.replace(whole, to=to, reply_to=reply_to, durable=durable or whole.durable))


def count_down(message: bytes, milliseconds: int) -> bytes | None:
    """``message`` with so much less time to live (AMQP 1.0 section 3.2.1); None when nothing of it is left.

    A message without a time to live, or with other fields in its header, is returned as it is.
    """
    if not message.startswith(TTL_HEADER):
        return message
    ttl = int.from_bytes(message[10:14], "big")
    left = ttl - milliseconds
    if not ttl or left >= ttl:
        return message
    return message[:10] + left.to_bytes(4, "big") + message[14:] if left > 0 else None


def _properties(message: bytes, at: int, to: str, address: Callable[[str], str]) -> bytes | None:
    """The rest of the message from its properties section on. None where the long way is needed."""
    end = at + 5 + message[at + 4]
    count = message[at + 5]
    if count < 3:
        return None
    first = after_id = at + 6
    for _ in (0, 1):  # message-id and user-id
        after_id = codec.skip(message, after_id, end)
    behind = codec.skip(message, after_id, end)
    fields = message[first:after_id] + codec.encode_string(to)
    if count >= 5:
        subject = behind
        reply = codec.skip(message, subject, end)
        code = message[reply]
        if code == 0xA1:
            behind = reply + 2 + message[reply + 1]
            reply_to = message[reply + 2 : behind].decode()
            fields += message[subject:reply] + codec.encode_string(address(reply_to))
        elif code != 0x40:
            return None
    fields += message[behind:end]
    return b"\x00Ss" + codec.compound(0xC0, count, fields) + message[end:]
