"""A broker with a history that watches it, and real engines as its clients."""

from __future__ import annotations

from random import Random
from typing import Any

from mqlight.amqp.message import Message
from mqlight.server.console.history import History, Story
from mqlight.server.console.views import Views
from mqlight.server.console.why import Cause, why
from mqlight.server.limits import Limits
from server.clients import Client, Server


class Watched(Server):
    """A server without sockets whose messages are recorded."""

    def __init__(self, memory: int = 32 * 1024 * 1024, limits: Limits | None = None) -> None:
        super().__init__(limits)
        self.history = History(memory)
        self.broker.observer = self.history
        self.history.tick(self.now, watched=True)
        self.views = Views(
            self.broker, self.history, lambda: [each.connection.client for each in self.clients], "run", 0.0, Random(1)
        )

    def wait(self, seconds: float) -> None:
        self.now += seconds
        for client in self.clients:
            client.connection.tick(self.now)
        self.history.tick(self.now, watched=True)
        self.broker.sweep(self.now)
        self.run()
        self.views.second(self.now, watched=True)

    def call(self, topic: str, key: str, client_id: str = "web", trace: str = "", span: int = 1) -> Story:
        """Send a request as a client; returns its story."""
        headers = {"traceparent": f"00-{trace}-{span:016x}-01"} if trace else None
        body = f'{{"uuid": "{key}", "data": 1, "replyTo": "response/{client_id}"}}'
        return self.send(topic, body, client_id, properties=headers)

    def reply(self, request: Story, client_id: str) -> Story:
        """Send the reply to a request as a client; returns its story."""
        content = request.content
        body = f'{{"uuid": "{content.key}", "data": 2}}'
        return self.send(content.reply_to, body, client_id, correlation_id=content.key)

    def send(self, topic: str, body: Any = "m", client_id: str = "web", **options: Any) -> Story:
        """Send a message as a client; returns its story."""
        known = next((client for client in self.clients if client.connection.client.client_id == client_id), None)
        client = known or self.client(client_id)
        link = client.publisher(None)
        client.send(link, Message(body=body, to=topic, **options))
        return next(reversed(self.history.stories.values()))

    def why(self, story: Story) -> Cause:
        cause = why(story, self.broker, self.now)
        assert cause is not None
        return cause


__all__ = ["Client", "Watched"]
