"""The console's answers to readers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, ClassVar

import gevent
import msgspec
from bottle import HTTPResponse

from mqlight.amqp.topics import TopicError, matches
from mqlight.server.broker import Broker
from mqlight.server.console import dead, web
from mqlight.server.console.history import Story
from mqlight.server.console.messages import ROWS
from mqlight.server.console.query import Test, parse
from mqlight.server.console.sessions import Reader
from mqlight.server.console.views import Views
from mqlight.server.destination import Destination
from mqlight.server.listener import Listener

EXPORTED = 20
"""The messages that are looked at in one go for an export."""
PATIENCE = 0.5
"""Seconds within which servers must describe their services."""


class Reading:
    """Answers that change nothing. Each takes the reader and the path's parameters, and may raise Problem."""

    ROUTES: ClassVar[dict[str, str]] = {
        "/api/messages": "messages",
        "/api/messages.jsonl": "export",
        "/api/messages/<name>": "message",
        "/api/clients": "clients",
        "/api/clients/<name:path>": "client",
        "/api/destinations": "destinations",
        "/api/destinations/<number:int>": "destination",
        "/api/calls": "calls",
        "/api/calls/<name>": "call",
        "/api/services": "services",
        "/api/dead-letters": "letters",
        "/api/route": "route",
        "/api/topics": "topics",
        "/metrics": "metrics",
    }

    def __init__(self, listener: Listener, views: Views) -> None:
        self._listener = listener
        self._broker = listener.broker
        self._views = views

    def messages(self, reader: Reader) -> HTTPResponse:
        """Return the newest messages that a filter finds."""
        query, before, most = web.query(), web.number("before", None), web.number("limit", ROWS) or ROWS
        now = time.monotonic()
        test = parse(query) if query.strip() else None
        stories, more = self._views.messages.find(test, now, reader.sees, before=before, most=min(most, 500))
        rows = b",".join(self._views.messages.row(story, now, reader.sees) for story in stories)
        data = b'{"now":%d,"messages":[%s],"more":%s}' % (
            self._views.wall(now), rows, b"null" if more is None else b"%d" % more
        )  # fmt: skip
        return web.as_json(msgspec.Raw(data))

    def export(self, reader: Reader) -> HTTPResponse:
        """Return all remembered messages that a filter finds, one JSON object a line, the oldest first."""
        query = web.query()
        test, run = parse(query) if query.strip() else None, self._views.messages.run
        headers = {
            "Content-Type": "application/x-ndjson",
            "Content-Disposition": f'attachment; filename="messages-{run}.jsonl"',
            "Cache-Control": "no-store",
        }
        return HTTPResponse(self._lines(test, reader), headers=headers)

    def _lines(self, test: Test | None, reader: Reader) -> Iterator[bytes]:
        messages = self._views.messages
        for place, number in enumerate(list(messages.history.stories)):
            if place % EXPORTED == 0:
                gevent.sleep(0)  # let the server work
            story, now = messages.history.stories.get(number), time.monotonic()
            if story is not None and (test is None or test(story, now, reader.sees(story.topic))):
                yield msgspec.json.encode(messages.record(story, now, reader.sees)) + b"\n"

    def message(self, reader: Reader, name: str) -> dict[str, Any]:
        """Return one message with its story."""
        return self._views.messages.detail(self._story(name), time.monotonic(), reader.sees)

    def _story(self, name: str) -> Story:
        story = self._views.messages.lookup(name)
        if isinstance(story, str):
            raise web.Problem(404, story)
        return story

    def clients(self, reader: Reader) -> dict[str, Any]:
        """Return the connected clients, and those that disconnected lately."""
        return {"clients": self._views.clients.cards()}

    def client(self, reader: Reader, name: str) -> dict[str, Any]:
        """Return a client with its links and the messages that it has."""
        found = self._views.clients.detail(name, time.monotonic(), reader.sees)
        if found is None:
            raise web.Problem(404, f"no client {name[:80]} is connected, and none was lately")
        return found

    def destinations(self, reader: Reader) -> dict[str, Any]:
        """Return shares and subscriptions."""
        found = self._views.destinations.cards(time.monotonic(), min(web.number("limit", 100) or 100, 10_000))
        return {"destinations": found, "of": len(self._broker.destinations)}

    def destination(self, reader: Reader, number: int) -> dict[str, Any]:
        """Return a destination and its messages."""
        destination, now = destination_of(self._broker, number), time.monotonic()
        waiting = self._views.destinations.peek(destination, now, reader.sees)
        return {**self._views.destinations.card(destination, now), "messages": waiting}

    def calls(self, reader: Reader) -> dict[str, Any]:
        """Return the newest calls."""
        return {"calls": self._views.calls.rows(reader.sees, min(web.number("limit", ROWS) or ROWS, 500))}

    def call(self, reader: Reader, name: str) -> dict[str, Any]:
        """Return the call of a request, with the calls around it and inside it."""
        return self._views.calls.detail(self._story(name), time.monotonic(), reader.sees)

    def services(self, reader: Reader) -> dict[str, Any]:
        """Ask the servers of services, and return their answers."""
        services, now = self._views.services, time.monotonic()
        services.ask(now)
        self._listener.flush()
        while not services.complete and time.monotonic() < now + PATIENCE:
            gevent.sleep(0.01)
        return {"services": services.rows(time.monotonic(), reader.knows)}

    def letters(self, reader: Reader) -> dict[str, Any]:
        """Return the waiting dead letters."""
        return {"letters": dead.rows(self._broker, reader.sees), "of": dead.count(self._broker)}

    def route(self, reader: Reader) -> dict[str, Any]:
        """Return the destinations that a message to a topic would go to."""
        topic = web.argument("topic")
        try:
            self._listener.limits.check_topic(topic)
        except TopicError as error:
            raise web.Problem(400, str(error)) from None
        return {"topic": topic, "destinations": self._views.destinations.route(topic)}

    def topics(self, reader: Reader) -> dict[str, Any]:
        """Return the topics of the remembered messages: all, or those that a pattern matches."""
        topics, pattern = self._views.messages.topics(reader.sees), web.argument("pattern")
        if pattern:
            try:
                self._listener.limits.check_pattern(pattern)
            except TopicError as error:
                raise web.Problem(400, str(error)) from None
            topics = [each for each in topics if matches(pattern, each["topic"])]
        return {"topics": topics}

    def metrics(self, reader: Reader) -> HTTPResponse:
        """Return the metrics for Prometheus."""
        try:
            from mqlight.server.metrics import exposition
        except ModuleNotFoundError:
            reason = "figures need prometheus-client: pip install 'macaque-amqp[server,metrics]'"
            raise web.Problem(404, reason) from None
        kind, data = exposition(self._listener)
        return HTTPResponse(data, headers={"Content-Type": kind})


def destination_of(broker: Broker, number: int) -> Destination:
    """Return the destination with a number.

    Raises:
        Problem: There is no such destination.
    """
    for destination in broker.destinations.values():
        if destination.number == number:
            return destination
    raise web.Problem(404, f"there is no destination {number} any more")
