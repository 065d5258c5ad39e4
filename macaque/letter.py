"""A dead letter: a request that nobody could answer, with the reason why, on its way to `macaque/dead/<endpoint>`.

The rules of this file:

* The request is the body, byte for byte as it arrived; what is known about it is in the application properties.
* Anybody may send to the topic of dead letters. What is no letter of ours still has an id, so that it can be dropped.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from macaque.envelope import BadRequest, decode_request, encode_again
from mqlight.wire.message import Message, MessageError, decode, encode, topic_of

__all__ = [
    "PATTERN", "SHARE", "TTL", "Letter", "dead_topic", "decode_letter", "encode_letter", "revive", "without_request",
]  # fmt: skip

PREFIX = "macaque/dead/"
PATTERN = "macaque/dead/#"
SHARE = "macaque-dead"
"""All servers, and `macaque dead`, are members of this share: it is where the letters are kept."""
TTL = 30 * 24 * 3600
"""Seconds that the letters are kept while no server is there: MQ Light's limit."""
MAX_REASON = 1000


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """`time` is in ms since 1970; `topic` is what the request was sent to, and `source` by whom."""

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
        """The data of the request; None if it is none."""
        try:
            return decode_request(self.message).data
        except BadRequest:
            return None


def dead_topic(endpoint: str) -> str:
    return PREFIX + endpoint


def without_request(letter: Letter) -> Letter:
    """The letter without its request, for a broker that does not take it with it. Its reason says so."""
    size = len(letter.message)
    said = f" (the request is left out, because a letter with its {size} bytes is larger than the broker takes)"
    return msgspec.structs.replace(letter, message=b"", reason=letter.reason[: MAX_REASON - len(said)] + said)


def encode_letter(letter: Letter) -> bytes:
    """The AMQP message of a letter."""
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


def decode_letter(data: bytes) -> Letter:
    """The letter in an AMQP message; one with an empty request if it holds none."""
    topic, content = PREFIX, data
    try:
        message = decode(data)
        topic = topic_of(message.to or topic)
        fixed = msgspec.structs.replace(message, ttl=None, delivery_count=0, first_acquirer=False)
        content = repr(fixed).encode()
        about = {**(message.properties or {}), "id": message.message_id, "message": message.body}
        letter = msgspec.convert(about, Letter)
        if letter.id:
            return letter
    except (MessageError, msgspec.ValidationError):
        pass
    return Letter(
        id=hashlib.sha256(content).hexdigest()[:12], endpoint=topic.removeprefix(PREFIX), topic=topic,
        reason="this is no dead letter: somebody sent it to their topic", count=0, time=0, message=b"",
    )  # fmt: skip


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 attempt`, `2 attempts`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def request_topic(message: bytes, endpoint: str) -> str:
    """The topic that a request was sent to; `endpoint` where it does not say."""
    try:
        return topic_of(decode(message).to or endpoint)
    except MessageError:
        return endpoint


def revive(letter: Letter) -> bytes:
    """The request of a letter, to be sent to its topic once more, as if it had never been tried.

    Raises:
        BadRequest: there is none in it.
    """
    if not letter.message:
        raise BadRequest(f"There is no request in the dead letter {letter.id}, so it cannot be sent again.")
    return encode_again(letter.message, letter.topic)
