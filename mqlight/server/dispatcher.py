"""The way of messages from their destination to its consumers, and back.

The rules of this file:

* A message that was given to a consumer is given to no other one while that consumer lives.
* A consumer never gets more messages than its credit.
* Inside a destination messages leave in the order of their arrival. A message that comes back gets its old place.
* An exception cannot lose a message that has left its queue: a consumer whose ``deliver`` raises is ended.
* To give a message back costs the logarithm of the number of messages that were given back before it.
* A delivery that is lost with its consumer counts as a delivery attempt, with two exceptions: the consumer's marks say
  that it was not begun, or its bytes have not left this machine. In the second case it was no delivery at all.
* A message whose consumers keep ending rests before each further attempt. Other messages pass it meanwhile.
* Pure: every call that needs the time takes ``now``. A message goes out by the ``deliver`` function of its consumer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Final

from mqlight.amqp.capabilities import Marks
from mqlight.amqp.types import Outcome
from mqlight.server.destination import BY_SEQUENCE, Consumer, Destination
from mqlight.server.queued import Queued
from mqlight.server.records import Records

log = logging.getLogger(__name__)

FIRST_REST, LONGEST_REST = 0.1, 5.0
"""Seconds that a message rests after its second loss in a row, doubled with each further loss, and the longest rest."""
_accepted: Final = Outcome.ACCEPTED


class Dispatcher:
    """Gives messages to consumers.

    Args:
        records: Get the outcome of each message.
        on_abandoned: Called ``(destination, now)`` when a consumer failed that was the destination's last one.
    """

    def __init__(self, records: Records, on_abandoned: Callable[[Destination, float], None]) -> None:
        self._records = records
        self._on_abandoned = on_abandoned
        self._resting: list[tuple[float, int, Destination]] = []
        """A heap of resting messages: the end of the rest, the message's sequence and its destination.

        Some of these messages are gone before their rest ends.
        """

    def dispatch(self, destination: Destination, now: float) -> None:
        """Give waiting messages to the consumers that have credit."""
        if destination.refused:
            self._offer_refused(destination, now)
        while destination.queue and (consumer := destination.next_consumer()) is not None:
            message = destination.take()
            if message.expires is None or message.expires > now:
                self.give(destination, consumer, message, now)
            else:
                self._records.expire(destination, message, now)

    def give(self, destination: Destination, consumer: Consumer, message: Queued, now: float) -> bool:
        """Give a message to a consumer. Return False if the consumer failed: it has ended, and the message waits."""
        consumer.credit -= 1
        if not consumer.at_most_once:
            consumer.holds += 1
        destination.turns += 1
        consumer.turn = destination.turns
        message.given += 1
        consumer.taken += 1
        if message.trace is not None:
            message.trace.given(consumer.client, consumer.at_most_once, now)
        try:
            consumer.deliver(message, now)
        except Exception:
            log.exception("a consumer of %s is ended: it failed to take a message", destination.name)
            self._records.tried(message)
            destination.put_back(message)  # no rest: the failure is not the message's fault
            self.end(consumer, [other for other in consumer.held() if other is not message], now)
            if not destination.consumers:
                self._on_abandoned(destination, now)
            consumer.failed()
            return False
        if consumer.at_most_once and message.stored:
            self._records.done(message)
        return True

    def settle(self, consumer: Consumer, messages: Iterable[Queued], outcome: Outcome, now: float) -> None:
        """Settle messages. A released or modified one goes back; a modified one counts as a delivery attempt."""
        if consumer.over:
            return  # the messages have already gone back
        if outcome is not _accepted and outcome is not Outcome.REJECTED:
            for message in messages:
                self._give_back(consumer, message, outcome, now)
            return
        records, destination = self._records, consumer.destination
        for message in messages:
            consumer.holds -= 1
            if destination.refusers:
                destination.refusers.pop(message.sequence, None)
            if message.stored:
                records.done(message)
            trace = message.trace if outcome is _accepted else records.trace(destination, message)
            if trace is not None:
                trace.settled(consumer.client, outcome, now)

    def _give_back(self, consumer: Consumer, message: Queued, outcome: Outcome, now: float) -> None:
        """Give a released or modified message its place in the destination back."""
        if consumer.over:
            return
        consumer.holds -= 1
        records, destination = self._records, consumer.destination
        if outcome is Outcome.MODIFIED:
            records.tried(message)
        message.begun, message.losses = False, 0
        if outcome is Outcome.UNDELIVERABLE:
            destination.refusers.setdefault(message.sequence, set()).add(consumer)
        if (trace := records.trace(destination, message)) is not None:
            trace.settled(consumer.client, outcome, now)
        destination.put_back(message)
        self.dispatch(destination, now)

    def end(self, consumer: Consumer, unsettled: Iterable[Queued], now: float) -> None:
        """End a consumer, and give its unsettled messages back."""
        consumer.over, consumer.credit = True, 0
        destination = consumer.destination
        destination.consumers.remove(consumer)
        unsent = {message.sequence for message in consumer.unsent()}
        for message in sorted(unsettled, key=BY_SEQUENCE, reverse=True):  # backwards: each goes to the queue's front
            if message.sequence in unsent:
                message.given -= 1
                destination.put_back(message)
            else:
                self._lost(consumer, message, now)

    def _lost(self, consumer: Consumer, message: Queued, now: float) -> None:
        """Give back a message whose consumer has ended. From the second loss in a row on the message rests first."""
        marks, destination = consumer.marks, consumer.destination
        if message.begun or marks is Marks.NONE or (marks is Marks.REDELIVERED and message.given == 1):
            self._records.tried(message)
        message.begun = False
        message.losses += 1
        if (trace := self._records.trace(destination, message)) is not None:
            trace.lost(consumer.client, now)
        if message.losses == 1:
            destination.put_back(message)
        else:
            seconds = min(FIRST_REST * 2.0 ** min(message.losses - 2, 10), LONGEST_REST)
            destination.rest(message)
            heappush(self._resting, (now + seconds, message.sequence, destination))

    @property
    def wake_at(self) -> float | None:
        """The time of the next call of :meth:`wake`; None while no message rests."""
        return self._resting[0][0] if self._resting else None

    def wake(self, now: float) -> None:
        """Give out the messages whose rest has ended."""
        woken: dict[Destination, None] = {}
        while self._resting and self._resting[0][0] <= now:
            _, sequence, destination = heappop(self._resting)
            if destination.wake(sequence):
                woken[destination] = None
        for destination in woken:
            self.dispatch(destination, now)

    def drop_expired(self, destination: Destination, now: float) -> None:
        """End the waiting messages whose time to live is over."""
        if destination.refused:
            self._offer_refused(destination, now)
        for message in destination.drop_expired(now):
            self._records.expire(destination, message, now)

    def _offer_refused(self, destination: Destination, now: float) -> None:
        """Give messages that some consumers refused to other consumers, and drop the expired ones."""
        refused, destination.refused = destination.refused, []
        for message in refused:
            expired = message.expires is not None and message.expires <= now
            consumer = None if expired else destination.willing_consumer(message)
            if consumer is None and not expired:
                destination.refused.append(message)
                continue
            destination.bytes -= len(message.rest)
            if consumer is not None:
                self.give(destination, consumer, message, now)
            else:
                del destination.refusers[message.sequence]
                self._records.expire(destination, message, now)
