"""The console's actions for readers with the right to act: send, replay, purge and drop."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any, ClassVar, NamedTuple

import gevent
import msgspec
from gevent.event import AsyncResult

from mqlight.amqp.message import MessageError
from mqlight.amqp.topics import TopicError
from mqlight.amqp.types import Condition, Outcome
from mqlight.server.console import dead, web
from mqlight.server.console.history import History
from mqlight.server.console.mailbox import Reply
from mqlight.server.console.reading import destination_of
from mqlight.server.console.sessions import Reader
from mqlight.server.console.views import Views
from mqlight.server.destination import Destination
from mqlight.server.listener import Listener
from mqlight.server.publication import read_publication
from mqlight.server.queued import Queued

log = logging.getLogger(__name__)

_KEPT_WITHIN = 10.0
"""Seconds within which the store must keep a message that the console sends."""

UNDO, MOST_UNDONE = 60.0, 16 * 1024 * 1024
"""Seconds for which a purge can be undone, and the most bytes of messages that are kept for that."""
LONGEST_CALL = 60.0
"""The most seconds that a page waits for the reply to a call."""


class _Page:
    """The sender of a message from a page."""

    def __init__(self, reader: Reader) -> None:
        self.client_id = "console" if reader.name is None else f"console of {reader.name}"


class _Undoable(NamedTuple):
    """The last removal of messages: its name for the page, and the removed messages by their destinations."""

    name: str
    parts: list[tuple[Destination, list[Queued]]]


class Acting:
    """The actions. Each takes the reader, the request's JSON object and the path's parameters. It may raise Problem."""

    ROUTES: ClassVar[dict[str, str]] = {
        "/api/messages": "send",
        "/api/destinations/<number:int>/purge": "purge",
        "/api/destinations/<number:int>/drop": "drop",
        "/api/demo": "demo",
        "/api/services/call": "call",
        "/api/undo": "undo",
        "/api/clear": "clear",
        "/api/dead-letters/replay": "replay",
        "/api/dead-letters/drop": "drop_letters",
    }

    def __init__(self, listener: Listener, history: History, views: Views) -> None:
        self._listener = listener
        self._broker = listener.broker
        self._history = history
        self._views = views
        self._undoable = _Undoable("", [])

    def _publish(self, reader: Reader, data: bytes, topic: str) -> Outcome:
        """Send a message, and wait until it is safe.

        Raises:
            Problem: The message is invalid, forbidden or refused.
        """
        if not reader.permissions.may_send(topic):
            raise web.Problem(403, f"the user {reader.name} may not send to {topic}")
        try:
            self._listener.limits.check_topic(topic)
            admitted = read_publication(data, topic)
        except (TopicError, MessageError) as error:
            raise web.Problem(400, str(error)) from None
        told: AsyncResult[Condition | None] = AsyncResult()
        tell = None if self._broker.journal is None else told.set
        now, sender = time.monotonic(), _Page(reader)
        outcome, condition = self._broker.publish(admitted, now, tell, sender)
        if outcome is None:
            self._listener.flush()
            try:
                condition = told.get(timeout=_KEPT_WITHIN)
            except gevent.Timeout:
                raise web.Problem(503, "the store is slow: look whether the message is there, or try again") from None
            outcome = Outcome.ACCEPTED if condition is None else Outcome.REJECTED
        if outcome is not Outcome.ACCEPTED:
            self._history.refused(sender, topic, data, outcome, condition, now)
        if condition is not None:
            raise web.Problem(409, condition.description)
        return outcome

    def send(self, reader: Reader, body: dict[str, Any]) -> dict[str, Any]:
        """Send a message. Return its outcome and its id."""
        topic, ttl = web.text(body, "topic"), body.get("ttl")
        if ttl is not None and not (isinstance(ttl, int) and 0 < ttl < 2**32):
            raise web.Problem(400, "ttl is a whole number of milliseconds")
        try:
            data = dead.message(topic, web.text(body, "body"), ttl)
        except MessageError as error:
            raise web.Problem(400, str(error)) from None
        if len(data) > self._listener.limits.message_size:
            raise web.Problem(413, f"the message is too large ({self._listener.limits.flag('message_size')})")
        before = self._history.recorded
        outcome = self._publish(reader, data, topic)
        return {
            "outcome": outcome.name.lower(),
            "id": f"{self._views.messages.run}-{before + 1}" if self._history.recorded > before else None,
        }

    def call(self, reader: Reader, body: dict[str, Any]) -> dict[str, Any]:
        """Call a service, and return the reply."""
        topic, seconds = web.text(body, "topic"), body.get("timeout", 10)
        if not isinstance(seconds, (int, float)) or not 0 < seconds <= LONGEST_CALL:
            raise web.Problem(400, f"timeout is a number of seconds, at most {LONGEST_CALL:g}")
        try:
            data = msgspec.Raw(msgspec.json.format(web.text(body, "data").encode(), indent=-1))
        except msgspec.DecodeError as error:
            raise web.Problem(400, f"the data is no JSON: {error}") from None
        mailbox, before = self._views.mailbox, self._history.recorded
        told: AsyncResult[Reply] = AsyncResult()
        key, message = mailbox.request(topic, data, int(seconds * 1000), time.monotonic(), told.set)
        try:
            if self._publish(reader, message, topic) is Outcome.RELEASED:
                raise web.Problem(409, f"nobody is subscribed to {topic}: start the service first")
            name = f"{self._views.messages.run}-{before + 1}" if self._history.recorded > before else None
            self._listener.flush()
            reply = told.get(timeout=seconds) or {}
        except gevent.Timeout:
            raise web.Problem(504, f"no reply from {topic} within {seconds:g} s") from None
        finally:
            mailbox.forget(key)
        failed = "error" in reply
        said = bytes(reply.get("error" if failed else "data", b"null")).decode()
        return {"id": name, "failed": failed, "reply": said}

    def demo(self, reader: Reader, body: dict[str, Any]) -> dict[str, Any]:
        """Start or end the demo."""
        demo, run = self._views.demo, body.get("run")
        if not isinstance(run, bool):
            raise web.Problem(400, "run is true or false")
        (demo.start if run else demo.stop)(time.monotonic())
        return {"running": demo.running}

    def purge(self, reader: Reader, body: dict[str, Any], number: int) -> dict[str, Any]:
        """Delete all waiting messages of a destination."""
        destination = destination_of(self._broker, number)
        gone = self._broker.purge(destination)
        log.warning("%d messages were purged from %s by the console", len(gone), destination.name)
        return {"purged": len(gone), "undo": self._keep([(destination, gone)])}

    def clear(self, reader: Reader, body: dict[str, Any]) -> dict[str, Any]:
        """Forget the remembered messages. The server's own messages stay."""
        count = len(self._history.stories)
        self._history.clear()
        return {"forgotten": count}

    def undo(self, reader: Reader, body: dict[str, Any]) -> dict[str, Any]:
        """Give the messages of the last purge or drop of letters their places back."""
        name, parts = self._undoable
        if not name or web.text(body, "undo") != name:
            raise web.Problem(409, f"this can no longer be undone: only the last act can, for {UNDO:g} s")
        self._forget(name)
        now = time.monotonic()
        kept = [len(gone) for destination, gone in parts if self._broker.unpurge(destination, gone, now)]
        if len(kept) < len(parts):
            raise web.Problem(409, "the destination has ended meanwhile, and its messages are lost")
        log.warning("%d messages were brought back by the console", sum(kept))
        return {"restored": sum(kept)}

    def _keep(self, parts: list[tuple[Destination, list[Queued]]]) -> str | None:
        """Keep removed messages for a while. Return the name under which they can be brought back."""
        size = sum(len(message.rest) for _, gone in parts for message in gone)
        if not any(gone for _, gone in parts) or size > MOST_UNDONE:
            return None
        self._undoable = _Undoable(secrets.token_hex(8), parts)
        gevent.spawn_later(UNDO, self._forget, self._undoable.name)
        return self._undoable.name

    def _forget(self, name: str) -> None:
        if self._undoable.name == name:
            self._undoable = _Undoable("", [])

    def drop(self, reader: Reader, body: dict[str, Any], number: int) -> dict[str, Any]:
        """Delete a destination without members."""
        destination = destination_of(self._broker, number)
        count = destination.count
        if not self._broker.drop(destination):
            raise web.Problem(409, f"{destination.name} has {len(destination.consumers)} members: stop them first")
        log.warning("the destination %s was dropped by the console", destination.name)
        return {"dropped": count}

    def replay(self, reader: Reader, body: dict[str, Any]) -> dict[str, Any]:
        """Send the requests of dead letters again. Return the result for each letter."""
        numbers, text = web.numbers(body), body.get("body")
        if text is not None and (not isinstance(text, str) or len(numbers) != 1):
            raise web.Problem(400, "another body is a text, for one letter")
        letters = dead.find(self._broker, set(numbers))
        results, replayed = [], []
        try:
            for number in numbers:
                result = self._replay_one(reader, letters.pop(number, None), text)
                results.append({"number": number, **result})
                if "error" not in result:
                    replayed.append(number)
        finally:  # a letter is deleted only when its request was accepted
            self._remove_letters(replayed)
        return {"results": results}

    def _replay_one(self, reader: Reader, letter: dead.Letter | None, text: str | None) -> dict[str, Any]:
        """Send the request of a letter again. Return the new message's id, or the error."""
        if letter is None:
            return {"error": "it is no longer there"}
        before = self._history.recorded
        try:
            outcome = self._publish(reader, dead.revive(letter, text), letter.topic)
        except (web.Problem, ValueError) as problem:
            return {"error": str(problem)}
        if outcome is Outcome.RELEASED:
            return {"error": f"nobody is subscribed to {letter.topic}: start the service first"}
        return {"id": f"{self._views.messages.run}-{before + 1}" if self._history.recorded > before else None}

    def drop_letters(self, reader: Reader, body: dict[str, Any]) -> dict[str, Any]:
        """Delete dead letters."""
        parts = self._remove_letters(web.numbers(body))
        count = sum(len(gone) for _, gone in parts)
        log.warning("%d dead letters were dropped by the console", count)
        return {"dropped": count, "undo": self._keep(parts)}

    def _remove_letters(self, numbers: list[int]) -> list[tuple[Destination, list[Queued]]]:
        wanted = set(numbers)
        return [
            (destination, self._broker.purge(destination, wanted))
            for destination in list(self._broker.destinations.values())
            if wanted and destination.name.pattern.startswith(dead.TOPIC)
        ]
