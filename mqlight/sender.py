"""A sending link of a client, and the messages that wait for its credit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mqlight.amqp.link import Link
from mqlight.outgoing import Outgoing

__all__ = ["Sender"]


class Sender:
    """A sending link, and the messages that wait for its credit. ``topic`` None is the link for every topic."""

    __slots__ = ("credit", "link", "mandatory", "readdress", "topic", "waiting")

    def __init__(
        self,
        topic: str | None,
        mandatory: bool,
        link: Link,
        readdress: Callable[[bytes, str, bool], bytes] | None = None,
    ) -> None:
        self.readdress = readdress
        """The change that the broker needs in the address of each message."""
        self.topic = topic
        self.mandatory = mandatory
        self.link = link
        self.credit = 0
        self.waiting: deque[Outgoing] = deque()
