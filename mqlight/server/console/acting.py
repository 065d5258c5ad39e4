"""The console's actions for readers with the right to act: send, replay, purge and drop."""

from __future__ import annotations

import logging
import time
from typing import Any, ClassVar

import gevent
from gevent.event import AsyncResult

from mqlight.amqp.message import MessageError
from mqlight.amqp.topics import TopicError
from mqlight.amqp.types import Condition, Outcome
from mqlight.server.console import dead, web
from mqlight.server.console.history import History
from mqlight.server.console.reading import destination_of
from mqlight.server.console.sessions import Reader
from mqlight.server.console.views import Views
from mqlight.server.listener import Listener
from mqlight.server.publication import read_publication

log = logging.getLogger(__name__)

_KEPT_WITHIN = 10.0
"""Seconds within which the store must keep a message that the console sends."""


class _Page:
    """The sender of a message from a page."""

    def __init__(self, reader: Reader) -> None:
        self.client_id = "console" if reader.name is None else f"console of {reader.name}"


class Acting:
    """The actions. Each takes the reader, the request's JSON object and the path's parameters. It may raise Problem."""

    ROUTES: ClassVar[dict[str, str]] = {
        "/api/messages": "send",
        "/api/destinations/<number:int>/purge": "purge",
        "/api/destinations/<number:int>/drop": "drop",
        "/api/dead-letters/replay": "replay",
        "/api/dead-letters/drop": "drop_letters",
    }

    def __init__(self, listener: Listener, history: History, views: Views) -> None:
        self._listener = listener
        self._broker = listener.broker
        self._history = history
        self._views = views

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
            "id": f"{self._views.run}-{before + 1}" if self._history.recorded > before else None,
        }

    def purge(self, reader: Reader, body: dict[str, Any], number: int) -> dict[str, Any]:
        """Delete all waiting messages of a destination."""
        destination = destination_of(self._broker, number)
        gone = self._broker.purge(destination)
        log.warning("%d messages were purged from %s by the console", len(gone), destination.name)
        return {"purged": len(gone)}

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
        return {"id": f"{self._views.run}-{before + 1}" if self._history.recorded > before else None}

    def drop_letters(self, reader: Reader, body: dict[str, Any]) -> dict[str, Any]:
        """Delete dead letters."""
        gone = self._remove_letters(web.numbers(body))
        log.warning("%d dead letters were dropped by the console", gone)
        return {"dropped": gone}

    def _remove_letters(self, numbers: list[int]) -> int:
        wanted, gone = set(numbers), 0
        for destination in list(self._broker.destinations.values()):
            if wanted and destination.name.pattern.startswith(dead.TOPIC):
                gone += len(self._broker.purge(destination, wanted))
        return gone
