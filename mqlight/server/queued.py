"""A message in a destination of the server, and the interface by which an observer follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

import msgspec

from mqlight.server.publication import Publication

if TYPE_CHECKING:
    from typing_extensions import Self

    from mqlight.amqp.types import Condition, Outcome

MOST_COUNT = 2**32 - 1
"""The largest delivery count that a header can carry (AMQP 1.0 section 3.2.1)."""
DURABLE, BEGUN = 256, 512
USUAL = 4
"""The ``flags`` of a message that waits, is not durable and has the default priority."""


class Trace(Protocol):
    """The fate of one message in one destination. ``now`` is in seconds of the broker's clock. No method may raise."""

    def given(self, client: object, at_most_once: bool, now: float) -> None:
        """Note that the message was given to a consumer of a client. No outcome follows if it is ``at_most_once``."""

    def settled(self, client: object, outcome: Outcome, now: float) -> None:
        """Note that the client settled the message.

        After ``RELEASED``, ``MODIFIED`` or ``UNDELIVERABLE`` the message waits again.
        """

    def rejected(self, condition: Condition) -> None:
        """Note the reason why the client rejected the message. Called after :meth:`settled`."""

    def lost(self, client: object, now: float) -> None:
        """Note that the consumer ended before it settled the message. The message waits again, maybe after a rest."""

    def expired(self, now: float) -> None:
        """Note that the time to live ended while the message waited."""

    def dropped(self, why: str) -> None:
        """Note that the server dropped the message: ``full``, ``forgotten`` (with its destination) or ``purged``."""

    def restored(self, message: Queued, now: float) -> None:
        """Note that a purged message waits again."""


class Queued(msgspec.Struct, gc=False, eq=False):
    """A message in one destination, with its delivery attempts.

    ``given`` counts how often consumers got the message. ``losses`` counts how often in a row it was lost with its
    consumer. ``begun`` says whether the consumer that has it marked that it began. Python's garbage collector does not
    track the message, because it would examine all waiting messages again and again.
    """

    stored: ClassVar[bool] = False
    """Whether the journal has the message."""

    rest: bytes
    flags: int
    """The priority, with ``DURABLE`` and ``BEGUN``. One number, because there may be very many messages."""
    count: int
    expires: float | None
    sequence: int
    given: int = 0
    losses: int = 0
    trace: Trace | None = None
    """The observer of the message's fate."""

    @classmethod
    def of(cls, message: Publication, expires: float | None, sequence: int) -> Self:
        """Return a message that arrived. An impossible priority or delivery count becomes the nearest possible one."""
        priority, count = message.priority, message.delivery_count
        if not 0 <= priority <= 255:
            priority = min(max(priority, 0), 255)
        if not 0 <= count <= MOST_COUNT:
            count = min(max(count, 0), MOST_COUNT)
        return cls(message.rest, priority | DURABLE if message.durable else priority, count, expires, sequence)

    @property
    def durable(self) -> bool:
        return self.flags & DURABLE != 0

    @property
    def begun(self) -> bool:
        return self.flags & BEGUN != 0

    @begun.setter
    def begun(self, value: bool) -> None:
        self.flags = self.flags | BEGUN if value else self.flags & ~BEGUN

    @property
    def priority(self) -> int:
        return self.flags & (DURABLE - 1)


class Stored(Queued, gc=False, eq=False):
    """A message that outlives the server."""

    stored: ClassVar[bool] = True
