"""Deliveries that wait for their next attempt without delaying other deliveries.

The rules of this file:

* A waiting delivery gets a place beside the credit of its service, so that others go on. There are `MAX_HELD` of these
  places. Further deliveries count against the credit, because then the fault is larger than one message.
* When the server stops, waiting deliveries go to another server at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from macaque.retries import Retries
from macaque.transport import Transport
from mqlight.delivery import Delivery
from mqlight.log import Log, attempt

__all__ = ["MAX_HELD", "RetryQueue"]

log = Log(__name__, BaseException)

MAX_HELD = 100

Step = Callable[[], object]


class _Held(NamedTuple):
    delivery: Delivery
    then: Step
    leaving: Step
    extra: bool
    """Whether credit was given for this delivery."""


class RetryQueue:
    """The waiting deliveries of one service. The clock of `transport` watches their times."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._retries: Retries[_Held] = Retries(threading.Lock())
        transport.every(self._look)

    @property
    def full(self) -> bool:
        """Whether the next delivery counts against the credit."""
        return len(self._retries) >= MAX_HELD

    def hold(self, delivery: Delivery, seconds: float, then: Step, leaving: Step) -> None:
        """Keep a delivery for `seconds`, then call `then()`, a quick function. `close` calls `leaving()` instead."""
        extra = not self.full
        if extra:
            self._transport.add_credit(delivery.subscription, 1)
        at = self._transport.now() + seconds
        held = _Held(delivery, then, leaving, extra)
        if self._retries.add(at, held):
            self._transport.wake(at)
        else:
            self._let_go(held, leaving)

    def close(self) -> None:
        """Let go of all deliveries, because the server is stopping."""
        for held in self._retries.close():
            self._let_go(held, held.leaving)

    def _let_go(self, held: _Held, step: Step) -> None:
        if held.extra:
            attempt(log, self._transport.add_credit, held.delivery.subscription, -1)
        attempt(log, step)

    def _look(self, now: float) -> float | None:
        """Let go of the deliveries whose time has come. Return when to check again. Runs on the clock's thread."""
        for held in self._retries.due(now):
            self._let_go(held, held.then)
        return self._retries.next_due()
