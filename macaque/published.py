"""The topic and the data of a message, from any program. Pure."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from macaque.dead_letter import PREFIX, decode_dead_letter
from macaque.envelope import BARE_CONTENT_TYPE
from macaque.plain import plain
from mqlight.amqp.message import MessageError, decode

__all__ = ["Published", "published"]


@dataclass(frozen=True)
class Published:
    """A message that was sent: a request, a one-way message, a reply, or a dead letter."""

    topic: str
    data: Any
    """The data of the request, the reply, or the request that is a dead letter. Of any other message, the body."""
    error: dict[str, Any] | None = None
    """The error of an error reply."""
    uuid: str | None = None
    """The id that a request and its reply share."""
    source: str | None = None
    """The client that sent a request, or the topic of its replies."""


def published(topic: str, message: bytes) -> Published:
    """Return the message in the bytes of an AMQP message to a topic."""
    if topic.startswith(PREFIX):
        letter = decode_dead_letter(message)
        return Published(topic, letter.data, source=letter.source)
    try:
        decoded = decode(message)
    except MessageError:
        return Published(topic, message)
    data = decoded.body
    with suppress(TypeError):
        data = plain(data)
    try:
        members = msgspec.json.decode(data)
    except (TypeError, ValueError, RecursionError):
        return Published(topic, data, source=decoded.reply_to)
    if isinstance(members, dict) and isinstance(members.get("uuid"), str):
        get = members.get
        return Published(topic, get("data"), get("error"), members["uuid"], get("source") or get("replyTo"))
    return Published(topic, members if decoded.content_type == BARE_CONTENT_TYPE else data, source=decoded.reply_to)
