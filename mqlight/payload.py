"""What an application sends and receives, as AMQP messages: text, bytes, and everything else as JSON.

The mapping is MQ Light's: text is an amqp-value string of type `text/plain`, bytes an amqp-value binary of type
`application/octet-stream`, and any other value a string with JSON text of type `application/json`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from mqlight.errors import InvalidArgumentError
from mqlight.jsontext import encode_json
from mqlight.wire.message import Message, decode, encode, topic_of
from mqlight.wire.text import media_type

__all__ = ["MALFORMED", "MESSAGE", "Received", "pack", "unpack"]

MESSAGE = "message"
MALFORMED = "malformed"

_MALFORMED = "x-opt-message-malformed-"
_MQMD = _MALFORMED + "MQMD."


class Received(NamedTuple):
    """A message as the application sees it.

    `kind` is MESSAGE or MALFORMED; `ttl` is what is left of its time to live in milliseconds, or None. `malformed` is
    None or says why the server or this client could not turn the message into what its sender meant.
    """

    kind: str
    data: Any
    topic: str | None
    ttl: int | None
    malformed: dict[str, Any] | None


_JSON_TYPE = "application/json"


def pack(topic: str, data: object, ttl: int | None) -> bytes:
    """The encoded message that carries `data` to `topic`; `ttl` is in milliseconds.

    Raises:
        TypeError: JSON has no place for a value of this type.
        InvalidArgumentError: text that UTF-8 cannot carry.
    """
    body: str | bytes
    if isinstance(data, str):
        body, content_type = str.__str__(data), "text/plain"
    elif isinstance(data, (bytes, bytearray, memoryview)):
        body, content_type = bytes(memoryview(data)), "application/octet-stream"
    else:
        body, content_type = _json(data), "application/json"
    # A topic that looks like a URL would lose its first part where the service is taken off.
    to = topic if topic_of(topic) == topic else f"amqp:///{topic}"
    try:
        return encode(Message(body=body, to=to, content_type=content_type, ttl=ttl))
    except ValueError as error:
        raise InvalidArgumentError(f"Cannot send this data: {error}", argument="data", value=data) from error


def _json(data: object) -> str:
    try:
        return encode_json(data).decode()
    except (TypeError, RecursionError, BufferError) as error:
        raise TypeError(
            f"Cannot send a {type(data).__name__} as JSON: {error}; send text, bytes, or a value that JSON can carry"
        ) from error
    except ValueError as error:
        raise InvalidArgumentError(f"Cannot send this data: {error}", argument="data", value=data) from error


def unpack(encoded: bytes) -> Received:
    """What an encoded message carries.

    Text comes out as str, JSON as what it says, bytes as bytearray, other AMQP values as they are; no body as "".

    Raises:
        ValueError: it is no AMQP message.
    """
    message = decode(encoded)
    topic = None if message.to is None else topic_of(message.to)
    malformed = _reported(message.delivery_annotations) or _reported(message.annotations)
    data: Any = message.body
    if data is None:
        data = ""
    elif malformed is None and isinstance(data, (str, bytes)) and media_type(message.content_type) == _JSON_TYPE:
        try:
            data = msgspec.json.decode(data)
        except (ValueError, RecursionError) as error:
            malformed = {
                "condition": "PAYLOADENCODING",
                "description": f"The message is not the JSON it claims: {error}",
            }
    if isinstance(data, bytes):
        data = bytearray(data)
    return Received(MESSAGE if malformed is None else MALFORMED, data, topic, message.ttl, malformed)


def _reported(annotations: dict[Any, Any] | None) -> dict[str, Any] | None:
    """What a server says about a message that it could not convert (annotations `x-opt-message-malformed-*`)."""
    if not annotations or _MALFORMED + "condition" not in annotations:
        return None
    report: dict[str, Any] = {
        "condition": str(annotations[_MALFORMED + "condition"]),
        "description": annotations.get(_MALFORMED + "description"),
    }
    mqmd = {name[len(_MQMD) :]: value for name, value in annotations.items() if str(name).startswith(_MQMD)}
    if mqmd:
        report["MQMD"] = mqmd
    return report
