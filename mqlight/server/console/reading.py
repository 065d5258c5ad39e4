"""The console's answers to readers."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import msgspec
from bottle import HTTPResponse

from mqlight.amqp.topics import TopicError
from mqlight.server.broker import Broker
from mqlight.server.console import dead, web
from mqlight.server.console.query import parse
from mqlight.server.console.sessions import Reader
from mqlight.server.console.views import ROWS, Views
from mqlight.server.destination import Destination
from mqlight.server.listener import Listener


class Reading:
    """Answers that change nothing. Each takes the reader and the path's parameters, and may raise Problem."""

    ROUTES: ClassVar[dict[str, str]] = {
        "/api/messages": "messages",
        "/api/messages/<name>": "message",
        "/api/clients": "clients",
        "/api/destinations": "destinations",
        "/api/destinations/<number:int>": "destination",
        "/api/calls": "calls",
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
        stories, more = self._views.find(test, now, reader.sees, before=before, most=min(most, 500))
        rows = b",".join(self._views.row(story, now, reader.sees) for story in stories)
        data = b'{"now":%d,"messages":[%s],"more":%s}' % (
            self._views.wall(now), rows, b"null" if more is None else b"%d" % more
        )  # fmt: skip
        return web.as_json(msgspec.Raw(data))

    def message(self, reader: Reader, name: str) -> dict[str, Any]:
        """Return one message with its story."""
        story = self._views.lookup(name)
        if isinstance(story, str):
            raise web.Problem(404, story)
        return self._views.detail(story, time.monotonic(), reader.sees)

    def clients(self, reader: Reader) -> dict[str, Any]:
        """Return the connected clients, and those that disconnected lately."""
        return {"clients": self._views.clients()}

    def destinations(self, reader: Reader) -> dict[str, Any]:
        """Return shares and subscriptions."""
        found = self._views.destinations(time.monotonic(), min(web.number("limit", 100) or 100, 10_000))
        return {"destinations": found, "of": len(self._broker.destinations)}

    def destination(self, reader: Reader, number: int) -> dict[str, Any]:
        """Return a destination and its messages."""
        destination, now = destination_of(self._broker, number), time.monotonic()
        waiting = self._views.peek(destination, now, reader.sees)
        return {**self._views.destination(destination, now), "messages": waiting}

    def calls(self, reader: Reader) -> dict[str, Any]:
        """Return the newest calls."""
        return {"calls": self._views.calls(time.monotonic(), reader.sees, min(web.number("limit", ROWS) or ROWS, 500))}

    def letters(self, reader: Reader) -> dict[str, Any]:
        """Return the waiting dead letters."""
        return {"letters": self._views.letters(reader.sees), "of": dead.count(self._broker)}

    def route(self, reader: Reader) -> dict[str, Any]:
        """Return the destinations that a message to a topic would go to."""
        topic = web.argument("topic")
        try:
            self._listener.limits.check_topic(topic)
        except TopicError as error:
            raise web.Problem(400, str(error)) from None
        return {"topic": topic, "destinations": self._views.route(topic)}

    def topics(self, reader: Reader) -> dict[str, Any]:
        """Return the topics of the remembered messages."""
        return {"topics": self._views.topics(reader.sees)}

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
