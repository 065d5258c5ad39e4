"""The records of each message's fate, for the journal and the observer. Pure."""

from __future__ import annotations

from mqlight.server.destination import Destination
from mqlight.server.journal import Journal
from mqlight.server.observer import Observer
from mqlight.server.queued import MOST_COUNT, Queued, Trace


class Records:
    """The journal, which gets what the store must keep, and the observer. Each of them may be missing."""

    def __init__(self, journal: Journal | None) -> None:
        self.journal = journal
        self.observer: Observer | None = None
        self.expired = 0
        """The number of messages whose time to live ended while they waited."""

    def set_life(self, destination: Destination, ttl: float, forget_at: float | None) -> None:
        """Set how many seconds a destination outlives its last consumer, and when it is forgotten."""
        before = destination.ttl, destination.forget_at
        destination.ttl, destination.forget_at = ttl, forget_at
        if self.journal is not None and before != (ttl, forget_at):
            self.journal.changed(destination)

    def trace(self, destination: Destination, message: Queued) -> Trace | None:
        """Return the trace of a message to which something unusual happens. None if the observer has none."""
        if message.trace is None and self.observer is not None:
            message.trace = self.observer.unwatched(destination, message)
        return message.trace

    def tried(self, message: Queued) -> None:
        """Count a delivery attempt."""
        message.count = min(message.count + 1, MOST_COUNT)
        if message.stored and self.journal is not None:
            self.journal.count(message)

    def done(self, message: Queued) -> None:
        """Note that a message is settled or dropped."""
        if message.stored and self.journal is not None:
            self.journal.remove(message)

    def expire(self, destination: Destination, message: Queued, now: float) -> None:
        """End a message that has left the queue after its time to live."""
        self.expired += 1
        self.done(message)
        if (trace := self.trace(destination, message)) is not None:
            trace.expired(now)
