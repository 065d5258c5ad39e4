"""A subscription of a client, and its credit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mqlight.amqp.capabilities import Marks
from mqlight.amqp.link import Link
from mqlight.amqp.topics import subscription_address
from mqlight.amqp.types import Condition, Handle, Outcome
from mqlight.dialects.base import Wanted

__all__ = ["Subscription"]

_accepted: Final = Outcome.ACCEPTED

MOST_CREDIT = 2**31 - 1
"""Messages: Proton counts credit in a signed number of 32 bits."""


class Subscription:
    """A subscription. ``credit`` is the most messages that the client holds; ``ttl`` is in seconds.

    An application only reads it: ``pattern``, ``share``, ``ready``, ``credit``, ``held``. Its connection changes it.
    """

    __slots__ = (
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
        "on_ended",
        "on_message",
        "on_subscribed",
        "only_accepts",
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
        on_message: Callable[[Link, Handle, bytes, bool], object],
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
        self.only_accepts = False
        """Whether accepted is the only outcome that the connected broker knows."""
        self.on_message = on_message
        self.on_subscribed = on_subscribed
        self.on_ended: Callable[[Exception | None], None] | None = None

    @property
    def address(self) -> str:
        """The address of the subscription at an MQ Light server (MQ Light contract, 3)."""
        return subscription_address(self.pattern, self.share)

    @property
    def ready(self) -> bool:
        """Whether the server has answered the attach of this connection, and the client holds messages or credit."""
        link = self.link
        attached = link is not None and not link.closed and link.source.address is not None
        return attached and self.granted + self.held > 0

    @property
    def awaits_answer(self) -> bool:
        """Whether the server has not answered the attach of this connection yet."""
        return self.link is not None and self.link.source.address is None

    def wanted(self, client_id: str, nonce: str) -> Wanted:
        """Return the subscription in the terms of a dialect. ``nonce`` tells its connection from earlier ones."""
        return Wanted(
            client_id,
            self.pattern,
            self.share,
            self.qos,
            self.ttl,
            self.max_deliveries,
            self.dead_letters,
            self.marks,
            nonce,
        )

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

    def add_credit(self, messages: int) -> None:
        """Raise the limit of unanswered messages by ``messages``, which may be negative."""
        self.credit += messages
        self.top_up()

    def pause(self) -> None:
        """Take the credit back: the server uses it for the messages it has, or gives it up."""
        self.paused = True
        if self.link is not None:
            self.link.stop_flow()

    def settle(self, link: Link, handle: Handle, outcome: Outcome | None, condition: Condition | None) -> bool:
        """Settle a message that came over ``link``, and give new credit.

        ``outcome`` is None if the message came settled. Returns False if its connection is gone.
        """
        if link is not self.link or link.closed:
            return False
        if outcome is not _accepted and self.only_accepts and outcome is not None:
            if outcome is not Outcome.REJECTED:
                link.detach(closed=False)  # messages that are not accepted go back with their link, which comes again
                return True
            outcome, condition = Outcome.ACCEPTED, None
        if outcome is not None and not link.settle(handle, outcome, condition):
            return False
        self.held -= 1
        if self.granted * 2 <= self.credit:
            self.top_up()
        return True

    def release_held(self) -> int:
        """Release the messages that arrived and are not settled. Returns their number."""
        held, link = self.held, self.link
        if self.only_accepts:  # the end of the connection gives these messages back
            self.held = 0
            return held
        if link is None or link.closed:
            return 0
        handles = list(link.held)
        for handle in handles:
            link.settle(handle, Outcome.RELEASED)
        self.held = 0
        return len(handles)

    def lose_link(self) -> None:
        """Note that the link is gone, and with it the credit and the held messages."""
        self.link = None
        self.granted = self.held = 0

    def answered(self, error: Exception | None) -> None:
        """Note the server's answer: None, or the error of a refusal. The first answer is told the subscriber."""
        if error is None:
            self.confirmed = True
            self.lapsed = False
        told, self.on_subscribed = self.on_subscribed, None
        if told is not None:
            told(error)

    def ended(self, error: Exception | None) -> None:
        """Report once that the subscription, which was given up, is over."""
        told, self.on_ended = self.on_ended, None
        if told is not None:
            told(error)
