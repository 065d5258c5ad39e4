"""A message on its way out, and the link that it goes by."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Outcome

__all__ = ["OnOutcome", "Outgoing", "Route", "too_large"]

OnOutcome = Callable[[Outcome, "Condition | None"], None]


class Outgoing:
    """A message on its way out."""

    __slots__ = ("mandatory", "message", "on_outcome", "settled", "since", "topic", "tries")

    def __init__(
        self, topic: str, message: bytes, settled: bool, mandatory: bool, on_outcome: OnOutcome | None
    ) -> None:
        self.topic = topic
        self.message = message
        self.settled = settled
        self.mandatory = mandatory
        self.on_outcome = on_outcome
        self.since: float | None = None
        """When it began to wait for a connection or for credit; its time to live goes by from then on."""
        self.tries = 0
        """How often it was rejected in passing."""


class Route:
    """A link to send on, and what waits for its credit. ``topic`` None is the link that takes every topic."""

    __slots__ = ("credit", "link", "mandatory", "stamp", "topic", "waiting")

    def __init__(
        self, topic: str | None, mandatory: bool, stamp: Callable[[bytes, str, bool], bytes] | None = None
    ) -> None:
        self.stamp = stamp
        """What the broker wants done to each message."""
        self.topic = topic
        self.mandatory = mandatory
        self.link: Link | None = None
        self.credit = 0
        self.waiting: deque[Outgoing] = deque()


def too_large(size: int, limit: int) -> Condition:
    reason = f"the message has {size} bytes, encoded; the server takes no more than {limit}"
    return Condition("amqp:link:message-size-exceeded", reason)
