"""The messages of streams, and the messages from a caller about a request that it has sent before.

The rules of this file:

* A cancel message `{"uuid", "expires"}` goes to `macaque/cancel/<topic of the request>`. No reply is sent.
* `expires` is that of the request. It tells a repeated request from the first one, since both have one uuid.
* A consumer of a stream sends to the `control` topic that the parts name: `{"uuid", "upTo"}` grants so many parts,
  counted from the first one; `{"uuid"}` cancels.
* A cancel message is best effort: it is sent once, and nothing waits for it. A service that ignores it is correct too.
"""

from __future__ import annotations

from typing import Any

import msgspec

from macaque.envelope import Request, json_of
from mqlight.amqp.fast_messages import text_body, text_message
from mqlight.amqp.message import MessageError, decode

__all__ = [
    "BadControl",
    "Control",
    "cancel_topic",
    "decode_control",
    "encode_cancel",
    "encode_end",
    "encode_grant",
    "encode_part",
    "stream_topic",
]

CANCEL = "macaque/cancel/"
STREAM = "macaque/stream/"


class BadControl(ValueError):
    """The bytes are no control message."""


class Control(msgspec.Struct, omit_defaults=True, rename="camel"):
    """A message about the request with this `uuid` and this `expires`."""

    uuid: str
    expires: float | None = None
    up_to: int | None = None


class _Part(msgspec.Struct):
    uuid: str
    data: Any
    seq: int
    more: bool
    control: str


class _End(msgspec.Struct):
    uuid: str
    data: None
    seq: int
    more: bool


_to_control = msgspec.json.Decoder(Control).decode


def cancel_topic(topic: str) -> str:
    """Return the topic to cancel a request to `topic`; for a pattern of topics, the pattern."""
    return CANCEL + topic


def encode_cancel(uuid: str, topic: str, expires: float | None, seconds: float) -> bytes:
    """Return the AMQP message that cancels a request. `topic` is its own; after `seconds` it is of no use."""
    body = msgspec.json.encode(Control(uuid, expires))
    return text_message(body, topic, None, None, None, max(int(seconds * 1000), 1))


def stream_topic(client_id: str) -> str:
    """Return the topic above the control topics of a server's streams."""
    return STREAM + client_id


def encode_grant(uuid: str, topic: str, up_to: int, seconds: float) -> bytes:
    """Return the AMQP message that grants parts of a stream. `topic` is its control topic."""
    body = msgspec.json.encode(Control(uuid, None, up_to))
    return text_message(body, topic, None, None, None, max(int(seconds * 1000), 1))


def encode_part(request: Request, data: object, seq: int, control: str) -> bytes:
    """Return the AMQP message of a part of a stream. Raises TypeError as `encode_reply` does."""
    body = json_of(_Part(request.uuid, data, seq, True, control), data, "part")
    return text_message(body, request.reply_to, None, None, request.uuid)


def encode_end(request: Request, count: int) -> bytes:
    """Return the AMQP message of the end of a stream of `count` parts."""
    body = msgspec.json.encode(_End(request.uuid, None, count, False))
    return text_message(body, request.reply_to, None, None, request.uuid)


def decode_control(message: bytes) -> Control:
    """Return the control message in an AMQP message. Raises BadControl."""
    text = text_body(message)
    try:
        return _to_control(decode(message).body if text is None else text)
    except (MessageError, TypeError, ValueError, RecursionError) as error:
        raise BadControl(f"The message is no control message: {error}") from error
