"""Who gets which message: subscriptions, shares, credit, time to live, redelivery.

The rules of this file:

* A message belongs to each destination that it was published to, once, until a consumer settles it, its time to live
  is over, or the destination is forgotten.
* A message that was given to a consumer is given to no other while that consumer lives.
* A consumer never gets more than its credit.
* Inside a destination messages leave in the order they came; what comes back goes to its old place.
* What the store has to learn goes to the ledger, if there is one: destinations that outlive their consumers, and the
  messages in them whose senders wait to hear that they are safe.
* It is pure: ``now`` (seconds, on a clock that never goes back) comes in with every call that needs it, and a message
  goes out by the function that its consumer was subscribed with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from mqlight.server.ledger import GRACE, Batch, Ledger, Put, Receipt, Tell
from mqlight.server.limits import FULL, MESSAGE_OVERHEAD, Limits
from mqlight.wire.message import Admitted
from mqlight.wire.terms import Condition, Outcome
from mqlight.wire.topics import PatternMap

RECOUNT = 0.1
"""Seconds between two counts of all memory, unless an eighth of it has come meanwhile."""


class Queued:
    """A message in one destination: what it is, and how often it was given out in vain."""

    __slots__ = ("count", "durable", "expires", "priority", "rest", "sequence")

    kept = False
    """Whether the ledger knows of it."""

    def __init__(self, message: Admitted, expires: float | None, sequence: int) -> None:
        self.rest = message.rest
        self.durable = message.durable
        self.priority = message.priority
        self.count = message.delivery_count
        self.expires = expires
        self.sequence = sequence


class Kept(Queued):
    """A message that outlives the server."""

    __slots__ = ()
    kept = True


class Consumer:
    """A receiving link of some client. ``deliver(message, now)`` puts one on that link."""

    __slots__ = ("at_most_once", "credit", "deliver", "destination", "held", "holds", "turn")

    def __init__(self, destination: Destination, deliver: Callable[[Queued, float], None], at_most_once: bool) -> None:
        self.destination = destination
        self.deliver = deliver
        self.at_most_once = at_most_once
        self.credit = 0
        self.holds = 0
        """Messages given to it and not yet settled."""
        self.held: Callable[[], Iterable[Queued]] = tuple
        """These messages."""
        self.turn = 0


@dataclass(frozen=True)
class Name:
    """What makes a destination the same one: the share, or else the client, and the pattern (wire contract 1.3)."""

    pattern: str
    share: str | None = None
    client_id: str | None = None

    def __str__(self) -> str:
        return f"private:{self.pattern}" if self.share is None else f"share:{self.share}:{self.pattern}"


class Destination:
    """The queue behind a subscription."""

    __slots__ = ("bytes", "consumers", "dropped", "forget_at", "name", "next_expiry", "number", "queue", "ttl", "turns")

    def __init__(self, name: Name, number: int) -> None:
        self.name = name
        self.number = number
        self.ttl = 0.0
        """Seconds that it outlives its last consumer."""
        self.forget_at: float | None = None
        self.queue: deque[Queued] = deque()
        self.bytes = 0
        self.consumers: list[Consumer] = []
        self.next_expiry: float | None = None
        self.turns = 0
        self.dropped = 0

    @property
    def lossy(self) -> bool:
        """Everybody here asked for at most once and nothing outlives them: a full queue loses messages, not senders."""
        return not self.ttl and all(consumer.at_most_once for consumer in self.consumers)

    def next_consumer(self) -> Consumer | None:
        """The least loaded consumer with credit; among equals, the one whose turn is longest ago."""
        consumers = self.consumers
        if len(consumers) == 1:
            return consumers[0] if consumers[0].credit > 0 else None
        best: Consumer | None = None
        for consumer in consumers:
            if consumer.credit > 0 and (
                best is None
                or consumer.holds < best.holds
                or (consumer.holds == best.holds and consumer.turn < best.turn)
            ):
                best = consumer
        return best

    def append(self, message: Queued) -> None:
        self.queue.append(message)
        self.bytes += len(message.rest)
        self._note_expiry(message)

    def put_back(self, message: Queued) -> None:
        """To the place it had before it was given out: nearly always before all that wait."""
        place = 0
        for other in self.queue:
            if other.sequence > message.sequence:
                break
            place += 1
        self.queue.insert(place, message)
        self.bytes += len(message.rest)
        self._note_expiry(message)

    def _note_expiry(self, message: Queued) -> None:
        if message.expires is not None and (self.next_expiry is None or message.expires < self.next_expiry):
            self.next_expiry = message.expires

    def drop_expired(self, now: float) -> list[Queued]:
        """Returns what was dropped."""
        if self.next_expiry is None or self.next_expiry > now:
            return []
        expired = [message for message in self.queue if message.expires is not None and message.expires <= now]
        self.withdraw({message.sequence for message in expired})
        return expired

    def withdraw(self, sequences: AbstractSet[int]) -> set[int]:
        """Take those among ``sequences`` that wait out of the queue; returns which these were."""
        found = {message.sequence for message in self.queue if message.sequence in sequences}
        alive = [message for message in self.queue if message.sequence not in found]
        self.queue = deque(alive)
        self.bytes = sum(len(message.rest) for message in alive)
        self.next_expiry = min((m.expires for m in alive if m.expires is not None), default=None)
        return found


class Broker:
    """All destinations of a server. Without a ledger nothing outlives it."""

    def __init__(self, limits: Limits | None = None, ledger: Ledger | None = None) -> None:
        self.limits = limits or Limits()
        self.ledger = ledger
        self.unfinished = 0
        """Bytes of messages that are still on their way in."""
        self._most_waiting = self.limits.memory // 8 * 7
        """Messages that would wait are refused before those that somebody takes at once."""
        self._taken = 0
        """Memory: what the last count found, and what has come since."""
        self._counted = 0
        self._counted_at = float("-inf")
        self.destinations: dict[Name, Destination] = {}
        self._by_topic: PatternMap[Destination] = PatternMap()
        self._sequence = 0
        self._number = 0

    def publish(
        self, message: Admitted, now: float, tell: Tell | None = None
    ) -> tuple[Outcome | None, Condition | None]:
        """Give a message to every destination that its topic matches.

        Returns ACCEPTED, RELEASED where nobody is subscribed, or REJECTED with a condition where a destination is full
        or what has to be kept cannot be: then it was given to none.

        ``tell``, only with a ledger, says that the sender wants to know when it is safe. Where a destination keeps it,
        the outcome is None, and ``tell`` is called later, or just before.
        """
        found = self._by_topic.find(message.topic)
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
                self._drop_expired(destination, now)
                taken = not destination.queue and destination.next_consumer() is not None
                if self._is_full(destination, size) and not taken and not destination.lossy:
                    return Outcome.REJECTED, self._full(destination)
        expires = None if message.ttl is None else now + message.ttl / 1000
        ledger = self.ledger
        receipt: Receipt | None = None
        if tell is not None and ledger is not None and any(destination.ttl for destination in found):
            if ledger.failing is not None:
                return Outcome.REJECTED, _not_kept(ledger.failing)
            receipt = Receipt(tell)
        for destination in found:
            self._sequence += 1
            consumer = None if destination.queue else destination.next_consumer()
            if receipt is None or ledger is None or not destination.ttl:
                queued = Queued(message, expires, self._sequence)
            else:
                queued = Kept(message, expires, self._sequence)
                ledger.put(destination, queued, receipt, now if consumer is None else now + GRACE, now)
            if consumer is not None:
                self._give(destination, consumer, queued, now)
            elif self._is_full(destination, size):
                destination.dropped += 1
            else:
                destination.append(queued)
        if receipt is not None:
            receipt.safe()
            return None, None
        return Outcome.ACCEPTED, None

    def memory(self) -> int:
        """Bytes that all messages take: waiting, unsettled and unfinished."""
        total = self.unfinished
        for destination in self.destinations.values():
            total += destination.bytes + MESSAGE_OVERHEAD * len(destination.queue)
            for consumer in destination.consumers:
                total += sum(len(message.rest) + MESSAGE_OVERHEAD for message in consumer.held())
        return total

    def _recount(self, now: float) -> int:
        """Memory seems to be over its limit. What comes is counted as it comes; that something has gone shows in a
        count of all, which is not made too often. Returns by how much less there is.
        """
        before = self._taken
        if now - self._counted_at >= RECOUNT or before - self._counted >= self.limits.memory // 8:
            self._counted_at = now
            self._counted = self._taken = self.memory()
        return self._taken - before

    def _is_full(self, destination: Destination, size: int) -> bool:
        limits = self.limits
        return len(destination.queue) >= limits.queue_messages or destination.bytes + size > limits.queue_bytes

    def _full(self, destination: Destination) -> Condition:
        return Condition(
            FULL,
            f"the destination {destination.name} is full: it holds {len(destination.queue)} of "
            f"{self.limits.queue_messages} messages and {destination.bytes} of {self.limits.queue_bytes} bytes "
            f"({self.limits.flag('queue_messages')}, {self.limits.flag('queue_bytes')})",
        )

    def subscribe(
        self, name: Name, ttl: float, deliver: Callable[[Queued, float], None], *, at_most_once: bool
    ) -> Consumer:
        """Add a consumer, with no credit yet. ``ttl`` (seconds) replaces what the destination had before."""
        destination = self.destinations.get(name)
        if destination is None:
            self._number += 1
            destination = Destination(name, self._number)
            self._add(destination)
        self._set_life(destination, ttl, None)
        consumer = Consumer(destination, deliver, at_most_once)
        destination.consumers.append(consumer)
        return consumer

    def _add(self, destination: Destination) -> None:
        self.destinations[destination.name] = destination
        self._by_topic.add(destination.name.pattern, destination)

    def _set_life(self, destination: Destination, ttl: float, forget_at: float | None) -> None:
        before = destination.ttl, destination.forget_at
        destination.ttl, destination.forget_at = ttl, forget_at
        if self.ledger is not None and before != (ttl, forget_at):
            self.ledger.changed(destination)

    def give_credit(self, consumer: Consumer, credit: int, now: float) -> None:
        """The consumer may be given ``credit`` more messages, all told."""
        consumer.credit = credit
        if consumer.destination.queue:
            self._dispatch(consumer.destination, now)

    def settle(self, consumer: Consumer, message: Queued, outcome: Outcome, now: float) -> None:
        """A consumer is done with a message. Released and modified ones go back; modified ones count as tried."""
        consumer.holds -= 1
        if outcome is Outcome.ACCEPTED or outcome is Outcome.REJECTED:
            if message.kept:
                self._done(message)
            return
        if outcome is Outcome.MODIFIED:
            self._tried(message)
        destination = consumer.destination
        destination.put_back(message)
        self._dispatch(destination, now)

    def unsubscribe(self, consumer: Consumer, unsettled: Iterable[Queued], now: float, *, forget: bool) -> None:
        """A consumer is gone. What it held goes back, counted as tried; ``forget`` sets the time to live to 0."""
        destination = consumer.destination
        destination.consumers.remove(consumer)
        for message in unsettled:
            self._tried(message)
            destination.put_back(message)
        if forget:
            self._set_life(destination, 0.0, None)
        if destination.consumers:
            self._dispatch(destination, now)
        elif destination.ttl:
            self._set_life(destination, destination.ttl, now + destination.ttl)
        else:
            self._forget(destination)

    def sweep(self, now: float) -> None:
        """Forget destinations and messages whose time to live is over. Call it every second or so."""
        for destination in list(self.destinations.values()):
            if destination.forget_at is not None and destination.forget_at <= now:
                self._forget(destination)
            else:
                self._drop_expired(destination, now)

    def _tried(self, message: Queued) -> None:
        message.count += 1
        if message.kept and self.ledger is not None:
            self.ledger.count(message)

    def _done(self, message: Queued) -> None:
        if message.kept and self.ledger is not None:
            self.ledger.remove(message)

    def _drop_expired(self, destination: Destination, now: float) -> None:
        for message in destination.drop_expired(now):
            self._done(message)

    def _forget(self, destination: Destination) -> None:
        self._set_life(destination, 0.0, None)
        for message in destination.queue:
            self._done(message)
        del self.destinations[destination.name]
        self._by_topic.remove(destination.name.pattern, destination)

    def _dispatch(self, destination: Destination, now: float) -> None:
        queue = destination.queue
        while queue and (consumer := destination.next_consumer()) is not None:
            message = queue.popleft()
            destination.bytes -= len(message.rest)
            if message.expires is None or message.expires > now:
                self._give(destination, consumer, message, now)
            else:
                self._done(message)

    def _give(self, destination: Destination, consumer: Consumer, message: Queued, now: float) -> None:
        consumer.credit -= 1
        if not consumer.at_most_once:
            consumer.holds += 1
        elif message.kept:
            self._done(message)
        destination.turns += 1
        consumer.turn = destination.turns
        consumer.deliver(message, now)

    # What outlives the server

    def restore(self, destinations: Iterable[Destination], messages: Iterable[tuple[int, Kept]], now: float) -> None:
        """Begin with what a store had: destinations, and messages by the numbers of their destinations, in order.

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
            if number in by_number:
                by_number[number].append(message)
            else:
                self._done(message)
        self.sweep(now)
        self._counted = self._taken = self.memory()

    def written(self, batch: Batch) -> None:
        """The store has a batch of the ledger."""
        if self.ledger is not None:
            self.ledger.written(batch)

    def not_written(self, batch: Batch, reason: str) -> None:
        """The store could not take a batch. Its messages that wait are withdrawn and refused; of those that a consumer
        has, the senders wait for that consumer, or for a better store.
        """
        if self.ledger is None:
            return
        left: dict[Destination, dict[int, Put]] = {}
        for put in self.ledger.not_written(batch, reason):
            left.setdefault(put.destination, {})[put.message.sequence] = put
        for destination, puts in left.items():
            withdrawn = destination.withdraw(puts.keys())
            for sequence, put in puts.items():
                if sequence in withdrawn:
                    put.receipt.refuse(_not_kept(reason))
                else:
                    self.ledger.retry(put)


def _not_kept(reason: str) -> Condition:
    return Condition(FULL, f"the server cannot keep messages at the moment: {reason}")
