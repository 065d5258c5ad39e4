"""A message to send, and the link that carries it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Outcome

__all__ = ["OnOutcome", "Outgoing", "Sender", "too_large"]

OnOutcome = Callable[[Outcome, "Condition | None"], None]


class Outgoing(msgspec.Struct, eq=False):
    """A message to send."""

    topic: str
    message: bytes
    settled: bool
    mandatory: bool
    on_outcome: OnOutcome | None
    since: float | None = None
    """When the message began to wait for a connection or for credit. Its time to live decreases from then on."""
    tries: int = 0
    """The number of temporary rejections."""


class Sender:
    """A sending link, and the messages that wait for its credit. ``topic`` None is the link for every topic."""

    __slots__ = ("credit", "link", "mandatory", "readdress", "topic", "waiting")

    def __init__(
        self, topic: str | None, mandatory: bool, readdress: Callable[[bytes, str, bool], bytes] | None = None
    ) -> None:
        self.readdress = readdress
        """The change that the broker needs in the address of each message."""
        self.topic = topic
        self.mandatory = mandatory
        self.link: Link | None = None
        self.credit = 0
        self.waiting: deque[Outgoing] = deque()


def too_large(size: int, limit: int) -> Condition:
    reason = f"the message has {size} bytes, encoded; the server takes no more than {limit}"
    return Condition("amqp:link:message-size-exceeded", reason)
