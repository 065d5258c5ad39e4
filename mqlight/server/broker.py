"""The routing of messages: subscriptions, shares, credit, time to live and redelivery.

The rules of this file:

* A message belongs once to each destination that it was published to. It stays until a consumer settles it, its time
  to live ends, or the destination is forgotten.
* The journal, if there is one, gets all that the store must keep: destinations that outlive their consumers, and their
  messages whose senders wait until they are safe.
* Pure: every call that needs the time takes ``now``, in seconds on a monotonic clock. A message goes out by the
  ``deliver`` function of its consumer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Final

from mqlight.amqp.types import Condition, Outcome
from mqlight.server.capacity import RECOUNT, Capacity
from mqlight.server.destination import BY_SEQUENCE, Consumer, Destination, DestinationName, Owner
from mqlight.server.directory import Directory
from mqlight.server.dispatcher import Dispatcher
from mqlight.server.journal import GRACE, Batch, Journal, Put, Receipt, Tell
from mqlight.server.limits import FULL, Limits
from mqlight.server.observer import Observer
from mqlight.server.publication import Publication
from mqlight.server.queued import USUAL, Queued, Stored
from mqlight.server.records import Records

_taken: Final[tuple[Outcome | None, Condition | None]] = (Outcome.ACCEPTED, None)


class Broker:
    """All destinations of a server. Without a journal nothing outlives the server."""

    def __init__(self, limits: Limits | None = None, journal: Journal | None = None) -> None:
        self.limits = limits or Limits()
        self.journal = journal
        self.records = Records(journal)
        self.directory = Directory(self.limits)
        self.destinations = self.directory.by_name
        self.capacity = Capacity(self.limits, self.destinations)
        self.published = 0
        """The number of accepted messages that went to at least one destination."""
        self.dispatcher = Dispatcher(self.records, self._abandoned)
        self._most = self.limits.queue_bytes
        self._sequence = 0
        self._number = 0

    @property
    def observer(self) -> Observer | None:
        """The observer of the messages."""
        return self.records.observer

    @observer.setter
    def observer(self, observer: Observer | None) -> None:
        self.records.observer = observer

    def publish(
        self, message: Publication, now: float, tell: Tell | None = None, sender: object = None
    ) -> tuple[Outcome | None, Condition | None]:
        """Give a message to every destination that its topic matches.

        Args:
            message: The message.
            now: The time in seconds on the broker's clock.
            tell: Called once: with None when all kept copies are safe, or with the error. Needs a journal.
            sender: The sender, for the observer.

        Returns:
            ACCEPTED; RELEASED if there is no subscriber; or REJECTED with a condition if a destination is full or the
            message cannot be kept. A rejected message goes to no destination. The outcome is None if ``tell`` gets the
            result, shortly before the return or later.
        """
        found, bare = self.directory.by_topic.find(message.topic), message.bare
        if not found:
            return Outcome.RELEASED, None
        size = len(message.rest)
        refusal = self.capacity.take(found, size, now)
        for destination in found:
            if refusal is None and (destination.queue or size > self._most):
                refusal = self._refusal(destination, size, now)
        if refusal is not None:
            return Outcome.REJECTED, refusal
        expires = None if message.ttl is None else now + message.ttl / 1000
        journal = self.journal
        receipt: Receipt | None = None
        if tell is not None and journal is not None and any(destination.ttl for destination in found):
            if journal.failing is not None:
                return Outcome.REJECTED, _not_kept(journal.failing)
            receipt = Receipt(tell)
        usual = receipt is None and message.priority == USUAL and not (message.delivery_count or message.durable)
        self.published += 1
        observer = self.records.observer
        story = None if observer is None or observer.allowance <= 0 else observer.published(message, now, sender)
        for destination in found:
            self._sequence += 1
            destination.arrived += 1
            consumer = None if destination.queue else destination.next_consumer()
            if usual:
                queued = Queued(message.rest, USUAL, 0, expires, self._sequence)
            elif receipt is None or journal is None or not destination.ttl:
                queued = Queued.of(message, expires, self._sequence)
            else:
                queued = Stored.of(message, expires, self._sequence)
                journal.put(destination, queued, receipt, now if consumer is None else now + GRACE, now)
            if bare is not None and destination.name.link is not None:
                queued.rest = bare
            if story is not None:
                queued.trace = story.trace(destination, queued)
            if consumer is not None:
                if not self.dispatcher.give(destination, consumer, queued, now):
                    self.dispatcher.dispatch(destination, now)
            elif self.capacity.is_full(destination, size):
                destination.dropped += 1
                if (trace := self.records.trace(destination, queued)) is not None:
                    trace.dropped("full")
            else:
                destination.append(queued)
        if receipt is not None:
            receipt.safe()
            return None, None
        return _taken

    def _refusal(self, destination: Destination, size: int, now: float) -> Condition | None:
        """Return the reason why a destination refuses a message of ``size`` bytes; None if it takes the message."""
        capacity = self.capacity
        if capacity.is_full(destination, size):
            if now - destination.searched_at >= RECOUNT:
                destination.searched_at = now
                self.dispatcher.drop_expired(destination, now)
            taken = not destination.queue and destination.next_consumer() is not None
            if capacity.is_full(destination, size) and not taken and not destination.lossy:
                return capacity.fullness(destination)
        return None

    def subscribe(
        self,
        name: DestinationName,
        ttl: float,
        deliver: Callable[[Queued, float], None],
        *,
        at_most_once: bool,
        owner: Owner | None = None,
    ) -> Consumer:
        """Add a consumer without credit.

        Args:
            name: The name of the destination, which is made if it is missing.
            ttl: Seconds that the destination outlives its last consumer. Replaces the old value.
            deliver: Sends a message to the consumer.
            at_most_once: Whether a message is settled as soon as it is sent.
            owner: The client that a new destination counts for. Call :meth:`Directory.excess` first.
        """
        destination = self.destinations.get(name)
        if destination is None:
            self._number += 1
            destination = Destination(name, self._number, owner)
            self._add(destination)
        self.records.set_life(destination, ttl, None)
        consumer = Consumer(destination, deliver, at_most_once)
        destination.consumers.append(consumer)
        return consumer

    def _add(self, destination: Destination) -> None:
        self.directory.add(destination)
        if self.records.observer is not None:
            self.records.observer.added(destination)

    def create(self, name: DestinationName, owner: Owner | None = None) -> None:
        """Make a destination at a client's request. It takes messages before it has a consumer."""
        self._number += 1
        destination = Destination(name, self._number, owner)
        destination.temporary = True
        self._add(destination)

    def remove(self, name: DestinationName) -> None:
        """End a destination and its waiting messages. Its consumers get no further messages."""
        destination = self.destinations.get(name)
        if destination is not None:
            destination.temporary = False
            self.records.set_life(destination, 0.0, None)
            if not destination.consumers:
                self._forget(destination)

    def give_credit(self, consumer: Consumer, credit: int, now: float) -> None:
        """Set the number of further messages that the consumer may get."""
        if consumer.over:
            return
        consumer.credit = credit
        if consumer.destination.queue or consumer.destination.refused:
            self.dispatcher.dispatch(consumer.destination, now)

    def settle(self, consumer: Consumer, message: Queued, outcome: Outcome, now: float) -> None:
        """Settle a message: see :meth:`Dispatcher.settle`."""
        self.dispatcher.settle(consumer, [message], outcome, now)

    def unsubscribe(self, consumer: Consumer, unsettled: Iterable[Queued], now: float, *, forget: bool) -> None:
        """End a consumer and give its unsettled messages back. ``forget`` sets the destination's time to live to 0.

        A consumer that has already ended is ignored.
        """
        if consumer.over:
            return
        destination = consumer.destination
        self.dispatcher.end(consumer, unsettled, now)
        if forget:
            self.records.set_life(destination, 0.0, None)
        if destination.consumers:
            self.dispatcher.dispatch(destination, now)
        else:
            self._abandoned(destination, now)

    def _abandoned(self, destination: Destination, now: float) -> None:
        """Let the time to live of a destination begin that has lost its last consumer."""
        if destination.ttl:
            self.records.set_life(destination, destination.ttl, now + destination.ttl)
        elif not destination.temporary:
            self._forget(destination)

    def purge(self, destination: Destination, sequences: AbstractSet[int] | None = None) -> list[Queued]:
        """Remove waiting messages from a destination: all, or those with some sequences. Return the removed ones."""
        everything = [*destination.waiting(), *destination.refused]
        gone = [message for message in everything if sequences is None or message.sequence in sequences]
        destination.withdraw({message.sequence for message in gone})
        for message in gone:
            self.records.done(message)
            if message.trace is not None:
                message.trace.dropped("purged")
        return gone

    def unpurge(self, destination: Destination, gone: Iterable[Queued], now: float) -> bool:
        """Give purged messages their places back. Return False if the destination has ended meanwhile."""
        if self.destinations.get(destination.name) is not destination:
            return False
        for message in sorted(gone, key=BY_SEQUENCE, reverse=True):  # backwards: each goes to the queue's front
            if message.stored and self.journal is not None:
                self.journal.put_again(destination, message, now)
            if message.trace is not None:
                message.trace.restored(message, now)
            destination.put_back(message)
        self.dispatcher.dispatch(destination, now)
        return True

    def drop(self, destination: Destination) -> bool:
        """Forget a destination and its messages. Return False, and keep the destination, if it has subscribers."""
        if destination.consumers:
            return False
        self._forget(destination)
        return True

    @property
    def expired(self) -> int:
        """The number of messages whose time to live ended while they waited."""
        return self.records.expired

    @property
    def wake_at(self) -> float | None:
        """The time of the next call of :meth:`wake`; None while no message rests."""
        return self.dispatcher.wake_at

    def wake(self, now: float) -> None:
        """Give out the messages whose rest has ended."""
        self.dispatcher.wake(now)

    def sweep(self, now: float) -> None:
        """Forget destinations and messages whose time to live has ended. Call this about once a second."""
        self.wake(now)
        for destination in list(self.destinations.values()):
            if destination.forget_at is not None and destination.forget_at <= now:
                self._forget(destination)
            else:
                self.dispatcher.drop_expired(destination, now)

    def _forget(self, destination: Destination) -> None:
        self.records.set_life(destination, 0.0, None)
        for message in [*destination.waiting(), *destination.refused]:
            self.records.done(message)
            if message.trace is not None:
                message.trace.dropped("forgotten")
        if self.records.observer is not None:
            self.records.observer.forgotten(destination)
        self.directory.remove(destination)

    # Destinations and messages that outlive the server

    def restore(self, destinations: Iterable[Destination], messages: Iterable[tuple[int, Stored]], now: float) -> None:
        """Begin with the content of a store: destinations, and messages with their destinations' numbers, in order.

        A destination that had consumers lives on for its time to live from now.
        """
        by_number: dict[int, Destination] = {}
        for destination in destinations:
            by_number[destination.number] = destination
            self._number = max(self._number, destination.number)
            self._add(destination)
            if destination.forget_at is None:
                self.records.set_life(destination, destination.ttl, now + destination.ttl)
        for number, message in messages:
            self._sequence = max(self._sequence, message.sequence)
            message.given = 1  # perhaps: the store does not know
            if number in by_number:
                by_number[number].append(message)
            else:
                self.records.done(message)
        self.sweep(now)
        self.capacity.count()

    def written(self, batch: Batch) -> None:
        """Note that the store has written a batch of the journal."""
        if self.journal is not None:
            self.journal.written(batch)

    def not_written(self, batch: Batch, reason: str) -> None:
        """Note that the store could not write a batch. Withdraw and refuse those of its messages that wait.

        For a message that a consumer has, the sender waits until the consumer settles it or the store works again.
        """
        if self.journal is None:
            return
        left: dict[Destination, dict[int, Put]] = {}
        for put in self.journal.not_written(batch, reason):
            left.setdefault(put.destination, {})[put.message.sequence] = put
        for destination, puts in left.items():
            withdrawn = destination.withdraw(puts.keys())
            for sequence, put in puts.items():
                if sequence in withdrawn:
                    put.receipt.refuse(_not_kept(reason))
                else:
                    self.journal.retry(put)


def _not_kept(reason: str) -> Condition:
    return Condition(FULL, f"the server cannot store messages at the moment: {reason}")
