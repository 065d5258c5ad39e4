"""The application's data as AMQP messages: text, bytes, and any other value as JSON.

The mapping is MQ Light's: text is an amqp-value string of type `text/plain`, bytes an amqp-value binary of type
`application/octet-stream`, and any other value a string with JSON text of type `application/json`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from mqlight.amqp.fast_messages import JSON, TEXT, text_message
from mqlight.amqp.message import Message, decode, encode, topic_of
from mqlight.amqp.text import media_type
from mqlight.errors import InvalidArgumentError
from mqlight.json_text import encode_json

__all__ = ["MALFORMED", "MESSAGE", "Received", "pack", "unpack"]

MESSAGE = "message"
MALFORMED = "malformed"

_MALFORMED = "x-opt-message-malformed-"
_MQMD = _MALFORMED + "MQMD."


class Received(NamedTuple):
    """A message in the form that the application gets.

    `kind` is MESSAGE or MALFORMED. `ttl` is the remaining time to live in milliseconds, or None. `malformed` is None or
    the reason why the server or this client could not convert the message.
    """

    kind: str
    data: Any
    topic: str | None
    ttl: int | None
    malformed: dict[str, Any] | None


_JSON_TYPE = "application/json"


def pack(topic: str, data: object, ttl: int | None) -> bytes:
    """Return the encoded message that carries `data` to `topic`. `ttl` is in milliseconds.

    Raises:
        TypeError: JSON cannot represent a value of this type.
        InvalidArgumentError: the data cannot be sent, for example text that UTF-8 cannot carry.
    """
    # In a topic that looks like a URL, the part before the path would be removed as the service's address.
    to = topic if topic_of(topic) == topic else f"amqp:///{topic}"
    try:
        if isinstance(data, (bytes, bytearray, memoryview)):
            body = bytes(memoryview(data))
            return encode(Message(body=body, to=to, content_type="application/octet-stream", ttl=ttl))
        text, content_type = (str.__str__(data).encode(), TEXT) if isinstance(data, str) else (_json(data), JSON)
        return text_message(text, to, None, None, None, -1 if ttl is None else ttl, content_type)
    except InvalidArgumentError:
        raise
    except (ValueError, OverflowError) as error:
        raise InvalidArgumentError(f"the data cannot be sent: {error}", argument="data", value=data) from error


def _json(data: object) -> bytes:
    try:
        return encode_json(data)
    except (TypeError, RecursionError, BufferError) as error:
        raise TypeError(
            f"data of type {type(data).__name__} cannot be sent as JSON: {error}; "
            "give text, bytes, or a value that JSON can represent"
        ) from error
    except ValueError as error:
        raise InvalidArgumentError(f"the data cannot be sent: {error}", argument="data", value=data) from error


def unpack(encoded: bytes) -> Received:
    """Return the contents of an encoded message.

    Text becomes str, JSON its value, bytes bytearray. Other AMQP values stay as they are. A missing body becomes "".

    Raises:
        ValueError: the bytes are not an AMQP message.
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
                "description": f"the message has the content type of JSON, but is not JSON: {error}",
            }
    if isinstance(data, bytes):
        data = bytearray(data)
    return Received(MESSAGE if malformed is None else MALFORMED, data, topic, message.ttl, malformed)


def _reported(annotations: dict[Any, Any] | None) -> dict[str, Any] | None:
    """Return a server's report of a message that it could not convert (annotations `x-opt-message-malformed-*`)."""
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
