"""What a client listens to, and how much of it it has in hand."""

from __future__ import annotations

from collections.abc import Callable

from mqlight.amqp.link import Link
from mqlight.amqp.types import Handle
from mqlight.wire.attempts import Marks

__all__ = ["Subscription"]

MOST_CREDIT = 2**31 - 1
"""Messages: Proton counts credit in a signed number of 32 bits."""


class Subscription:
    """What a client listens to. ``credit`` is how many messages it holds at the most; ``ttl`` is in seconds."""

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
        """Those of its marks that the server heeds on this connection."""
        self.max_deliveries = max_deliveries
        self.dead_letters = dead_letters
        self.pattern = pattern
        self.share = share
        self.qos = qos
        self.ttl = ttl
        self.credit = min(credit, MOST_CREDIT)
        self.granted = 0
        """What the server may still send."""
        self.held = 0
        """What it sent that is not settled yet."""
        self.paused = False
        self.confirmed = False
        """The server has answered at least once that we are subscribed."""
        self.lapsed = False
        """The server ended it after that, and has not confirmed it again."""
        self.forget = False
        """Its destination's time to live is to be ended."""
        self.link: Link | None = None
        self.on_subscribed = on_subscribed
        self.on_message = on_message
        self._on_ended: Callable[[Exception | None], None] | None = None

    @property
    def address(self) -> str:
        return f"private:{self.pattern}" if self.share is None else f"share:{self.share}:{self.pattern}"

    @property
    def ready(self) -> bool:
        """Whether the server has answered the attach of this connection, and may send a message or has us at one."""
        link = self.link
        attached = link is not None and not link.closed and link.source.address is not None
        return attached and self.granted + self.held > 0

    def __repr__(self) -> str:
        return f"<Subscription {self.address}>"

    def top_up(self) -> None:
        """Give the server credit again, in lots, so that it is one flow frame for many messages."""
        link = self.link
        if link is None or self.paused:
            return
        wanted = self.credit - self.granted - self.held
        if wanted > 0 and (wanted * 2 >= self.credit or not self.granted):
            self.granted += wanted
            link.flow(wanted)

    def pause(self) -> None:
        """Take the credit back: the server uses it up for what it has, or gives it up."""
        self.paused = True
        if self.link is not None:
            self.link.stop_flow()
