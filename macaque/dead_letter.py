"""A dead letter: a request that failed every delivery attempt, with the reason, as a message to `macaque/dead/<topic>`.

The rules of this file:

* The request is the body, byte for byte as it arrived. The facts about it are in the application properties.
* Any program may send to the dead-letter topic. A message that is not a dead letter gets an id as well, so that it can
  be dropped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from macaque.arguments import LONGEST
from macaque.envelope import BadRequest, decode_request, encode_again
from mqlight.amqp.message import Message, MessageError, decode, encode, topic_of

__all__ = [
    "PATTERN",
    "SHARE",
    "TTL",
    "DeadLetter",
    "dead_topic",
    "decode_dead_letter",
    "encode_dead_letter",
    "revive",
    "without_request",
]

PREFIX = "macaque/dead/"
PATTERN = "macaque/dead/#"
SHARE = "macaque-dead"
"""All servers, and `macaque dead`, are members of this share, which keeps the dead letters."""
TTL = LONGEST
"""Seconds that the dead letters are kept while no server is connected."""
MAX_REASON = 1000


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter. `time` is in ms since 1970. `topic` is the topic of the request, and `source` is its sender."""

    id: str
    endpoint: str
    share: str | None = None
    topic: str
    reason: str
    count: int
    time: int
    source: str | None = None
    server: str | None = None
    message: bytes
    """The request as it arrived, an AMQP message."""

    @property
    def data(self) -> Any:
        """The data of the request; None if it cannot be decoded."""
        try:
            return decode_request(self.message).data
        except BadRequest:
            return None


def dead_topic(endpoint: str) -> str:
    """Return the topic of the dead letters of a service."""
    return PREFIX + endpoint


def without_request(letter: DeadLetter) -> DeadLetter:
    """Return a dead letter without its request, for a broker that refuses the whole letter. Its reason says so."""
    size = len(letter.message)
    said = f" (the request is left out, because a dead letter with its {size} bytes is larger than the broker accepts)"
    return msgspec.structs.replace(letter, message=b"", reason=letter.reason[: MAX_REASON - len(said)] + said)


def encode_dead_letter(letter: DeadLetter) -> bytes:
    """Return the AMQP message of a dead letter."""
    about = {name: value for name, value in msgspec.structs.asdict(letter).items() if name not in ("id", "message")}
    about["reason"] = letter.reason[:MAX_REASON]
    return encode(
        Message(
            body=letter.message,
            to=dead_topic(letter.endpoint),
            message_id=letter.id,
            content_type="application/octet-stream",
            durable=True,
            properties={name: value for name, value in about.items() if value is not None},
        )
    )


def decode_dead_letter(data: bytes) -> DeadLetter:
    """Return the dead letter in an AMQP message; if there is none, a dead letter with an empty request."""
    topic, content = PREFIX, data
    try:
        message = decode(data)
        topic = topic_of(message.to or topic)
        fixed = msgspec.structs.replace(message, ttl=None, delivery_count=0, first_acquirer=False)
        content = repr(fixed).encode()
        about = {**(message.properties or {}), "id": message.message_id, "message": message.body}
        letter = msgspec.convert(about, DeadLetter)
        if letter.id:
            return letter
    except (MessageError, msgspec.ValidationError):
        pass
    return DeadLetter(
        id=hashlib.sha256(content).hexdigest()[:12], endpoint=topic.removeprefix(PREFIX), topic=topic,
        reason="not a dead letter: another program sent this message to the dead-letter topic",
        count=0, time=0, message=b"",
    )  # fmt: skip


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 attempt`, `2 attempts`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def request_topic(message: bytes, endpoint: str, topic_in: Callable[[str], str] = topic_of) -> str:
    """Return the topic to which a request was sent; `endpoint` if the request has no topic.

    Args:
        topic_in: returns the topic in the `to` of a message, which each kind of broker writes in its own way.
    """
    try:
        to = decode(message).to
    except MessageError:
        return endpoint
    return topic_in(to) if to else endpoint


def revive(letter: DeadLetter) -> bytes:
    """Return the request of a dead letter, ready to be sent to its topic again as if it had never been tried.

    Raises:
        BadRequest: the dead letter has no request.
    """
    if not letter.message:
        raise BadRequest(f"There is no request in the dead letter {letter.id}, so it cannot be sent again.")
    return encode_again(letter.message, letter.topic)
