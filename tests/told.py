"""Functions of an application that collect their arguments, and requests of a client that wait for them."""

from __future__ import annotations

import queue

WAIT = 30.0
"""Seconds after which something that should happen counts as not happening."""


class Told:
    """A function of the application that collects the arguments of its calls."""

    def __init__(self):
        self._calls = queue.Queue()

    def __call__(self, *args):
        self._calls.put(args)

    def next(self):
        return self._calls.get(timeout=WAIT)

    def take(self, count):
        return [self.next() for _ in range(count)]

    def nothing(self):
        """Return whether it has not been called again."""
        return self._calls.empty()


class Messages(Told):
    """An `on_message`, of which `next` gives (kind, data, delivery)."""

    def data(self, count):
        return [data for _, data, _ in self.take(count)]


def stop(client):
    stopped = Told()
    client.stop(stopped)
    assert stopped.next() == (client, None)


def subscribe(client, pattern, share=None, **options):
    """Subscribe, and return the messages when the server has agreed."""
    messages, subscribed = Messages(), Told()
    client.subscribe(pattern, share, options, subscribed, messages)
    assert subscribed.next() == (client, None, pattern, share)
    return messages


def send(client, topic, *data, **options):
    """Send at least once, and return when the server has everything."""
    sent = Told()
    for each in data:
        client.send(topic, each, {"qos": 1, **options}, sent)
    for each in data:
        assert sent.next() == (client, None, topic, each, {"qos": 1, "ttl": options.get("ttl")})
