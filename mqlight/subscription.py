"""A subscription of a client, and its credit."""

from __future__ import annotations

from collections.abc import Callable

from mqlight.amqp.capabilities import Marks
from mqlight.amqp.link import Link
from mqlight.amqp.topics import subscription_address
from mqlight.amqp.types import Handle

__all__ = ["Subscription"]

MOST_CREDIT = 2**31 - 1
"""Messages: Proton counts credit in a signed number of 32 bits."""


class Subscription:
    """A subscription. ``credit`` is the most messages that the client holds; ``ttl`` is in seconds."""

    __slots__ = (
        "_on_ended",
        "confirmed",
        "credit",
        "dead_letters",
        "forget",
        "granted",
        "held",
        "lapsed",
        "link",
        "marks",
        "marks_granted",
        "max_deliveries",
        "on_message",
        "on_subscribed",
        "paused",
        "pattern",
        "qos",
        "share",
        "ttl",
    )

    def __init__(
        self,
        pattern: str,
        share: str | None,
        *,
        qos: int,
        ttl: int,
        credit: int,
        on_message: Callable[[Link, Handle, bytes, bool], None],
        on_subscribed: Callable[[Exception | None], None] | None,
        max_deliveries: int = 0,
        dead_letters: str | None = None,
        marks: Marks = Marks.NONE,
    ) -> None:
        self.marks = marks
        self.marks_granted = Marks.NONE
        """The marks that the server supports on this connection."""
        self.max_deliveries = max_deliveries
        self.dead_letters = dead_letters
        self.pattern = pattern
        self.share = share
        self.qos = qos
        self.ttl = ttl
        self.credit = min(credit, MOST_CREDIT)
        self.granted = 0
        """The number of messages that the server may still send."""
        self.held = 0
        """The number of messages that arrived and are not settled."""
        self.paused = False
        self.confirmed = False
        """Whether the server has confirmed the subscription at least once."""
        self.lapsed = False
        """Whether the server ended the subscription after that, and has not confirmed it again."""
        self.forget = False
        """Whether the destination's time to live must be ended."""
        self.link: Link | None = None
        self.on_subscribed = on_subscribed
        self.on_message = on_message
        self._on_ended: Callable[[Exception | None], None] | None = None

    @property
    def address(self) -> str:
        return subscription_address(self.pattern, self.share)

    @property
    def ready(self) -> bool:
        """Whether the server has answered the attach of this connection, and the client holds messages or credit."""
        link = self.link
        attached = link is not None and not link.closed and link.source.address is not None
        return attached and self.granted + self.held > 0

    def __repr__(self) -> str:
        return f"<Subscription {self.address}>"

    def top_up(self) -> None:
        """Give the server new credit, in lots, so that one flow frame serves many messages."""
        link = self.link
        if link is None or self.paused:
            return
        wanted = self.credit - self.granted - self.held
        if wanted > 0 and (wanted * 2 >= self.credit or not self.granted):
            self.granted += wanted
            link.flow(wanted)

    def pause(self) -> None:
        """Take the credit back: the server uses it for the messages it has, or gives it up."""
        self.paused = True
        if self.link is not None:
            self.link.stop_flow()
