"""Name the capabilities beyond AMQP 1.0 that our client and our server know.

A receiver puts a capability of :class:`Marks` in the source of its attach. It names the deliveries that the receiver
marks before it works on them. A mark is the state ``received`` of an unsettled delivery (section 3.4.1). If the
server's answer has the capability too, the mark decides whether a lost delivery counts as a delivery attempt.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

ANONYMOUS_RELAY = "ANONYMOUS-RELAY"
"""Offered in the open frame: a sending link without an address takes messages to every topic."""
RELEASE_UNROUTED = "mqlight:release-unrouted"
"""In a sender's target: the server releases a message without a subscriber instead of accepting it."""


class Marks(enum.Enum):
    """The deliveries that a receiver marks before it works on them. The value is the capability's name."""

    NONE = ""
    """The receiver marks none: every lost delivery counts as an attempt."""
    REDELIVERED = "mqlight:marks-redelivered"
    """The receiver marks those with ``first-acquirer`` false. Of these only a marked one counts, of the others each."""
    EVERY = "mqlight:marks-every-delivery"
    """The receiver marks all of them: a lost delivery counts only if it is marked."""

    @property
    def capabilities(self) -> tuple[str, ...]:
        """The source capabilities of a receiver that marks these deliveries."""
        return (self.value,) if self.value else ()


def marks_of(capabilities: Iterable[str]) -> Marks:
    """Return the deliveries that a receiver with these source capabilities marks."""
    for marks in (Marks.EVERY, Marks.REDELIVERED):
        if marks.value in capabilities:
            return marks
    return Marks.NONE
