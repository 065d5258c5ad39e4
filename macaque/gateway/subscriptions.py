"""The messages to topics, for callers that listen: one subscription at the broker for all listeners of a pattern.

The rules of this file:

* The subscriptions have a connection of their own. A flood of messages, or a subscription that the broker refuses, does
  not disturb the calls.
* A listener hears every message, in order, or its end: it ends when the connection is lost, and when it takes messages
  too slowly. So no message is missed silently.
* No message of a private topic is heard, whatever the pattern.
* No lock is held while the connection is used, because functions of the connection run under its own lock.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

import msgspec

from macaque.gateway.allowed import is_private
from macaque.http.answer import Problem
from macaque.published import published
from macaque.transport import Transport, topic_in
from mqlight.amqp.message import MessageError, decode
from mqlight.connection import State
from mqlight.delivery import Delivery
from mqlight.errors import MQLightError, NotPermittedError, SecurityError
from mqlight.log import Log
from mqlight.subscription import Subscription

__all__ = ["Listener", "Message", "Subscriptions"]

log = Log(__name__)

CREDIT = 1000
"""The most messages of a pattern that wait for being given to its listeners."""
MOST_BYTES = 4 * 1024 * 1024
"""The most bytes that wait for one listener."""
OVERHEAD = 200
"""Bytes that a message counts beside its text."""
PATIENCE = 10.0
"""Seconds to connect and subscribe."""

AWAY = "The messages cannot be heard at the moment, because the gateway has no connection to the broker."


class Message(msgspec.Struct, frozen=True):
    """A message as a listener gets it."""

    topic: str
    data: Any


class Listener:
    """Hears the messages of one pattern for one caller."""

    def __init__(self) -> None:
        self._heard: queue.SimpleQueue[bytes | Problem | None] = queue.SimpleQueue()
        self._put = self._got = 0
        """The bytes of all messages that came, and that were taken. Each figure is changed by one thread only."""
        self._ended = False

    def get(self, timeout: float) -> bytes | Problem | None:
        """Wait for a message, as JSON. Return a Problem, or None, if the listener has ended.

        Raises:
            queue.Empty: nothing came within `timeout` seconds.
        """
        found = self._heard.get(timeout=timeout)
        if isinstance(found, bytes):
            self._got += len(found) + OVERHEAD
        return found

    def end(self, problem: Problem | None = None) -> None:
        """Let `get` return the problem after the messages that came before. Only the first end counts."""
        if not self._ended:
            self._ended = True
            self._heard.put(problem)

    def put(self, message: bytes) -> None:
        """Add a message, unless the listener has ended."""
        if self._ended:
            return
        waiting = self._put - self._got
        if waiting and waiting + len(message) > MOST_BYTES:
            self.end(Problem(503, "The messages came faster than the caller took them.", retryable=True))
            return
        self._put += len(message) + OVERHEAD
        self._heard.put(message)


class _Feed:
    """The subscription to one pattern, with its listeners."""

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self.answered = threading.Event()
        self.error: Exception | None = None
        self.subscription: Subscription | None = None

    def on_subscribed(self, error: Exception | None) -> None:
        self.error = error
        self.answered.set()


class Subscriptions:
    """The subscriptions of a gateway.

    Args:
        make: makes the connection, given `on_state`. The first listener starts it.
    """

    def __init__(self, make: Callable[..., Transport]) -> None:
        self._connection = make(on_state=self._on_state)
        self._lane = self._connection.lane(1)
        self._lock = threading.Lock()
        self._feeds: dict[str, _Feed] = {}
        self._ending: dict[str, threading.Event] = {}
        """The patterns whose subscription is being ended. A new one waits, because both have one name at the broker."""

    def listen(self, pattern: str, timeout: float = PATIENCE) -> Listener:
        """Return a listener that hears the messages from now on. Call `leave` at its end.

        Raises:
            Problem: the broker refuses the subscription, or does not answer within `timeout` seconds.
        """
        listener, until = Listener(), monotonic() + timeout
        with self._lock:
            ending = self._ending.get(pattern)
            feed = self._feeds.get(pattern)
            is_new = feed is None
            if feed is None:
                feed = self._feeds[pattern] = _Feed()
            feed.listeners.add(listener)
        try:
            self._connection.before_blocking()
            if is_new and (ending is None or ending.wait(timeout)):
                self._subscribe(pattern, feed)
            if not feed.answered.wait(until - monotonic()):
                raise Problem(503, AWAY, retryable=True)
            if isinstance(feed.error, (NotPermittedError, SecurityError)):
                log.warning("the broker refuses the subscription to %s: %s", pattern, feed.error)
                raise Problem(403, "The broker does not let the gateway listen there.")
            if feed.error is not None:
                raise Problem(503, AWAY, retryable=True)
        except BaseException:
            self.leave(pattern, listener)
            raise
        return listener

    def _subscribe(self, pattern: str, feed: _Feed) -> None:
        def on_delivery(delivery: Delivery) -> None:
            self._tell(feed, delivery)

        try:
            self._connection.start()
            feed.subscription = self._connection.subscribe(
                pattern, credit=CREDIT, lane=self._lane, on_delivery=on_delivery, on_subscribed=feed.on_subscribed
            )
        except MQLightError as error:
            feed.on_subscribed(error)
            return
        with self._lock:
            if self._feeds.get(pattern) is feed:
                return
            ended = self._ending[pattern] = threading.Event()
        self._drop(pattern, feed, ended)  # the connection was lost meanwhile

    def leave(self, pattern: str, listener: Listener) -> None:
        """Forget a listener; the last one of a pattern ends its subscription. A second call is harmless."""
        with self._lock:
            feed = self._feeds.get(pattern)
            if feed is None or listener not in feed.listeners:
                return
            feed.listeners.discard(listener)
            if feed.listeners:
                return
            del self._feeds[pattern]
            ended = self._ending[pattern] = threading.Event()
        self._drop(pattern, feed, ended)

    def close(self, problem: Problem | None = None) -> None:
        """End all listeners, and disconnect."""
        self._end_all(problem)
        self._connection.stop(1.0)

    def _drop(self, pattern: str, feed: _Feed, ended: threading.Event) -> None:
        """End the subscription of a feed that was forgotten, and then set `ended`."""

        def on_unsubscribed(error: Exception | None) -> None:
            with self._lock:
                if self._ending.get(pattern) is ended:
                    del self._ending[pattern]
            ended.set()

        if feed.subscription is None:
            on_unsubscribed(None)
        else:
            self._connection.unsubscribe(feed.subscription, forget=True, on_unsubscribed=on_unsubscribed)

    def _end_all(self, problem: Problem | None) -> None:
        with self._lock:
            feeds, self._feeds = self._feeds, {}
            ends = {pattern: threading.Event() for pattern in feeds}
            self._ending |= ends
        for pattern, feed in feeds.items():
            feed.on_subscribed(self._connection.error or feed.error)
            for listener in feed.listeners:
                listener.end(problem)
            self._drop(pattern, feed, ends[pattern])

    def _on_state(self, state: State, error: Exception | None) -> None:
        if state in (State.RETRYING, State.STOPPED):
            self._lane.submit(self._end_all, Problem(503, AWAY, retryable=True))

    def _tell(self, feed: _Feed, delivery: Delivery) -> None:
        """Give a message to the listeners."""
        try:
            topic = topic_in(self._connection, decode(delivery.message).to or "")
        except MessageError:
            topic = ""
        if topic and not is_private(topic):
            event = _json(topic, published(topic, delivery.message).data)
            with self._lock:
                listeners = list(feed.listeners)
            for listener in listeners:
                listener.put(event)
        delivery.accept()


def _json(topic: str, data: Any) -> bytes:
    """Return a message as JSON. A client that knows only AMQP may send values that JSON does not have."""
    try:
        return msgspec.json.encode(Message(topic, data))
    except (TypeError, ValueError, RecursionError):
        return msgspec.json.encode(Message(topic, repr(data)))
