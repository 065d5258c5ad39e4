"""Who gets which message: subscriptions, shares, credit, time to live, redelivery.

The rules of this file:

* A message belongs to each destination that it was published to, once, until a consumer settles it, its time to live
  is over, or the destination is forgotten.
* A message that was given to a consumer is given to no other while that consumer lives.
* A consumer never gets more than its credit.
* Inside a destination messages leave in the order they came; what comes back goes to its old place.
* It is pure: ``now`` (seconds, on a clock that never goes back) comes in with every call that needs it, and a message
  goes out by the function that its consumer was subscribed with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mqlight.wire.message import Admitted
from mqlight.wire.terms import Condition, Outcome
from mqlight.wire.topics import PatternMap

FULL = "amqp:resource-limit-exceeded"


@dataclass(frozen=True)
class Limits:
    """How much a destination may hold before its senders are told that it is full."""

    queue_messages: int = 100_000
    queue_bytes: int = 256 * 1024 * 1024


class Queued:
    """A message in one destination: what it is, and how often it was given out in vain."""

    __slots__ = ("count", "durable", "expires", "priority", "rest", "sequence")

    def __init__(self, message: Admitted, expires: float | None, sequence: int) -> None:
        self.rest = message.rest
        self.durable = message.durable
        self.priority = message.priority
        self.count = message.delivery_count
        self.expires = expires
        self.sequence = sequence


class Consumer:
    """A receiving link of some client. ``deliver(message, now)`` puts one on that link."""

    __slots__ = ("at_most_once", "credit", "deliver", "destination", "holds", "turn")

    def __init__(self, destination: Destination, deliver: Callable[[Queued, float], None], at_most_once: bool) -> None:
        self.destination = destination
        self.deliver = deliver
        self.at_most_once = at_most_once
        self.credit = 0
        self.holds = 0
        """Messages given to it and not yet settled."""
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

    __slots__ = ("bytes", "consumers", "dropped", "forget_at", "name", "next_expiry", "queue", "ttl", "turns")

    def __init__(self, name: Name) -> None:
        self.name = name
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

    def drop_expired(self, now: float) -> None:
        if self.next_expiry is None or self.next_expiry > now:
            return
        alive = [message for message in self.queue if message.expires is None or message.expires > now]
        self.queue = deque(alive)
        self.bytes = sum(len(message.rest) for message in alive)
        self.next_expiry = min((m.expires for m in alive if m.expires is not None), default=None)


class Broker:
    """All destinations of a server."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.destinations: dict[Name, Destination] = {}
        self._by_topic: PatternMap[Destination] = PatternMap()
        self._sequence = 0

    def publish(self, message: Admitted, now: float) -> tuple[Outcome, Condition | None]:
        """Give a message to every destination that its topic matches.

        Returns ACCEPTED, RELEASED where nobody is subscribed, or REJECTED with a condition where a destination is full:
        then it was given to none.
        """
        found = self._by_topic.find(message.topic)
        if not found:
            return Outcome.RELEASED, None
        size = len(message.rest)
        for destination in found:
            if self._is_full(destination, size):
                destination.drop_expired(now)
                taken = not destination.queue and destination.next_consumer() is not None
                if self._is_full(destination, size) and not taken and not destination.lossy:
                    return Outcome.REJECTED, self._full(destination)
        expires = None if message.ttl is None else now + message.ttl / 1000
        for destination in found:
            self._sequence += 1
            queued = Queued(message, expires, self._sequence)
            if not destination.queue and (consumer := destination.next_consumer()) is not None:
                self._give(destination, consumer, queued, now)
            elif self._is_full(destination, size):
                destination.dropped += 1
            else:
                destination.append(queued)
        return Outcome.ACCEPTED, None

    def _is_full(self, destination: Destination, size: int) -> bool:
        limits = self.limits
        return len(destination.queue) >= limits.queue_messages or destination.bytes + size > limits.queue_bytes

    def _full(self, destination: Destination) -> Condition:
        return Condition(
            FULL,
            f"the destination {destination.name} is full: it holds {len(destination.queue)} of "
            f"{self.limits.queue_messages} messages and {destination.bytes} of {self.limits.queue_bytes} bytes",
        )

    def subscribe(
        self, name: Name, ttl: float, deliver: Callable[[Queued, float], None], *, at_most_once: bool
    ) -> Consumer:
        """Add a consumer, with no credit yet. ``ttl`` (seconds) replaces what the destination had before."""
        destination = self.destinations.get(name)
        if destination is None:
            destination = self.destinations[name] = Destination(name)
            self._by_topic.add(name.pattern, destination)
        destination.ttl = ttl
        destination.forget_at = None
        consumer = Consumer(destination, deliver, at_most_once)
        destination.consumers.append(consumer)
        return consumer

    def give_credit(self, consumer: Consumer, credit: int, now: float) -> None:
        """The consumer may be given ``credit`` more messages, all told."""
        consumer.credit = credit
        if consumer.destination.queue:
            self._dispatch(consumer.destination, now)

    def settle(self, consumer: Consumer, message: Queued, outcome: Outcome, now: float) -> None:
        """A consumer is done with a message. Released and modified ones go back; modified ones count as tried."""
        consumer.holds -= 1
        if outcome is Outcome.ACCEPTED or outcome is Outcome.REJECTED:
            return
        if outcome is Outcome.MODIFIED:
            message.count += 1
        destination = consumer.destination
        destination.put_back(message)
        self._dispatch(destination, now)

    def unsubscribe(self, consumer: Consumer, unsettled: Iterable[Queued], now: float, *, forget: bool) -> None:
        """A consumer is gone. What it held goes back, counted as tried; ``forget`` sets the time to live to 0."""
        destination = consumer.destination
        destination.consumers.remove(consumer)
        for message in unsettled:
            message.count += 1
            destination.put_back(message)
        if forget:
            destination.ttl = 0.0
        if destination.consumers:
            self._dispatch(destination, now)
        elif destination.ttl:
            destination.forget_at = now + destination.ttl
        else:
            self._forget(destination)

    def sweep(self, now: float) -> None:
        """Forget destinations and messages whose time to live is over. Call it every second or so."""
        for destination in list(self.destinations.values()):
            if destination.forget_at is not None and destination.forget_at <= now:
                self._forget(destination)
            else:
                destination.drop_expired(now)

    def _forget(self, destination: Destination) -> None:
        del self.destinations[destination.name]
        self._by_topic.remove(destination.name.pattern, destination)

    def _dispatch(self, destination: Destination, now: float) -> None:
        queue = destination.queue
        while queue and (consumer := destination.next_consumer()) is not None:
            message = queue.popleft()
            destination.bytes -= len(message.rest)
            if message.expires is None or message.expires > now:
                self._give(destination, consumer, message, now)

    def _give(self, destination: Destination, consumer: Consumer, message: Queued, now: float) -> None:
        consumer.credit -= 1
        if not consumer.at_most_once:
            consumer.holds += 1
        destination.turns += 1
        consumer.turn = destination.turns
        consumer.deliver(message, now)
