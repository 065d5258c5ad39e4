"""The room for messages: the memory of the whole server, and the bounds of each destination. Pure.

The memory of messages is added up as they come, and counted only when the sum is over the limit. The last eighth is
kept for messages that are taken at once, so that calls go on beside a full queue.
"""

from __future__ import annotations

from collections.abc import Mapping

from mqlight.amqp.types import Condition
from mqlight.server.destination import Destination, DestinationName
from mqlight.server.limits import FULL, MESSAGE_OVERHEAD, Limits

RECOUNT = 0.1
"""Seconds between two counts of all memory, unless an eighth of the limit has arrived meanwhile."""


class Capacity:
    """The room that is left for messages."""

    def __init__(self, limits: Limits, destinations: Mapping[DestinationName, Destination]) -> None:
        self.unfinished = 0
        """Bytes of messages that have arrived in part."""
        self.unsent = 0
        """Bytes of output that clients have not read yet."""
        self._limits = limits
        self._destinations = destinations
        self._most_waiting = limits.memory // 8 * 7
        """Bytes of memory above which a message that would have to wait is refused."""
        self._taken = 0
        """Bytes of memory at the last count, plus all that has arrived since."""
        self._counted = 0
        self._counted_at = float("-inf")

    def memory(self) -> int:
        """Return the bytes of all messages: waiting, unsettled, unfinished, and not read by their clients."""
        total = self.unfinished + self.unsent
        for destination in self._destinations.values():
            total += destination.bytes + MESSAGE_OVERHEAD * destination.count
            for consumer in destination.consumers:
                total += sum(len(message.rest) + MESSAGE_OVERHEAD for message in consumer.held())
        return total

    def count(self) -> None:
        """Count all memory."""
        self._counted = self._taken = self.memory()

    def take(self, found: tuple[Destination, ...], size: int, now: float) -> Condition | None:
        """Take the memory for a copy of ``size`` bytes in each destination. Return the reason if there is too little.

        Arrivals are counted at once, but only a count of all memory notices what was freed. It is made once in
        ``RECOUNT`` seconds at most, unless an eighth of the limit has arrived meanwhile.
        """
        more = len(found) * (size + MESSAGE_OVERHEAD)
        if self._taken + more > self._most_waiting:
            most = self._limits.memory
            if now - self._counted_at >= RECOUNT or self._taken - self._counted >= most // 8:
                self._counted_at = now
                self.count()
            waits = any(destination.queue or destination.next_consumer() is None for destination in found)
            if self._taken + more > (self._most_waiting if waits else most):
                return self._limits.reached("memory", f"the messages here take {self._taken} bytes already")
        self._taken += more
        return None

    def is_full(self, destination: Destination, size: int) -> bool:
        """Return whether a destination has no room for a message of ``size`` bytes."""
        limits = self._limits
        return destination.count >= limits.queue_messages or destination.bytes + size > limits.queue_bytes

    def fullness(self, destination: Destination) -> Condition:
        """Return the error for a full destination."""
        limits = self._limits
        return Condition(
            FULL,
            f"the destination {destination.name} is full: it holds {destination.count} of "
            f"{limits.queue_messages} messages and {destination.bytes} of {limits.queue_bytes} bytes "
            f"({limits.flag('queue_messages')}, {limits.flag('queue_bytes')})",
        )
