"""What the store has still to be told, and which senders wait for it.

The rules of this file:

* A sender is told that its message is safe when each of its kept copies is: committed, or done with before that.
* What is done with before its batch is taken is never written; a message that a consumer was given at once is left out
  for a moment, because most of them are done with very soon: requests and their replies seldom touch the disk.
* What a batch could not write, a later one writes, but for messages that nobody was given yet: those are refused.
* It is pure: the broker fills it, and whoever has the store empties it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from mqlight.amqp.types import Condition

if TYPE_CHECKING:
    from mqlight.server.broker import Destination, Queued

GRACE = 0.01
"""Seconds that a consumer has to be done with a message before it is written."""
MOST = 1000
"""Messages that a batch writes, removes or counts: the event loop stands still while they are told to the database."""
Tell = Callable[["Condition | None"], None]
"""Called once: with None when a message is safe, or with the reason why it is refused."""


class Receipt:
    """What a sender waits for. ``left`` is how many copies are not safe yet, and one while more may come."""

    __slots__ = ("_tell", "left")

    def __init__(self, tell: Tell) -> None:
        self.left = 1
        self._tell: Tell | None = tell

    def safe(self) -> None:
        """One of them is safe."""
        self.left -= 1
        if not self.left:
            self._end(None)

    def refuse(self, condition: Condition) -> None:
        """One of them cannot be made safe, and is withdrawn."""
        self._end(condition)

    def _end(self, condition: Condition | None) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell(condition)


class Put(NamedTuple):
    """A copy of a message to be kept, the destination that has it, who waits for that, and when it is to be written."""

    destination: Destination
    message: Queued
    receipt: Receipt
    due: float


class Batch:
    """What belongs into one transaction; messages are named by their sequence."""

    __slots__ = ("counts", "destinations", "puts", "removed")

    def __init__(self) -> None:
        self.puts: dict[int, Put] = {}
        self.removed: set[int] = set()
        self.counts: dict[int, int] = {}
        """Delivery counts that are different now."""
        self.destinations: dict[Destination, None] = {}
        """Those that are new, different or, when their time to live is 0, not to be kept any more."""

    def __bool__(self) -> bool:
        return bool(self.puts or self.removed or self.counts or self.destinations)


class Ledger:
    """Collects what changes between two transactions."""

    def __init__(self) -> None:
        self.failing: str | None = None
        """Why the last batch could not be written. Until one can be, no further message is kept."""
        self.urgent = False
        """Whether something is to be written at once."""
        self._next = Batch()

    def __bool__(self) -> bool:
        """Whether there is something to write."""
        return bool(self._next)

    def put(self, destination: Destination, message: Queued, receipt: Receipt, due: float, now: float) -> None:
        """Keep a message, and let its receipt wait for that. ``due`` is when it is to be written."""
        receipt.left += 1
        self._next.puts[message.sequence] = Put(destination, message, receipt, due)
        if due <= now:
            self.urgent = True

    def remove(self, message: Queued) -> None:
        """A kept message is done with."""
        put = self._next.puts.pop(message.sequence, None)
        if put is not None:
            put.receipt.safe()
        else:
            self._next.removed.add(message.sequence)
            self._next.counts.pop(message.sequence, None)

    def count(self, message: Queued) -> None:
        """A kept message has another delivery count."""
        if message.sequence not in self._next.puts:
            self._next.counts[message.sequence] = message.count

    def changed(self, destination: Destination) -> None:
        """A destination that outlives its consumers is new or different, or one does no more."""
        self._next.destinations[destination] = None
        self.urgent = True

    def take(self, now: float) -> Batch:
        """What is to be written now. Say with :meth:`written` or :meth:`not_written` what came of it."""
        batch, rest = Batch(), self._next
        due = (sequence for sequence, put in rest.puts.items() if put.due <= now)
        batch.puts = {sequence: rest.puts.pop(sequence) for sequence in list(islice(due, MOST))}
        batch.removed = {rest.removed.pop() for _ in range(min(MOST, len(rest.removed)))}
        batch.counts = dict(rest.counts.popitem() for _ in range(min(MOST, len(rest.counts))))
        batch.destinations, rest.destinations = rest.destinations, {}
        self.urgent = len(batch.puts) == MOST
        return batch

    def written(self, batch: Batch) -> None:
        """A batch is committed."""
        self.failing = None
        for put in batch.puts.values():
            put.receipt.safe()

    def not_written(self, batch: Batch, reason: str) -> list[Put]:
        """A batch was not committed, nor any part of it. All but its messages comes with the next one.

        Returns the messages that nobody is done with: each is to be withdrawn and refused, or to be :meth:`retry`-ed.
        """
        self.failing = reason
        later, left = self._next, []
        for sequence, put in batch.puts.items():
            later.counts.pop(sequence, None)
            if sequence in later.removed:
                later.removed.remove(sequence)
                put.receipt.safe()
            else:
                left.append(put)
        counts = batch.counts | later.counts
        later.counts = {sequence: count for sequence, count in counts.items() if sequence not in later.removed}
        later.removed |= batch.removed
        later.destinations = batch.destinations | later.destinations
        return left

    def retry(self, put: Put) -> None:
        """Write a message of a failed batch with the next one."""
        self._next.puts[put.message.sequence] = put
