"""The messages that a client has sent, and their outcomes.

The rule of this file: the application learns exactly one outcome of each message. When the last message of a backlog
has its outcome, the application learns that too.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable

from mqlight.amqp.types import Condition, Outcome
from mqlight.arguments import QOS_AT_MOST_ONCE, SendOptions
from mqlight.connection import Connection
from mqlight.errors import error_of_message
from mqlight.net.crew import Lane

__all__ = ["Outbox"]


class Outbox:
    """The sending half of `client`, whose functions run in `lane`.

    Args:
        on_drain: called `(client)` when every message has its outcome, after `send` has returned False.
    """

    def __init__(
        self, client: object, connection: Connection, lane: Lane, on_drain: Callable[..., object] | None
    ) -> None:
        self._client = client
        self._connection = connection
        self._lane = lane
        self._on_drain = on_drain
        self._lock = threading.Lock()
        self._outstanding = 0
        self._backlog = False

    def send(
        self, topic: str, message: bytes, data: object, options: SendOptions, on_sent: Callable[..., object] | None
    ) -> bool:
        """Send an encoded message; `on_sent` is called `(client, err, topic, data, options)`. See `Client.send`."""
        settled = options.qos == QOS_AT_MOST_ONCE
        told = functools.partial(self._sent, on_sent, topic, data, options)
        with self._lock:
            self._outstanding += 1
        try:
            at_once = self._connection.publish(topic, message, settled=settled, on_outcome=told)
        except BaseException:
            with self._lock:
                self._outstanding -= 1
            raise
        if not at_once:
            with self._lock:
                self._backlog = True
                self._tell_if_drained()
        return at_once

    def _sent(
        self,
        on_sent: Callable[..., object] | None,
        topic: str,
        data: object,
        options: SendOptions,
        outcome: Outcome,
        condition: Condition | None,
    ) -> None:
        """Report an outcome to the application. Runs under the connection's lock."""
        if on_sent is not None:
            error = error_of_message(outcome, condition)
            self._lane.submit(on_sent, self._client, error, topic, data, {"qos": options.qos, "ttl": options.ttl})
        with self._lock:
            self._outstanding -= 1
            self._tell_if_drained()

    def _tell_if_drained(self) -> None:
        if self._backlog and not self._outstanding:
            self._backlog = False
            if self._on_drain is not None:
                self._lane.submit(self._on_drain, self._client)
