"""The queue behind a subscription, the messages in it, and the consumers that take them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from heapq import heappop, heappush, merge
from operator import attrgetter
from typing import NamedTuple

from mqlight.amqp.capabilities import Marks
from mqlight.amqp.topics import subscription_address
from mqlight.server.queued import Queued

BY_SEQUENCE = attrgetter("sequence")


class Consumer:
    """A receiving link of a client. ``deliver(message, now)`` sends a message on that link.

    If ``deliver`` raises, the broker removes the consumer as :meth:`Broker.unsubscribe` does. It then calls
    ``failed()`` so that the consumer's owner can close the link. ``failed`` must not raise, nor call the broker.
    """

    __slots__ = (
        "at_most_once", "client", "credit", "deliver", "destination", "failed", "held", "holds", "marks", "over",
        "taken", "turn", "unsent",
    )  # fmt: skip

    def __init__(self, destination: Destination, deliver: Callable[[Queued, float], None], at_most_once: bool) -> None:
        self.destination = destination
        self.deliver = deliver
        self.at_most_once = at_most_once
        self.credit = 0
        self.holds = 0
        """The number of messages that the consumer has and has not settled."""
        self.held: Callable[[], Iterable[Queued]] = tuple
        """Returns these messages."""
        self.unsent: Callable[[], Iterable[Queued]] = tuple
        """Returns those of these messages that have not left this machine."""
        self.failed: Callable[[], None] = _ignored
        self.marks = Marks.NONE
        self.over = False
        """Whether the consumer was removed from its destination."""
        self.turn = 0
        self.taken = 0
        """The number of messages that the consumer was given."""
        self.client: object = None
        """The client that owns the link; for observers."""


def _ignored() -> None:
    """Do nothing: the ``failed`` of a consumer without an owner."""


@dataclass(frozen=True)
class DestinationName:
    """The identity of a destination: the pattern with the share or, without a share, the client (MQ Light contract, 3).

    ``link`` is None for MQ Light's addresses. For a plain address it is the link's name if the destination outlives the
    link, else a unique number. A number also stands for an empty client id.
    """

    pattern: str
    share: str | None = None
    client_id: str | int | None = None
    link: str | int | None = None

    def __str__(self) -> str:
        return subscription_address(self.pattern, self.share)


class Owner(NamedTuple):
    """The client that made a destination: its user (None for an anonymous client) and its client id."""

    user: str | None = None
    client_id: str = ""


class Destination:
    """The queue behind a subscription."""

    __slots__ = (
        "arrived", "bytes", "consumers", "dropped", "forget_at", "late", "name", "next_expiry", "number", "owner",
        "queue", "refused", "refusers", "resting", "searched_at", "temporary", "ttl", "turns",
    )  # fmt: skip

    def __init__(self, name: DestinationName, number: int, owner: Owner | None = None) -> None:
        self.name = name
        self.number = number
        self.owner = owner or Owner(None, str(name.client_id or ""))
        self.ttl = 0.0
        """Seconds that the destination outlives its last consumer."""
        self.forget_at: float | None = None
        self.queue: deque[Queued] = deque()
        """Waiting messages in order. The first one precedes all of ``late``, which is empty if this queue is."""
        self.late: list[tuple[int, Queued]] = []
        """A heap, by sequence, of messages that came back and belong behind the queue's first message."""
        self.resting: dict[int, Queued] = {}
        """Messages, by sequence, that rest before their next delivery attempt."""
        self.refused: list[Queued] = []
        """Messages that some consumers cannot deliver. They wait for another consumer (AMQP 1.0 section 3.4.5)."""
        self.refusers: dict[int, set[Consumer]] = {}
        """The consumers that refused each of these messages, by the message's sequence."""
        self.bytes = 0
        self.consumers: list[Consumer] = []
        self.next_expiry: float | None = None
        self.searched_at = float("-inf")
        """The time of the last search for expired messages in the full destination."""
        self.turns = 0
        self.arrived = 0
        """The number of messages that arrived."""
        self.dropped = 0
        self.temporary = False
        """Whether a client made the destination. It then lives until :meth:`Broker.remove`, even without consumers."""

    @property
    def lossy(self) -> bool:
        """Whether a full queue drops messages and does not refuse them.

        That is so if all consumers asked for at most once and the destination ends with them.
        """
        return not self.ttl and not self.temporary and all(consumer.at_most_once for consumer in self.consumers)

    def next_consumer(self) -> Consumer | None:
        """Return the least loaded consumer with credit; among equals, the one whose last turn is longest ago."""
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
        """Return the least loaded consumer with credit that has not refused the message."""
        refusers = self.refusers[message.sequence]
        willing = [consumer for consumer in self.consumers if consumer.credit > 0 and consumer not in refusers]
        return min(willing, key=lambda consumer: (consumer.holds, consumer.turn), default=None)

    def append(self, message: Queued) -> None:
        self.queue.append(message)
        self.bytes += len(message.rest)
        self._note_expiry(message)

    def put_back(self, message: Queued) -> None:
        """Give a message the place back that it had before it was given out."""
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
        """Give a resting message its place in the queue again. Return False if no such message rests."""
        message = self.resting.pop(sequence, None)
        if message is None:
            return False
        self.bytes -= len(message.rest)
        self.put_back(message)
        return True

    def take(self) -> Queued:
        """Remove the first message of the queue and return it.

        Raises:
            IndexError: The queue is empty.
        """
        message = self.queue.popleft()
        self.bytes -= len(message.rest)
        late = self.late
        if late and (not self.queue or late[0][0] < self.queue[0].sequence):
            self.queue.appendleft(heappop(late)[1])
        return message

    @property
    def count(self) -> int:
        """The number of messages that wait."""
        return len(self.queue) + len(self.late) + len(self.resting) + len(self.refused)

    def waiting(self) -> Iterator[Queued]:
        """Return the waiting messages in their order, without the refused ones."""
        late = (message for _, message in sorted(self.late))
        return merge(self.queue, late, sorted(self.resting.values(), key=BY_SEQUENCE), key=BY_SEQUENCE)

    def _note_expiry(self, message: Queued) -> None:
        if message.expires is not None and (self.next_expiry is None or message.expires < self.next_expiry):
            self.next_expiry = message.expires

    def drop_expired(self, now: float) -> list[Queued]:
        """Remove the expired messages and return them."""
        if self.next_expiry is None or self.next_expiry > now:
            return []
        waiting = [*self.waiting(), *self.refused]
        expired = [message for message in waiting if message.expires is not None and message.expires <= now]
        self.withdraw({message.sequence for message in expired})
        return expired

    def withdraw(self, sequences: AbstractSet[int]) -> set[int]:
        """Remove the waiting messages with these sequences. Return the sequences that were found."""
        everything = [*self.waiting(), *self.refused]
        found = {message.sequence for message in everything if message.sequence in sequences}
        alive = [message for message in self.waiting() if message.sequence not in found]
        self.queue = deque(message for message in alive if message.sequence not in self.resting)
        self.late = []
        self.resting = {sequence: message for sequence, message in self.resting.items() if sequence not in found}
        self.refused = [message for message in self.refused if message.sequence not in found]
        for sequence in found:
            self.refusers.pop(sequence, None)
        left = [*alive, *self.refused]
        self.bytes = sum(len(message.rest) for message in left)
        self.next_expiry = min((message.expires for message in left if message.expires is not None), default=None)
        return found
