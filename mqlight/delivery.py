"""A message that arrived, and the right to answer it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from mqlight.amqp.capabilities import Marks
from mqlight.amqp.link import Link
from mqlight.amqp.message import first_acquirer
from mqlight.amqp.types import Condition, Handle, Outcome
from mqlight.subscription import Subscription


class Origin(Protocol):
    """The connection that a delivery came from, which also takes its answer."""

    def begin(self, delivery: Delivery) -> None:
        """Tell the server that work on ``delivery`` begins. The frame is on its way when this returns."""

    def settle(self, delivery: Delivery, outcome: Outcome | None, condition: Condition | None) -> bool:
        """Tell the server the outcome; None if the delivery came settled. Returns False if the connection is gone."""


_accepted: Final = Outcome.ACCEPTED
_no_marks: Final = Marks.NONE


class Delivery:
    """A message that arrived. Answer it once, from any thread; until then it counts against the subscription's credit.

    Each answer returns False if the connection of the message is gone: the server delivers the message again.
    """

    __slots__ = ("_origin", "arrived", "handle", "link", "message", "settled", "subscription")

    def __init__(
        self,
        origin: Origin,
        subscription: Subscription,
        link: Link,
        handle: Handle,
        message: bytes,
        settled: bool,
    ) -> None:
        self.message = message
        """The encoded AMQP message: see :func:`mqlight.decode`."""
        self.settled = settled
        """Whether the message came at most once. The server needs no answer, but an answer makes room for the next."""
        self.arrived = monotonic()
        """When the message arrived, in seconds of the monotonic clock. Its remaining time to live counts from here."""
        self.subscription = subscription
        self._origin: Origin | None = origin
        self.link = link
        self.handle = handle

    @property
    def stale(self) -> bool:
        """Whether the connection is gone, and with it the right to answer."""
        return self.link.closed

    def begin(self) -> None:
        """Tell the broker that work on this message begins, so that it counts the attempt (AMQP 1.0 section 3.4.1).

        Costs nothing unless the broker must be told. It need not be told of a first delivery attempt, unless the
        subscription marks every delivery.
        """
        marks, origin = self.subscription.marks_granted, self._origin
        if marks is _no_marks or origin is None or self.settled:
            return
        if marks is Marks.EVERY or not first_acquirer(self.message):
            origin.begin(self)

    def accept(self) -> bool:
        """Report success: the server forgets the message."""
        origin, self._origin = self._origin, None  # as in _answer, without a call for each message
        return origin is not None and origin.settle(self, None if self.settled else _accepted, None)

    def release(self) -> bool:
        """Give the message back without a failure: the server gives it to another client."""
        return self._answer(Outcome.RELEASED, None)

    def fail(self) -> bool:
        """Report a failed delivery attempt: the server counts it and delivers the message again."""
        return self._answer(Outcome.MODIFIED, None)

    def reject(self, condition: str, description: str) -> bool:
        """Report that the message can never be processed: the server does not deliver it again.

        Args:
            condition: an AMQP error such as ``amqp:decode-error`` (section 2.8.15).
            description: the reason in a sentence.
        """
        return self._answer(Outcome.REJECTED, Condition(condition, description))

    def let_go(self) -> bool:
        """Give up the right to answer, because the message is settled in another way. Return False if it was used."""
        origin, self._origin = self._origin, None
        return origin is not None

    def _answer(self, outcome: Outcome, condition: Condition | None) -> bool:
        origin, self._origin = self._origin, None
        if origin is None:
            return False
        return origin.settle(self, None if self.settled else outcome, condition)


def hand_over(delivery: Delivery, function: Callable[[Delivery], object]) -> None:
    """Call ``function`` with a delivery. True accepts it. If it raises before it answers, the attempt has failed."""
    try:
        accepted = function(delivery) is True
    except BaseException:
        delivery.fail()
        raise
    if accepted:
        delivery.accept()
