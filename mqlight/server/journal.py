"""The changes that the store must still write, and the senders that wait for them.

The rules of this file:

* A sender is told that its message is safe when each kept copy is committed, or was settled or dropped before.
* A message that is settled or dropped before its batch is taken is never written. If a consumer got it at once, it is
  written a moment later, because most such messages are settled very soon. So requests and replies seldom touch the
  disk.
* A later batch repeats all that a failed batch could not write. Messages that still wait are an exception: the server
  refuses them.
* Pure: the broker fills the journal, and the owner of the store empties it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from mqlight.amqp.types import Condition
from mqlight.server.destination import Destination
from mqlight.server.queued import Queued

GRACE = 0.01
"""Seconds that a consumer has to settle a message before the message is written."""
MOST = 1000
"""The most messages that a batch writes, removes or counts. The event loop stops while they go to the database."""
Tell = Callable[["Condition | None"], None]
"""Called once: with None when a message is safe, or with the reason for its refusal."""


class Receipt:
    """The wait of a sender. ``left`` is the number of unsafe copies, plus one while further copies may come."""

    __slots__ = ("_tell", "left")

    def __init__(self, tell: Tell) -> None:
        self.left = 1
        self._tell: Tell | None = tell

    def safe(self) -> None:
        """Note that one copy is safe."""
        self.left -= 1
        if not self.left:
            self._end(None)

    def refuse(self, condition: Condition) -> None:
        """Note that one copy cannot be made safe and is withdrawn."""
        self._end(condition)

    def _end(self, condition: Condition | None) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell(condition)


class Put(NamedTuple):
    """A copy of a message to write: its destination, the message, the sender's receipt, and the time to write it."""

    destination: Destination
    message: Queued
    receipt: Receipt
    due: float


class Batch:
    """The changes of one transaction. Messages are identified by their sequence."""

    __slots__ = ("counts", "destinations", "puts", "removed")

    def __init__(self) -> None:
        self.puts: dict[int, Put] = {}
        self.removed: set[int] = set()
        self.counts: dict[int, int] = {}
        """Changed delivery counts, by the message's sequence."""
        self.destinations: dict[Destination, None] = {}
        """Destinations that are new or changed. One with a time to live of 0 is deleted from the store."""

    def __bool__(self) -> bool:
        return bool(self.puts or self.removed or self.counts or self.destinations)


class Journal:
    """The collector of changes between two transactions."""

    def __init__(self) -> None:
        self.failing: str | None = None
        """The reason why the last batch was not written, or None. While it is set, no further message is kept."""
        self.urgent = False
        """Whether a change is to be written at once."""
        self._next = Batch()

    def __bool__(self) -> bool:
        """Return whether there is something to write."""
        return bool(self._next)

    def put(self, destination: Destination, message: Queued, receipt: Receipt, due: float, now: float) -> None:
        """Keep a message, and let its receipt wait for the store. ``due`` is the time to write the message."""
        receipt.left += 1
        self._next.puts[message.sequence] = Put(destination, message, receipt, due)
        if due <= now:
            self.urgent = True

    def remove(self, message: Queued) -> None:
        """Note that a kept message is settled or dropped."""
        put = self._next.puts.pop(message.sequence, None)
        if put is not None:
            put.receipt.safe()
        else:
            self._next.removed.add(message.sequence)
            self._next.counts.pop(message.sequence, None)

    def put_again(self, destination: Destination, message: Queued, now: float) -> None:
        """Keep a message that was removed before."""
        if message.sequence in self._next.removed:  # the store still has it
            self._next.removed.discard(message.sequence)
            self.count(message)
        else:
            self.put(destination, message, Receipt(lambda condition: None), now, now)

    def count(self, message: Queued) -> None:
        """Note that a kept message has another delivery count."""
        if message.sequence not in self._next.puts:
            self._next.counts[message.sequence] = message.count

    def changed(self, destination: Destination) -> None:
        """Note that a destination that outlives its consumers is new or changed, or no longer outlives them."""
        self._next.destinations[destination] = None
        self.urgent = True

    def take(self, now: float) -> Batch:
        """Return the changes to write now. Report the result with :meth:`written` or :meth:`not_written`."""
        batch, rest = Batch(), self._next
        due = (sequence for sequence, put in rest.puts.items() if put.due <= now)
        batch.puts = {sequence: rest.puts.pop(sequence) for sequence in list(islice(due, MOST))}
        batch.removed = {rest.removed.pop() for _ in range(min(MOST, len(rest.removed)))}
        batch.counts = dict(rest.counts.popitem() for _ in range(min(MOST, len(rest.counts))))
        batch.destinations, rest.destinations = rest.destinations, {}
        self.urgent = len(batch.puts) == MOST
        return batch

    def written(self, batch: Batch) -> None:
        """Note that a batch is committed."""
        self.failing = None
        for put in batch.puts.values():
            put.receipt.safe()

    def not_written(self, batch: Batch, reason: str) -> list[Put]:
        """Note that a batch was not committed, nor any part of it. The next one repeats all but its messages.

        Returns:
            The messages that are neither settled nor dropped yet. Withdraw and refuse each one, or :meth:`retry` it.
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
