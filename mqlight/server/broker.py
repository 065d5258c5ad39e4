"""The routing of messages: subscriptions, shares, credit, time to live and redelivery.

The rules of this file:

* A message belongs once to each destination that it was published to. It stays until a consumer settles it, its time
  to live ends, or the destination is forgotten.
* A message that was given to a consumer is given to no other one while that consumer lives.
* A consumer never gets more messages than its credit.
* Inside a destination messages leave in the order of their arrival. A message that comes back gets its old place.
* An exception cannot lose a message that has left its queue: the broker ends a consumer whose ``deliver`` raises.
* To give a message back costs the logarithm of the number of messages that were given back before it.
* A delivery that is lost with its consumer counts as a delivery attempt, with two exceptions: the consumer's marks say
  that it was not begun, or its bytes have not left this machine. In the second case it was no delivery at all.
* A message whose consumers keep ending rests before each further attempt. Other messages pass it meanwhile.
* The journal, if there is one, gets all that the store must keep: destinations that outlive their consumers, and their
  messages whose senders wait until they are safe.
* Pure: every call that needs the time takes ``now``, in seconds on a monotonic clock. A message goes out by the
  ``deliver`` function of its consumer.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from heapq import heappop, heappush
from typing import Final

from mqlight.amqp.capabilities import Marks
from mqlight.amqp.topics import PatternMap
from mqlight.amqp.types import Condition, Outcome
from mqlight.server.destination import BY_SEQUENCE, Consumer, Destination, DestinationName, Owner
from mqlight.server.journal import GRACE, Batch, Journal, Put, Receipt, Tell
from mqlight.server.limits import FULL, MESSAGE_OVERHEAD, Limits
from mqlight.server.observer import Observer, Trace
from mqlight.server.publication import Publication
from mqlight.server.queued import MOST_COUNT, Queued, Stored

log = logging.getLogger(__name__)

RECOUNT = 0.1
"""Seconds between two counts of all memory, unless an eighth of the limit has arrived meanwhile; also seconds between
two searches of a full destination for expired messages."""
FIRST_REST, LONGEST_REST = 0.1, 5.0
"""Seconds that a message rests after its second loss in a row, doubled with each further loss, and the longest rest."""
_accepted: Final = Outcome.ACCEPTED


class Broker:
    """All destinations of a server. Without a journal nothing outlives the server."""

    def __init__(self, limits: Limits | None = None, journal: Journal | None = None) -> None:
        self.limits = limits or Limits()
        self.journal = journal
        self.observer: Observer | None = None
        self.published = 0
        """The number of accepted messages that went to at least one destination."""
        self.expired = 0
        """The number of messages whose time to live ended while they waited."""
        self.unfinished = 0
        """Bytes of messages that have arrived in part."""
        self.unsent = 0
        """Bytes of output that clients have not read yet."""
        self._most_waiting = self.limits.memory // 8 * 7
        """Bytes of memory above which a message that would have to wait is refused.

        A message that a consumer takes at once may use all of the memory.
        """
        self._taken = 0
        """Bytes of memory at the last count, plus all that has arrived since."""
        self._counted = 0
        self._counted_at = float("-inf")
        self.destinations: dict[DestinationName, Destination] = {}
        self._of_user: Counter[str | None] = Counter()
        self._of_client: Counter[Owner] = Counter()
        self._by_topic: PatternMap[Destination] = PatternMap()
        self._by_link: dict[tuple[str | int | None, str], Destination] = {}
        """Destinations of plain addresses that outlive their links, by client and link name."""
        self._sequence = 0
        self._number = 0
        self._resting: list[tuple[float, int, Destination]] = []
        """A heap of resting messages: the end of the rest, the message's sequence and its destination.

        Some of these messages are gone before their rest ends.
        """

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
        found, bare = self._by_topic.find(message.topic), message.bare
        if not found:
            return Outcome.RELEASED, None
        size = len(message.rest)
        memory = self._taken + len(found) * (size + MESSAGE_OVERHEAD)
        if memory > self._most_waiting:
            memory += self._recount(now)
            waits = any(destination.queue or destination.next_consumer() is None for destination in found)
            if memory > (self._most_waiting if waits else self.limits.memory):
                reason = f"the messages here take {self._taken} bytes already"
                return Outcome.REJECTED, self.limits.reached("memory", reason)
        self._taken = memory
        most = self.limits.queue_bytes
        for destination in found:
            if (destination.queue or size > most) and self._is_full(destination, size):
                if now - destination.searched_at >= RECOUNT:
                    destination.searched_at = now
                    self._drop_expired(destination, now)
                taken = not destination.queue and destination.next_consumer() is not None
                if self._is_full(destination, size) and not taken and not destination.lossy:
                    return Outcome.REJECTED, self._full(destination)
        expires = None if message.ttl is None else now + message.ttl / 1000
        journal = self.journal
        receipt: Receipt | None = None
        if tell is not None and journal is not None and any(destination.ttl for destination in found):
            if journal.failing is not None:
                return Outcome.REJECTED, _not_kept(journal.failing)
            receipt = Receipt(tell)
        self.published += 1
        observer = self.observer
        story = None if observer is None or observer.allowance <= 0 else observer.published(message, now, sender)
        for destination in found:
            self._sequence += 1
            destination.arrived += 1
            consumer = None if destination.queue else destination.next_consumer()
            if receipt is None or journal is None or not destination.ttl:
                queued = Queued.of(message, expires, self._sequence)
            else:
                queued = Stored.of(message, expires, self._sequence)
                journal.put(destination, queued, receipt, now if consumer is None else now + GRACE, now)
            if bare is not None and destination.name.link is not None:
                queued.rest = bare
            if story is not None:
                queued.trace = story.trace(destination, queued)
            if consumer is not None:
                if not self._give(destination, consumer, queued, now):
                    self._dispatch(destination, now)
            elif self._is_full(destination, size):
                destination.dropped += 1
                if (trace := self._trace(destination, queued)) is not None:
                    trace.dropped("full")
            else:
                destination.append(queued)
        if receipt is not None:
            receipt.safe()
            return None, None
        return _accepted, None

    def memory(self) -> int:
        """Return the bytes of all messages: waiting, unsettled, unfinished, and not read by their clients."""
        total = self.unfinished + self.unsent
        for destination in self.destinations.values():
            total += destination.bytes + MESSAGE_OVERHEAD * destination.count
            for consumer in destination.consumers:
                total += sum(len(message.rest) + MESSAGE_OVERHEAD for message in consumer.held())
        return total

    def _recount(self, now: float) -> int:
        """Count all memory, because it seems to be over its limit. Return the difference to the old figure in bytes.

        Arrivals are counted at once, but only this count notices freed memory. It is made once in ``RECOUNT``
        seconds at most, unless an eighth of the limit has arrived meanwhile.
        """
        before = self._taken
        if now - self._counted_at >= RECOUNT or before - self._counted >= self.limits.memory // 8:
            self._counted_at = now
            self._counted = self._taken = self.memory()
        return self._taken - before

    def _is_full(self, destination: Destination, size: int) -> bool:
        limits = self.limits
        return destination.count >= limits.queue_messages or destination.bytes + size > limits.queue_bytes

    def _full(self, destination: Destination) -> Condition:
        return Condition(
            FULL,
            f"the destination {destination.name} is full: it holds {destination.count} of "
            f"{self.limits.queue_messages} messages and {destination.bytes} of {self.limits.queue_bytes} bytes "
            f"({self.limits.flag('queue_messages')}, {self.limits.flag('queue_bytes')})",
        )

    def excess(self, owner: Owner) -> Condition | None:
        """Return the reason why a client may not make another destination; None if it may."""
        limits, user, client = self.limits, self._of_user[owner.user], self._of_client[owner]
        if len(self.destinations) >= limits.destinations:
            return limits.reached("destinations", f"the server has {len(self.destinations)} destinations already")
        if user >= limits.destinations_per_user:
            who = "anonymous clients have" if owner.user is None else f"the user {owner.user!r} has"
            return limits.reached("destinations_per_user", f"{who} {user} destinations already")
        if client >= limits.destinations_per_client:
            reason = f"the client id {owner.client_id!r} has {client} destinations already"
            return limits.reached("destinations_per_client", reason)
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
            owner: The client that a new destination counts for. Call :meth:`excess` first.
        """
        destination = self.destinations.get(name)
        if destination is None:
            self._number += 1
            destination = Destination(name, self._number, owner)
            self._add(destination)
        self._set_life(destination, ttl, None)
        consumer = Consumer(destination, deliver, at_most_once)
        destination.consumers.append(consumer)
        return consumer

    def _add(self, destination: Destination) -> None:
        self.destinations[destination.name] = destination
        if self.observer is not None:
            self.observer.added(destination)
        self._by_topic.add(destination.name.pattern, destination)
        self._of_user[destination.owner.user] += 1
        self._of_client[destination.owner] += 1
        if isinstance(destination.name.link, str):
            self._by_link[destination.name.client_id, destination.name.link] = destination

    def lasting(self, client_id: str, link: str) -> Destination | None:
        """Return the lasting destination of a client's link with a plain address, or None. ``link`` is its name."""
        return self._by_link.get((client_id, link))

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
            self._set_life(destination, 0.0, None)
            if not destination.consumers:
                self._forget(destination)

    def _set_life(self, destination: Destination, ttl: float, forget_at: float | None) -> None:
        before = destination.ttl, destination.forget_at
        destination.ttl, destination.forget_at = ttl, forget_at
        if self.journal is not None and before != (ttl, forget_at):
            self.journal.changed(destination)

    def give_credit(self, consumer: Consumer, credit: int, now: float) -> None:
        """Set the number of further messages that the consumer may get."""
        if consumer.over:
            return
        consumer.credit = credit
        if consumer.destination.queue or consumer.destination.refused:
            self._dispatch(consumer.destination, now)

    def settle(self, consumer: Consumer, message: Queued, outcome: Outcome, now: float) -> None:
        """Settle a message. A released or modified one goes back; a modified one counts as a delivery attempt."""
        if consumer.over:
            return  # the message has already gone back
        consumer.holds -= 1
        destination = consumer.destination
        if outcome is _accepted or outcome is Outcome.REJECTED:
            if destination.refusers:
                destination.refusers.pop(message.sequence, None)
            if message.stored:
                self._done(message)
            trace = message.trace if outcome is Outcome.ACCEPTED else self._trace(destination, message)
            if trace is not None:
                trace.settled(consumer, outcome, now)
            return
        if outcome is Outcome.MODIFIED:
            self._tried(message)
        message.begun, message.losses = False, 0
        if outcome is Outcome.UNDELIVERABLE:
            destination.refusers.setdefault(message.sequence, set()).add(consumer)
        if (trace := self._trace(destination, message)) is not None:
            trace.settled(consumer, outcome, now)
        destination.put_back(message)
        self._dispatch(destination, now)

    def unsubscribe(self, consumer: Consumer, unsettled: Iterable[Queued], now: float, *, forget: bool) -> None:
        """End a consumer and give its unsettled messages back. ``forget`` sets the destination's time to live to 0.

        A consumer that has already ended is ignored.
        """
        if self._take_out(consumer, unsettled, now, forget=forget):
            self._dispatch(consumer.destination, now)

    def _take_out(self, consumer: Consumer, unsettled: Iterable[Queued], now: float, *, forget: bool = False) -> bool:
        """End a consumer. Return whether its destination has other consumers, which may get its messages."""
        if consumer.over:
            return False
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
        if forget:
            self._set_life(destination, 0.0, None)
        if destination.consumers:
            return True
        if destination.ttl:
            self._set_life(destination, destination.ttl, now + destination.ttl)
        elif not destination.temporary:
            self._forget(destination)
        return False

    def purge(self, destination: Destination, sequences: AbstractSet[int] | None = None) -> list[Queued]:
        """Remove waiting messages from a destination: all, or those with some sequences. Return the removed ones."""
        everything = [*destination.waiting(), *destination.refused]
        gone = [message for message in everything if sequences is None or message.sequence in sequences]
        destination.withdraw({message.sequence for message in gone})
        for message in gone:
            self._done(message)
            if message.trace is not None:
                message.trace.dropped("purged")
        return gone

    def drop(self, destination: Destination) -> bool:
        """Forget a destination and its messages. Return False, and keep the destination, if it has subscribers."""
        if destination.consumers:
            return False
        self._forget(destination)
        return True

    def _lost(self, consumer: Consumer, message: Queued, now: float) -> None:
        """Give back a message whose consumer has ended. From the second loss in a row on the message rests first."""
        marks, destination = consumer.marks, consumer.destination
        if message.begun or marks is Marks.NONE or (marks is Marks.REDELIVERED and message.given == 1):
            self._tried(message)
        message.begun = False
        message.losses += 1
        if (trace := self._trace(destination, message)) is not None:
            trace.lost(consumer, now)
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
            self._dispatch(destination, now)

    def sweep(self, now: float) -> None:
        """Forget destinations and messages whose time to live has ended. Call this about once a second."""
        self.wake(now)
        for destination in list(self.destinations.values()):
            if destination.forget_at is not None and destination.forget_at <= now:
                self._forget(destination)
            else:
                self._drop_expired(destination, now)

    def _tried(self, message: Queued) -> None:
        message.count = min(message.count + 1, MOST_COUNT)
        if message.stored and self.journal is not None:
            self.journal.count(message)

    def _trace(self, destination: Destination, message: Queued) -> Trace | None:
        """Return the trace of a message to which something unusual happens. None if the observer has none."""
        if message.trace is None and self.observer is not None:
            message.trace = self.observer.unwatched(destination, message)
        return message.trace

    def _expire(self, destination: Destination, message: Queued, now: float) -> None:
        """End a message that has left the queue after its time to live."""
        self.expired += 1
        self._done(message)
        if (trace := self._trace(destination, message)) is not None:
            trace.expired(now)

    def _done(self, message: Queued) -> None:
        if message.stored and self.journal is not None:
            self.journal.remove(message)

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
                self._give(destination, consumer, message, now)
            else:
                del destination.refusers[message.sequence]
                self._expire(destination, message, now)

    def _drop_expired(self, destination: Destination, now: float) -> None:
        if destination.refused:
            self._offer_refused(destination, now)
        for message in destination.drop_expired(now):
            self._expire(destination, message, now)

    def _forget(self, destination: Destination) -> None:
        self._set_life(destination, 0.0, None)
        for message in [*destination.waiting(), *destination.refused]:
            self._done(message)
            if message.trace is not None:
                message.trace.dropped("forgotten")
        if self.observer is not None:
            self.observer.forgotten(destination)
        del self.destinations[destination.name]
        self._by_topic.remove(destination.name.pattern, destination)
        owner = destination.owner
        self._of_user[owner.user] -= 1
        self._of_client[owner] -= 1
        if not self._of_client[owner]:
            del self._of_client[owner]
        if not self._of_user[owner.user]:
            del self._of_user[owner.user]
        if isinstance(destination.name.link, str):
            del self._by_link[destination.name.client_id, destination.name.link]

    def _dispatch(self, destination: Destination, now: float) -> None:
        if destination.refused:
            self._offer_refused(destination, now)
        while destination.queue and (consumer := destination.next_consumer()) is not None:
            message = destination.take()
            if message.expires is None or message.expires > now:
                self._give(destination, consumer, message, now)
            else:
                self._expire(destination, message, now)

    def _give(self, destination: Destination, consumer: Consumer, message: Queued, now: float) -> bool:
        """Give a message to a consumer. Return False if the consumer failed: it has ended, and the message waits."""
        consumer.credit -= 1
        if not consumer.at_most_once:
            consumer.holds += 1
        destination.turns += 1
        consumer.turn = destination.turns
        message.given += 1
        consumer.taken += 1
        if message.trace is not None:
            message.trace.given(consumer, now)
        try:
            consumer.deliver(message, now)
        except Exception:
            log.exception("a consumer of %s is ended: it failed to take a message", destination.name)
            self._tried(message)
            destination.put_back(message)  # no rest: the failure is not the message's fault
            self._take_out(consumer, [other for other in consumer.held() if other is not message], now)
            consumer.failed()
            return False
        if consumer.at_most_once and message.stored:
            self._done(message)
        return True

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
                self._set_life(destination, destination.ttl, now + destination.ttl)
        for number, message in messages:
            self._sequence = max(self._sequence, message.sequence)
            message.given = 1  # perhaps: the store does not know
            if number in by_number:
                by_number[number].append(message)
            else:
                self._done(message)
        self.sweep(now)
        self._counted = self._taken = self.memory()

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
    return Condition(FULL, f"the server cannot keep messages at the moment: {reason}")
