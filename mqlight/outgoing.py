"""A message to send."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mqlight.amqp.types import Condition, Outcome

__all__ = ["OnOutcome", "Outgoing"]

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
