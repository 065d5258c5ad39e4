"""Which deliveries count as attempts: a receiver marks those that it has begun.

A mark is AMQP's non-terminal ``received`` state (AMQP 1.0 section 3.4.1), sent before the work begins. A receiver that
asks for one of the capabilities of :class:`Marks` in the source of its attach says which deliveries it marks. If the
server's answer has the capability too, the server counts a delivery that is lost with its link accordingly.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Marks(enum.Enum):
    """Which deliveries a receiver marks before it begins with them. The value is the capability that says so."""

    NONE = ""
    """Marks none: every lost delivery counts as an attempt."""
    REDELIVERED = "mqlight:marks-redelivered"
    """Marks those with ``first-acquirer`` false: of the others each lost one counts, of these only the marked ones."""
    EVERY = "mqlight:marks-every-delivery"
    """Marks all of them: only marked ones count."""

    @property
    def capabilities(self) -> tuple[str, ...]:
        return (self.value,) if self.value else ()


def marks_of(capabilities: Iterable[str]) -> Marks:
    """Return which deliveries a receiver with these source capabilities marks."""
    for marks in (Marks.EVERY, Marks.REDELIVERED):
        if marks.value in capabilities:
            return marks
    return Marks.NONE
