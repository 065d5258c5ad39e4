"""A message that arrived, and the right to answer it."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Handle, Outcome
from mqlight.wire.attempts import Marks
from mqlight.wire.message import first_acquirer

if TYPE_CHECKING:
    from mqlight.connection import Connection
    from mqlight.subscription import Subscription


class Delivery:
    """A message that arrived. Answer it once, from any thread; until then it counts against the subscription's credit.

    Each answer returns False when the connection that it came over is gone: the server gives it to somebody again.
    """

    __slots__ = ("_connection", "arrived", "handle", "link", "message", "settled", "subscription")

    def __init__(
        self,
        connection: Connection,
        subscription: Subscription,
        link: Link,
        handle: Handle,
        message: bytes,
        settled: bool,
    ) -> None:
        self.message = message
        """The encoded AMQP message: see :func:`mqlight.wire.message.decode`."""
        self.settled = settled
        """It came at most once: there is nobody to answer, but answering it makes room for the next."""
        self.arrived = monotonic()
        """When it arrived, in seconds of the monotonic clock: what is left of its time to live begins here."""
        self.subscription = subscription
        self._connection: Connection | None = connection
        self.link = link
        self.handle = handle

    @property
    def stale(self) -> bool:
        """Its connection is gone, and with it the right to answer."""
        return self.link.closed

    def begin(self) -> None:
        """Say that work on it begins now, so that the broker counts this attempt (AMQP 1.0 section 3.4.1).

        Costs nothing unless the broker has to be told: it does not when a message comes for the first time, unless the
        subscription marks every delivery.
        """
        marks, connection = self.subscription.marks_granted, self._connection
        if marks is Marks.NONE or connection is None or self.settled:
            return
        if marks is Marks.EVERY or not first_acquirer(self.message):
            connection._begin(self)

    def accept(self) -> bool:
        """Done: the server forgets it."""
        return self._answer(Outcome.ACCEPTED, None)

    def release(self) -> bool:
        """Not done, and no fault of the message: the server gives it to somebody else."""
        return self._answer(Outcome.RELEASED, None)

    def fail(self) -> bool:
        """Tried in vain: the server counts the attempt, and gives it to somebody again."""
        return self._answer(Outcome.MODIFIED, None)

    def reject(self, condition: str, description: str) -> bool:
        """It can never be done: the server gives it to nobody again."""
        return self._answer(Outcome.REJECTED, Condition(condition, description))

    def _answer(self, outcome: Outcome, condition: Condition | None) -> bool:
        connection, self._connection = self._connection, None
        if connection is None:
            return False
        return connection._settle(self, None if self.settled else outcome, condition)
