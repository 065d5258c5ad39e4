"""Deliveries that wait here for their next attempt, in the way of nobody.

The rules of this file:

* A delivery that waits has a place beside the credit of its service, so that others go on. There are `MAX_HELD` of
  these places; a delivery beyond them takes up the credit itself, for then something is wrong with more than a message.
* When the server leaves, what waits goes to somebody else at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from macaque.retries import Retries
from mqlight.connection import Connection
from mqlight.delivery import Delivery
from mqlight.wire.log import Log, attempt

__all__ = ["MAX_HELD", "Holding"]

log = Log(__name__, BaseException)

MAX_HELD = 100

Step = Callable[[], object]


class _Held(NamedTuple):
    delivery: Delivery
    then: Step
    leaving: Step
    extra: bool
    """Credit was given for it."""


class Holding:
    """What one service holds. It is looked after by the clock of `connection`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._retries: Retries[_Held] = Retries(threading.Lock())
        connection.every(self._look)

    @property
    def full(self) -> bool:
        """Whether the next one takes up the credit itself."""
        return len(self._retries) >= MAX_HELD

    def hold(self, delivery: Delivery, seconds: float, then: Step, leaving: Step) -> None:
        """Keep a delivery for `seconds`, then call `then()`, which is quick; or `leaving()` as soon as it is closed."""
        extra = not self.full
        if extra:
            self._connection.add_credit(delivery.subscription, 1)
        at = monotonic() + seconds
        held = _Held(delivery, then, leaving, extra)
        if self._retries.add(at, held):
            self._connection.wake(at)
        else:
            self._let_go(held, leaving)

    def close(self) -> None:
        """The server is leaving."""
        for held in self._retries.close():
            self._let_go(held, held.leaving)

    def _let_go(self, held: _Held, step: Step) -> None:
        if held.extra:
            attempt(log, self._connection.add_credit, held.delivery.subscription, -1)
        attempt(log, step)

    def _look(self, now: float) -> float | None:
        """On the clock's thread: go on with what has waited long enough; return when to look again."""
        for held in self._retries.due(now):
            self._let_go(held, held.then)
        return self._retries.next_due()
