"""Who gets which message: subscriptions, shares, credit, time to live, redelivery.

The rules of this file:

* A message belongs to each destination that it was published to, once, until a consumer settles it, its time to live
  is over, or the destination is forgotten.
* A message that was given to a consumer is given to no other while that consumer lives.
* A consumer never gets more than its credit.
* Inside a destination messages leave in the order they came; what comes back goes to its old place.
* A message that has left its queue cannot be lost by an exception: a consumer whose ``deliver`` raises is ended.
* Giving a message back costs the logarithm of those that were given back before it.
* A delivery that is lost with its consumer counts as an attempt unless the consumer's marks say that it was not begun.
* A message whose consumers keep going away rests before each further attempt, and the others pass it meanwhile.
* What the store has to learn goes to the ledger, if there is one: destinations that outlive their consumers, and the
  messages in them whose senders wait to hear that they are safe.
* It is pure: ``now`` (seconds, on a clock that never goes back) comes in with every call that needs it, and a message
  goes out by the function that its consumer was subscribed with.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from heapq import heappop, heappush, merge
from operator import attrgetter
from typing import NamedTuple

from mqlight.amqp.types import Condition, Outcome
from mqlight.server.ledger import GRACE, Batch, Ledger, Put, Receipt, Tell
from mqlight.server.limits import FULL, MESSAGE_OVERHEAD, Limits
from mqlight.wire.attempts import Marks
from mqlight.wire.message import Admitted
from mqlight.wire.topics import PatternMap

log = logging.getLogger(__name__)

RECOUNT = 0.1
"""Seconds between two counts of all memory, unless an eighth of it has come meanwhile; and between two searches of a
full destination for expired messages."""
MOST_COUNT = 2**32 - 1
"""The largest delivery count that a header can carry (AMQP 1.0 section 3.2.1)."""
FIRST_REST, LONGEST_REST = 0.1, 5.0
"""Seconds that a message rests after its second loss in a row, doubled with each further one, and at the most."""
_SEQUENCE = attrgetter("sequence")


class Queued:
    """A message in one destination: what it is, and how often it was given out in vain.

    ``given`` is how often a consumer was given it, ``losses`` how often in a row it was lost with its consumer, and
    ``begun`` whether the consumer that has it marked that it began.
    """

    __slots__ = ("begun", "count", "durable", "expires", "given", "losses", "priority", "rest", "sequence")

    kept = False
    """Whether the ledger knows of it."""

    def __init__(self, message: Admitted, expires: float | None, sequence: int) -> None:
        self.rest = message.rest
        self.durable = message.durable
        self.priority = priority = message.priority
        if not 0 <= priority <= 255:
            self.priority = min(max(priority, 0), 255)
        self.count = count = message.delivery_count
        if not 0 <= count <= MOST_COUNT:
            self.count = min(max(count, 0), MOST_COUNT)
        self.expires = expires
        self.sequence = sequence
        self.given = self.losses = 0
        self.begun = False


class Kept(Queued):
    """A message that outlives the server."""

    __slots__ = ()
    kept = True


class Consumer:
    """A receiving link of some client. ``deliver(message, now)`` puts one on that link.

    If ``deliver`` raises, the broker takes the consumer out as :meth:`Broker.unsubscribe` does, and calls ``failed()``
    so that the consumer's owner can close the link. ``failed`` must not raise, nor call the broker.
    """

    __slots__ = (
        "at_most_once", "credit", "deliver", "destination", "failed", "held", "holds", "marks", "over", "turn",
    )  # fmt: skip

    def __init__(self, destination: Destination, deliver: Callable[[Queued, float], None], at_most_once: bool) -> None:
        self.destination = destination
        self.deliver = deliver
        self.at_most_once = at_most_once
        self.credit = 0
        self.holds = 0
        """Messages given to it and not yet settled."""
        self.held: Callable[[], Iterable[Queued]] = tuple
        """These messages."""
        self.failed: Callable[[], None] = _ignored
        self.marks = Marks.NONE
        self.over = False
        """Whether it has been taken out of its destination."""
        self.turn = 0


def _ignored() -> None:
    """Do nothing: the ``failed`` of a consumer without an owner."""


@dataclass(frozen=True)
class Name:
    """What makes a destination the same one: the share, or else the client, and the pattern (wire contract 1.3).

    ``link`` is None where MQ Light's addresses are used. For a plain address it is the link's name if the destination
    outlives the link, else a number of its own. A number also stands for a client id that is empty.
    """

    pattern: str
    share: str | None = None
    client_id: str | int | None = None
    link: str | int | None = None

    def __str__(self) -> str:
        return f"private:{self.pattern}" if self.share is None else f"share:{self.share}:{self.pattern}"


class Owner(NamedTuple):
    """The client that made a destination: its user, None for an anonymous one, and its client id."""

    user: str | None = None
    client_id: str = ""


class Destination:
    """The queue behind a subscription."""

    __slots__ = (
        "bytes", "consumers", "dropped", "forget_at", "late", "name", "next_expiry", "number", "owner", "queue",
        "refused", "refusers", "resting", "searched_at", "temporary", "ttl", "turns",
    )  # fmt: skip

    def __init__(self, name: Name, number: int, owner: Owner | None = None) -> None:
        self.name = name
        self.number = number
        self.owner = owner or Owner(None, str(name.client_id or ""))
        self.ttl = 0.0
        """Seconds that it outlives its last consumer."""
        self.forget_at: float | None = None
        self.queue: deque[Queued] = deque()
        """Messages that wait, in order. Its first one is the first of all that wait, so it is empty when none does."""
        self.late: list[tuple[int, Queued]] = []
        """A heap, by sequence: messages that were given back and belong behind the first one of the queue."""
        self.resting: dict[int, Queued] = {}
        """Messages, by sequence, that wait for the time of their next attempt."""
        self.refused: list[Queued] = []
        """Messages that some consumers cannot deliver; they wait for another one (AMQP 1.0 section 3.4.5)."""
        self.refusers: dict[int, set[Consumer]] = {}
        """Which consumers these are, by the message's sequence."""
        self.bytes = 0
        self.consumers: list[Consumer] = []
        self.next_expiry: float | None = None
        self.searched_at = float("-inf")
        """When a search for expired messages was made last because the destination was full."""
        self.turns = 0
        self.dropped = 0
        self.temporary = False
        """A client made it: it lives until :meth:`Broker.remove`, with consumers or without."""

    @property
    def lossy(self) -> bool:
        """Everybody here asked for at most once and nothing outlives them: a full queue loses messages, not senders."""
        return not self.ttl and not self.temporary and all(consumer.at_most_once for consumer in self.consumers)

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

    def willing_consumer(self, message: Queued) -> Consumer | None:
        """The least loaded consumer with credit that has not refused the message."""
        refusers = self.refusers[message.sequence]
        willing = [consumer for consumer in self.consumers if consumer.credit > 0 and consumer not in refusers]
        return min(willing, key=lambda consumer: (consumer.holds, consumer.turn), default=None)

    def append(self, message: Queued) -> None:
        self.queue.append(message)
        self.bytes += len(message.rest)
        self._note_expiry(message)

    def put_back(self, message: Queued) -> None:
        """Give a message the place that it had before it was given out."""
        if self.refusers and message.sequence in self.refusers:
            self.refused.append(message)
        elif not self.queue or message.sequence < self.queue[0].sequence:
            self.queue.appendleft(message)
        else:
            heappush(self.late, (message.sequence, message))
        self.bytes += len(message.rest)
        self._note_expiry(message)

    def rest(self, message: Queued) -> None:
        """Keep a message out of the queue until :meth:`wake`."""
        self.resting[message.sequence] = message
        self.bytes += len(message.rest)
        self._note_expiry(message)

    def wake(self, sequence: int) -> bool:
        """Give a resting message its place in the queue again; returns False where there is none of that number."""
        message = self.resting.pop(sequence, None)
        if message is None:
            return False
        self.bytes -= len(message.rest)
        self.put_back(message)
        return True

    def take(self) -> Queued:
        """Take the first message out of the queue. Raises IndexError where there is none."""
        message = self.queue.popleft()
        self.bytes -= len(message.rest)
        late = self.late
        if late and (not self.queue or late[0][0] < self.queue[0].sequence):
            self.queue.appendleft(heappop(late)[1])
        return message

    @property
    def count(self) -> int:
        """How many messages wait."""
        return len(self.queue) + len(self.late) + len(self.resting) + len(self.refused)

    def waiting(self) -> Iterator[Queued]:
        """The messages that wait, in their order."""
        late = (message for _, message in sorted(self.late))
        return merge(self.queue, late, sorted(self.resting.values(), key=_SEQUENCE), key=_SEQUENCE)

    def _note_expiry(self, message: Queued) -> None:
        if message.expires is not None and (self.next_expiry is None or message.expires < self.next_expiry):
            self.next_expiry = message.expires

    def drop_expired(self, now: float) -> list[Queued]:
        """Returns what was dropped."""
        if self.next_expiry is None or self.next_expiry > now:
            return []
        expired = [message for message in self.waiting() if message.expires is not None and message.expires <= now]
        self.withdraw({message.sequence for message in expired})
        return expired

    def withdraw(self, sequences: AbstractSet[int]) -> set[int]:
        """Take those among ``sequences`` that wait out of the queue; returns which these were."""
        everything = list(self.waiting())
        alive = [message for message in everything if message.sequence not in sequences]
        found = {message.sequence for message in everything if message.sequence in sequences}
        self.queue = deque(message for message in alive if message.sequence not in self.resting)
        self.late = []
        self.resting = {sequence: m for sequence, m in self.resting.items() if sequence not in sequences}
        self.bytes = sum(len(message.rest) for message in alive)
        self.next_expiry = min((m.expires for m in alive if m.expires is not None), default=None)
        return found


class Broker:
    """All destinations of a server. Without a ledger nothing outlives it."""

    def __init__(self, limits: Limits | None = None, ledger: Ledger | None = None) -> None:
        self.limits = limits or Limits()
        self.ledger = ledger
        self.expired = 0
        """Messages whose time to live ended while they waited."""
        self.unfinished = 0
        """Bytes of messages that are still on their way in."""
        self.unsent = 0
        """Bytes on their way out, which clients have not read."""
        self._most_waiting = self.limits.memory // 8 * 7
        """Messages that would wait are refused before those that somebody takes at once."""
        self._taken = 0
        """Memory: what the last count found, and what has come since."""
        self._counted = 0
        self._counted_at = float("-inf")
        self.destinations: dict[Name, Destination] = {}
        self._of_user: Counter[str | None] = Counter()
        self._of_client: Counter[Owner] = Counter()
        self._by_topic: PatternMap[Destination] = PatternMap()
        self._by_link: dict[tuple[str | int | None, str], Destination] = {}
        """Destinations of plain addresses that outlive their links, by client and link name."""
        self._sequence = 0
        self._number = 0
        self._resting: list[tuple[float, int, Destination]] = []
        """A heap: when which message of which destination has rested. Some of these are gone by then."""

    def publish(
        self, message: Admitted, now: float, tell: Tell | None = None
    ) -> tuple[Outcome | None, Condition | None]:
        """Give a message to every destination that its topic matches.

        Returns ACCEPTED, RELEASED where nobody is subscribed, or REJECTED with a condition where a destination is full
        or what has to be kept cannot be: then it was given to none.

        ``tell``, only with a ledger, says that the sender wants to know when it is safe. Where a destination keeps it,
        the outcome is None, and ``tell`` is called later, or just before.
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
            if bare is not None and destination.name.link is not None:
                queued.rest = bare
            if consumer is not None:
                if not self._give(destination, consumer, queued, now):
                    self._dispatch(destination, now)
            elif self._is_full(destination, size):
                destination.dropped += 1
            else:
                destination.append(queued)
        if receipt is not None:
            receipt.safe()
            return None, None
        return Outcome.ACCEPTED, None

    def memory(self) -> int:
        """Bytes that all messages take: waiting, unsettled, unfinished, and not read by their clients."""
        total = self.unfinished + self.unsent
        for destination in self.destinations.values():
            total += destination.bytes + MESSAGE_OVERHEAD * destination.count
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
        return destination.count >= limits.queue_messages or destination.bytes + size > limits.queue_bytes

    def _full(self, destination: Destination) -> Condition:
        return Condition(
            FULL,
            f"the destination {destination.name} is full: it holds {destination.count} of "
            f"{self.limits.queue_messages} messages and {destination.bytes} of {self.limits.queue_bytes} bytes "
            f"({self.limits.flag('queue_messages')}, {self.limits.flag('queue_bytes')})",
        )

    def excess(self, owner: Owner) -> Condition | None:
        """Why a client may not make one more destination, None if it may."""
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
        name: Name,
        ttl: float,
        deliver: Callable[[Queued, float], None],
        *,
        at_most_once: bool,
        owner: Owner | None = None,
    ) -> Consumer:
        """Add a consumer, with no credit yet. ``ttl`` (seconds) replaces what the destination had before.

        ``owner`` is the client that a new destination counts for: ask :meth:`excess` first.
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
        self._by_topic.add(destination.name.pattern, destination)
        self._of_user[destination.owner.user] += 1
        self._of_client[destination.owner] += 1
        if isinstance(destination.name.link, str):
            self._by_link[destination.name.client_id, destination.name.link] = destination

    def lasting(self, client_id: str, link: str) -> Destination | None:
        """Return the destination of a plain address that a client's link of that name left behind, or still has."""
        return self._by_link.get((client_id, link))

    def create(self, name: Name, owner: Owner | None = None) -> None:
        """Make a destination that a client asked for, which takes messages before it has a consumer."""
        self._number += 1
        destination = Destination(name, self._number, owner)
        destination.temporary = True
        self._add(destination)

    def remove(self, name: Name) -> None:
        """End a destination with what waits in it; consumers that it still has get nothing more."""
        destination = self.destinations.get(name)
        if destination is not None:
            destination.temporary = False
            self._set_life(destination, 0.0, None)
            if not destination.consumers:
                self._forget(destination)

    def _set_life(self, destination: Destination, ttl: float, forget_at: float | None) -> None:
        before = destination.ttl, destination.forget_at
        destination.ttl, destination.forget_at = ttl, forget_at
        if self.ledger is not None and before != (ttl, forget_at):
            self.ledger.changed(destination)

    def give_credit(self, consumer: Consumer, credit: int, now: float) -> None:
        """The consumer may be given ``credit`` more messages, all told."""
        if consumer.over:
            return
        consumer.credit = credit
        if consumer.destination.queue or consumer.destination.refused:
            self._dispatch(consumer.destination, now)

    def settle(self, consumer: Consumer, message: Queued, outcome: Outcome, now: float) -> None:
        """A consumer is done with a message. Released and modified ones go back; modified ones count as tried."""
        if consumer.over:
            return  # the message has been given back
        consumer.holds -= 1
        destination = consumer.destination
        if outcome is Outcome.ACCEPTED or outcome is Outcome.REJECTED:
            if destination.refusers:
                destination.refusers.pop(message.sequence, None)
            if message.kept:
                self._done(message)
            return
        if outcome is Outcome.MODIFIED:
            self._tried(message)
        message.begun, message.losses = False, 0
        if outcome is Outcome.UNDELIVERABLE:
            destination.refusers.setdefault(message.sequence, set()).add(consumer)
        destination.put_back(message)
        self._dispatch(destination, now)

    def unsubscribe(self, consumer: Consumer, unsettled: Iterable[Queued], now: float, *, forget: bool) -> None:
        """A consumer is gone. What it held goes back; ``forget`` sets the time to live to 0.

        Nothing happens to a consumer that is over already.
        """
        if self._take_out(consumer, unsettled, now, forget=forget):
            self._dispatch(consumer.destination, now)

    def _take_out(self, consumer: Consumer, unsettled: Iterable[Queued], now: float, *, forget: bool = False) -> bool:
        """Returns whether its destination has other consumers, which may be given what it held."""
        if consumer.over:
            return False
        consumer.over, consumer.credit = True, 0
        destination = consumer.destination
        destination.consumers.remove(consumer)
        for message in sorted(unsettled, key=_SEQUENCE, reverse=True):  # the last one first: each is then the first
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

    def drop(self, destination: Destination) -> bool:
        """Forget a destination and its messages; False where it has subscribers, and then it stays."""
        if destination.consumers:
            return False
        self._forget(destination)
        return True

    def _lost(self, consumer: Consumer, message: Queued, now: float) -> None:
        """A message goes back because its consumer is gone; from the second time on it rests before."""
        marks, destination = consumer.marks, consumer.destination
        if message.begun or marks is Marks.NONE or (marks is Marks.REDELIVERED and message.given == 1):
            self._tried(message)
        message.begun = False
        message.losses += 1
        if message.losses == 1:
            destination.put_back(message)
        else:
            seconds = min(FIRST_REST * 2.0 ** min(message.losses - 2, 10), LONGEST_REST)
            destination.rest(message)
            heappush(self._resting, (now + seconds, message.sequence, destination))

    @property
    def wake_at(self) -> float | None:
        """When to call :meth:`wake` next; None while no message rests."""
        return self._resting[0][0] if self._resting else None

    def wake(self, now: float) -> None:
        """Give out the messages that have rested."""
        woken: dict[Destination, None] = {}
        while self._resting and self._resting[0][0] <= now:
            _, sequence, destination = heappop(self._resting)
            if destination.wake(sequence):
                woken[destination] = None
        for destination in woken:
            self._dispatch(destination, now)

    def sweep(self, now: float) -> None:
        """Forget destinations and messages whose time to live is over. Call it every second or so."""
        self.wake(now)
        for destination in list(self.destinations.values()):
            if destination.forget_at is not None and destination.forget_at <= now:
                self._forget(destination)
            else:
                self._drop_expired(destination, now)

    def _tried(self, message: Queued) -> None:
        message.count = min(message.count + 1, MOST_COUNT)
        if message.kept and self.ledger is not None:
            self.ledger.count(message)

    def _done(self, message: Queued) -> None:
        if message.kept and self.ledger is not None:
            self.ledger.remove(message)

    def _offer_refused(self, destination: Destination, now: float) -> None:
        """Give messages that some consumers cannot deliver to others, and drop those whose time to live is over."""
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
                self.expired += 1
                self._done(message)

    def _drop_expired(self, destination: Destination, now: float) -> None:
        if destination.refused:
            self._offer_refused(destination, now)
        for message in destination.drop_expired(now):
            self.expired += 1
            self._done(message)

    def _forget(self, destination: Destination) -> None:
        self._set_life(destination, 0.0, None)
        for message in [*destination.waiting(), *destination.refused]:
            self._done(message)
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
                self.expired += 1
                self._done(message)

    def _give(self, destination: Destination, consumer: Consumer, message: Queued, now: float) -> bool:
        """Returns False when the consumer could not take it: the consumer is over, and the message waits again."""
        consumer.credit -= 1
        if not consumer.at_most_once:
            consumer.holds += 1
        destination.turns += 1
        consumer.turn = destination.turns
        message.given += 1
        try:
            consumer.deliver(message, now)
        except Exception:
            log.exception("a consumer of %s is ended: it failed to take a message", destination.name)
            self._tried(message)
            destination.put_back(message)  # it need not rest: this is no fault of its own
            self._take_out(consumer, [other for other in consumer.held() if other is not message], now)
            consumer.failed()
            return False
        if consumer.at_most_once and message.kept:
            self._done(message)
        return True

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
            message.given = 1  # maybe: the store does not say
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
