"""A broker with a history that watches it, and real engines as its clients."""

from __future__ import annotations

from typing import Any

from mqlight.amqp.message import Message
from mqlight.server.console.history import History, Story
from mqlight.server.console.why import Cause, why
from server.clients import Client, Server


class Watched(Server):
    """A server without sockets whose messages are recorded."""

    def __init__(self, memory: int = 32 * 1024 * 1024) -> None:
        super().__init__()
        self.history = History(memory)
        self.broker.observer = self.history
        self.history.tick(self.now, watched=True)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        for client in self.clients:
            client.connection.tick(self.now)
        self.history.tick(self.now, watched=True)
        self.broker.sweep(self.now)
        self.run()

    def send(self, topic: str, body: Any = "m", client_id: str = "web", **options: Any) -> Story:
        """Send a message as a client; returns its story."""
        known = next((client for client in self.clients if client.connection.client_id == client_id), None)
        client = known or self.client(client_id)
        link = client.publisher(None)
        client.send(link, Message(body=body, to=topic, **options))
        return next(reversed(self.history.stories.values()))

    def why(self, story: Story) -> Cause:
        cause = why(story, self.broker, self.now)
        assert cause is not None
        return cause


__all__ = ["Client", "Watched"]
