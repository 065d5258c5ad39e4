"""Replace the address, the durability and the time to live of an encoded message.

A message is encoded before its broker is known. The usual header and properties are rewritten in place here. Any other
message is decoded and encoded again.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mqlight.amqp import codec
from mqlight.amqp.constructors import LIST8, STR8
from mqlight.amqp.fast_messages import PLAIN_HEADER, TTL_HEADER, TTL_HEADER_END
from mqlight.amqp.message import decode, encode
from mqlight.amqp.sections import FIELDS, elements

_DURABLE = bytes.fromhex("005370c0020141")
_DURABLE_TTL = bytes.fromhex("005370c0090341500470")  # and 4 bytes of ttl
_PROPERTIES = b"\x00Ss\xc0"


def readdress(message: bytes, to: str, address: Callable[[str], str], *, durable: bool) -> bytes:
    """Return ``message`` with ``to``, and with its ``reply-to`` translated by ``address``.

    ``durable`` makes it durable; otherwise its durability stays.
    """
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
    """Return ``message`` with ``milliseconds`` less time to live (AMQP 1.0 section 3.2.1), None if none is left.

    A message without a time to live, or with other fields in its header, is returned unchanged.
    """
    if not message.startswith(TTL_HEADER):
        return message
    ttl = int.from_bytes(message[10:14], "big")
    left = ttl - milliseconds
    if not ttl or left >= ttl:
        return message
    return message[:10] + left.to_bytes(4, "big") + message[14:] if left > 0 else None


def _properties(message: bytes, at: int, to: str, address: Callable[[str], str]) -> bytes | None:
    """Return the new bytes of the message from its properties section on, None if it must be decoded."""
    end = at + 5 + message[at + 4]
    fields = elements(message, at + 3, end, len(FIELDS))
    if len(fields) < 3:
        return None
    fields[2] = codec.encode_string(to)
    if len(fields) > 4 and fields[4] != b"@":
        if fields[4][0] != STR8:
            return None
        fields[4] = codec.encode_string(address(fields[4][2:].decode()))
    return b"\x00Ss" + codec.compound(LIST8, len(fields), b"".join(fields)) + message[end:]
