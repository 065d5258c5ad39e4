"""Dead letters: the requests that services gave up, which wait in the share of macaque's servers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from mqlight.amqp.message import Message, MessageError, decode, encode
from mqlight.server.broker import Broker
from mqlight.server.console.content import Content, read
from mqlight.server.destination import Destination
from mqlight.server.queued import Queued

TOPIC = "macaque/dead/"
MOST = 200
"""The most letters that a page shows."""


class Letter(NamedTuple):
    """A dead letter and the destination in which it waits."""

    destination: Destination
    queued: Queued
    about: Content
    request: bytes
    """The request as it arrived; empty if there is none."""

    @property
    def topic(self) -> str:
        """The topic that the request was sent to."""
        headers = self.about.headers
        return headers.get("topic") or self.about.topic.removeprefix(TOPIC)


def letters(broker: Broker) -> Iterator[Letter]:
    """Yield the waiting dead letters in their order."""
    for destination in list(broker.destinations.values()):
        if destination.name.pattern.startswith(TOPIC):
            for queued in destination.waiting():
                yield _letter(destination, queued)


def count(broker: Broker) -> int:
    """Return the number of waiting dead letters."""
    return sum(each.count for each in broker.destinations.values() if each.name.pattern.startswith(TOPIC))


def find(broker: Broker, sequences: AbstractSet[int]) -> dict[int, Letter]:
    """Return those dead letters with the given sequences that still wait, by sequence."""
    return {
        queued.sequence: _letter(destination, queued)
        for destination in list(broker.destinations.values())
        if destination.name.pattern.startswith(TOPIC)
        for queued in destination.waiting()
        if queued.sequence in sequences
    }


def _letter(destination: Destination, queued: Queued) -> Letter:
    request = b""
    try:
        body = decode(queued.rest).body
        request = body if isinstance(body, bytes) else b""
    except MessageError:
        pass
    return Letter(destination, queued, read(queued.rest), request)


def rows(broker: Broker, seen: Callable[[str], bool]) -> list[dict[str, Any]]:
    """Return the waiting dead letters for the page, the oldest first. ``seen`` says whose bodies may be shown."""
    return [_row(each, seen=seen(TOPIC + each.topic)) for each in islice(letters(broker), MOST)]


def _row(letter: Letter, *, seen: bool) -> dict[str, Any]:
    headers, request = letter.about.headers, read(letter.request) if letter.request else None
    return {
        "number": letter.queued.sequence,
        "topic": letter.topic,
        "reason": headers.get("reason", "somebody sent it to the topic of dead letters"),
        "attempts": int(count) if (count := headers.get("count", "0")).isdigit() else 0,
        "at": int(time) if (time := headers.get("time", "0")).isdigit() else 0,
        "from": headers.get("source", ""),
        "server": headers.get("server", ""),
        "replayable": request is not None and request.kind in ("json", "text"),
        "kind": "" if request is None else request.kind,
        "body": request.text if request is not None and seen else None,
        "cut": request is not None and request.cut,
    }


def revive(letter: Letter, body: str | None) -> bytes:
    """Return the request of a letter as a new message without delivery attempts. ``body`` replaces the old body.

    No caller waits for the reply any more, so an envelope loses ``replyTo`` and ``expires``.

    Raises:
        ValueError: The letter has no request, or its request is no message.
    """
    if not letter.request:
        raise ValueError("there is no request in this letter, so it cannot be sent again")
    try:
        old = decode(letter.request)
    except MessageError as error:
        raise ValueError(f"the request in this letter is no message: {error}") from None
    text, reply_to = old.body if body is None else body, old.reply_to
    if isinstance(text, str):
        try:
            members = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            members = None
        if isinstance(members, dict) and "uuid" in members and "data" in members:
            again = _without(text, members)
            text, reply_to = again, None
    new: dict[str, Any] = {
        "body": text, "to": letter.topic, "reply_to": reply_to, "ttl": None, "delivery_count": 0,
        "absolute_expiry_time": None, "first_acquirer": False,
    }  # fmt: skip
    return encode(msgspec.structs.replace(old, **new))


def _without(text: str, members: dict[str, Any]) -> str:
    """Return an envelope without the members that end its caller's wait. Its numbers stay as they are written."""
    raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({name: raw[name] for name in members if name not in ("replyTo", "expires")}).decode()


def message(topic: str, body: str, ttl: int | None) -> bytes:
    """Return a message that the page sends. ``ttl`` is in ms.

    Raises:
        MessageError: The message cannot be encoded.
    """
    kind = "application/json" if body[:1] in ("{", "[") else "text/plain"
    return encode(Message(body=body, to=topic, ttl=ttl, content_type=kind))
