"""The destinations as the pages show them: cards, rates, and what waits in each. Pure: ``now`` is an argument."""

from __future__ import annotations

from itertools import islice
from typing import Any

from mqlight.amqp.topics import matches
from mqlight.server.broker import Broker
from mqlight.server.console.history import client_of
from mqlight.server.console.messages import Messages, Seen
from mqlight.server.console.why import oldest
from mqlight.server.destination import Consumer, Destination

CARDS = 100
"""The most cards of a column."""
PEEKED = 100
"""The most messages of a destination that its page shows."""


class Destinations:
    """The shares, subscriptions and queues of a broker."""

    def __init__(self, broker: Broker, messages: Messages) -> None:
        self._broker = broker
        self._messages = messages
        self._rates: dict[int, tuple[int, int, float, float]] = {}
        """Arrived messages, given messages, and both per second, by the destination's number."""

    def second(self, passed: float) -> None:
        """Count the rates of the ``passed`` seconds."""
        before, self._rates = self._rates, {}
        for each in self._broker.destinations.values():
            arrived, given = before.get(each.number, (each.arrived, each.turns, 0, 0))[:2]
            rates = ((each.arrived - arrived) / passed, (each.turns - given) / passed) if passed else (0.0, 0.0)
            self._rates[each.number] = (each.arrived, each.turns, *rates)

    def card(self, destination: Destination, now: float) -> dict[str, Any]:
        """Return the card of a destination."""
        name = destination.name
        _, _, arriving, leaving = self._rates.get(destination.number, (0, 0, 0.0, 0.0))
        return {
            "number": destination.number,
            "name": str(name),
            "pattern": name.pattern,
            "share": name.share,
            "kind": "share" if name.share is not None else "queue" if destination.temporary else "private",
            "client": destination.owner.client_id,
            "user": destination.owner.user,
            "waiting": destination.count,
            "bytes": destination.bytes,
            "limit": self._broker.limits.queue_messages,
            "unsettled": sum(consumer.holds for consumer in destination.consumers),
            "arrived": destination.arrived,
            "given": destination.turns,
            "dropped": destination.dropped,
            "arriving": round(arriving, 1),
            "leaving": round(leaving, 1),
            "ttl": destination.ttl,
            "forget_in": None if destination.forget_at is None else round(max(0.0, destination.forget_at - now), 1),
            "members": [self._member(consumer, now) for consumer in destination.consumers[:CARDS]],
            "count": len(destination.consumers),
        }

    def _member(self, consumer: Consumer, now: float) -> dict[str, Any]:
        at = oldest(consumer) if consumer.holds else None
        return {
            "client": client_of(consumer), "credit": consumer.credit, "holds": consumer.holds, "taken": consumer.taken,
            "oldest": None if at is None else round(now - at, 1),
        }  # fmt: skip

    def cards(self, now: float, most: int = CARDS) -> list[dict[str, Any]]:
        """Return the cards of all destinations: shares and subscriptions first, topics for replies last."""
        found = sorted(
            self._broker.destinations.values(),
            key=lambda each: (is_reply(each), each.name.share is None, each.name.pattern, each.number),
        )
        return [self.card(each, now) for each in found[:most]]

    def peek(self, destination: Destination, now: float, seen: Seen) -> list[dict[str, Any]]:
        """Return the messages of a destination in the order of delivery, unsettled ones first. This changes nothing."""
        held = ((message, client_of(each)) for each in destination.consumers for message in each.held())
        waiting = ((message, "") for message in destination.waiting())
        pattern = destination.name.pattern
        return [
            self._messages.queued(message, pattern, holder, now, seen)
            for message, holder in [*islice(held, PEEKED), *islice(waiting, PEEKED)]
        ]

    def route(self, topic: str) -> list[dict[str, Any]]:
        """Return the destinations that a message to a topic would go to. No message is sent."""
        return [
            {
                "number": each.number,
                "name": str(each.name),
                "members": len(each.consumers),
                "credit": sum(max(0, consumer.credit) for consumer in each.consumers),
                "waiting": each.count,
            }
            for each in self._broker.destinations.values()
            if matches(each.name.pattern, topic)
        ]


def is_reply(destination: Destination) -> bool:
    """Return whether a destination is a client's topic for replies, of which each client has one."""
    return destination.name.pattern.startswith("response/")
