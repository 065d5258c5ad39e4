"""The data of the console's pages, as plain values: rows, cards, details. Pure: ``now`` is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from mqlight.amqp.topics import matches
from mqlight.server.broker import Broker
from mqlight.server.console import calls, dead
from mqlight.server.console.clients import Clients
from mqlight.server.console.content import read
from mqlight.server.console.history import WHOLE, Branch, History, Story, client_of
from mqlight.server.console.query import Test
from mqlight.server.console.why import near, of_branch, oldest, span, why
from mqlight.server.destination import Consumer, Destination

if TYPE_CHECKING:
    from mqlight.server.protocol import ServerProtocol

ROWS = 60
"""The most rows of a page's list."""
CARDS = 100
"""The most cards of a column."""
LOOKED_AT = 5000
"""The most stories that a filter examines for one list; more would hold up the server."""
SERIES = 120
"""Seconds that the charts show."""
TOPICS = 500
"""The most topics that the tree of topics shows."""
PEEKED = 100
"""The most messages of a destination that its page shows."""
_encode = msgspec.json.encode

Seen = Callable[[str], bool]
"""Returns whether the reader of a page may see the bodies of a topic."""


class Views:
    """The data of all pages.

    Args:
        broker: The server's broker.
        history: The stories of the messages.
        clients: Returns the connected clients.
        run: A name of this run of the server, which is part of the messages' ids.
        offset: Seconds to add to the broker's clock to get the seconds since 1970.
    """

    def __init__(
        self,
        broker: Broker,
        history: History,
        clients: Callable[[], Iterable[ServerProtocol]],
        run: str,
        offset: float,
    ) -> None:
        self.broker = broker
        self.history = history
        self.run = run
        self._offset = offset
        self._clients = Clients(clients, self.wall)
        self._rates: dict[int, tuple[int, int, float, float]] = {}
        """Arrived messages, given messages, and both per second, by the destination's number."""
        self._counted = 0
        self.rate = 0.0
        """Messages per second, counted over the last second."""
        self._second_at: float | None = None
        self.series: deque[tuple[float, int]] = deque(maxlen=SERIES)
        """Messages per second and the number of waiting messages, for each of the last seconds."""

    def id(self, story: Story) -> str:
        return f"{self.run}-{story.number}"

    def wall(self, at: float) -> int:
        """Return a time in ms since 1970."""
        return int((at + self._offset) * 1000)

    # Once a second

    def second(self, now: float, *, watched: bool) -> None:
        """Count rates, and note which clients connected and disconnected. Call this about once a second."""
        passed = 0.0 if self._second_at is None else max(now - self._second_at, 0.001)
        self._second_at = now
        total = self.broker.published + self.history.unrouted + self.history.refusals
        self.rate = (total - self._counted) / passed if passed else 0.0
        self._counted = total
        senders, self.history.senders = self.history.senders, {}
        self._clients.second(senders, now, passed)
        if watched or len(self.broker.destinations) < CARDS:
            self._count_destinations(passed)
            waiting = sum(each.count for each in self.broker.destinations.values())
            self.series.append((round(self.rate, 1), waiting))

    def _count_destinations(self, passed: float) -> None:
        before, self._rates = self._rates, {}
        for each in self.broker.destinations.values():
            arrived, given = before.get(each.number, (each.arrived, each.turns, 0, 0))[:2]
            rates = ((each.arrived - arrived) / passed, (each.turns - given) / passed) if passed else (0.0, 0.0)
            self._rates[each.number] = (each.arrived, each.turns, *rates)

    # Messages

    def row(self, story: Story, now: float, seen: Seen) -> bytes:
        """Return the row of a message as JSON."""
        visible = seen(story.topic)
        cached = story.cached.get(visible)
        if cached is not None:
            return cached
        content, cause = story.content, why(story, self.broker, now)
        data = _encode({
            "id": self.id(story),
            "number": story.number,
            "at": self.wall(story.at),
            "topic": story.topic,
            "from": story.sender,
            "size": story.size,
            "state": story.state,
            "done": sum(branch.state == "accepted" for branch in story.branches),
            "of": len(story.branches),
            "to": [branch.destination.number for branch in story.branches[:20]],
            "role": content.role,
            "kind": content.kind if visible else "hidden",
            "preview": content.preview if visible else "",
            "why": None if cause is None else cause._asdict(),
        })  # fmt: skip
        if story.final and story.branches:
            story.cached[visible] = data
        return data

    def find(
        self, test: Test | None, now: float, seen: Seen, *, before: int | None = None, most: int = ROWS
    ) -> tuple[list[Story], int | None]:
        """Return the newest stories that a filter finds.

        The second value is the number of the last examined story if there may be more, else None.
        """
        found: list[Story] = []
        looked = 0
        for number in reversed(self.history.stories):
            if before is not None and number >= before:
                continue
            story = self.history.stories[number]
            looked += 1
            if test is None or test(story, now, seen(story.topic)):
                found.append(story)
            if len(found) >= most or looked >= LOOKED_AT:
                return found, number
        return found, None

    def lookup(self, text: str) -> Story | str:
        """Return the story of an id, or a sentence that says why there is none."""
        run, _, number = text.partition("-")
        if not (number.isascii() and number.isdigit() and len(number) < 16):
            return f"{text[:80]} is no message"
        if run != self.run:
            return "this message belongs to an earlier run of the server, and its history ended with it"
        story = self.history.stories.get(int(number))
        if story is None:
            if 0 < int(number) <= self.history.recorded:
                return f"message {number} has fallen out of the history, which holds the newest (--console-memory)"
            return f"there is no message {number} yet"
        return story

    def detail(self, story: Story, now: float, seen: Seen) -> dict[str, Any]:
        """Return all details of a message."""
        visible, content = seen(story.topic), story.content
        related = self._related(story)
        return {
            **msgspec.json.decode(self.row(story, now, seen)),
            "answer": self._answer(story, now),
            "near": near(story.topic, self.broker) if story.state == "nobody" else [],
            "ttl": story.ttl,
            "left": None if story.ttl is None else max(0, int(story.ttl - (now - story.at) * 1000)),
            "partial": story.partial,
            "branches": [self._branch(branch, now) for branch in story.branches],
            "body": content.text if visible else None,
            "cut": content.cut,
            "properties": content.properties if visible else {},
            "headers": content.headers if visible else {},
            "data": content.data if visible else "",
            "related": [{"id": self.id(each), "role": each.content.role, "topic": each.topic} for each in related],
        }

    def _branch(self, branch: Branch, now: float) -> dict[str, Any]:
        cause = of_branch(branch, now)
        return {
            "destination": branch.destination.number,
            "name": str(branch.destination.name),
            "state": branch.state,
            "why": None if cause is None else cause._asdict(),
            "events": [
                {"at": self.wall(each.at), "kind": each.kind, "who": each.who, "detail": each.detail}
                for each in branch.events
            ],
        }

    def _answer(self, story: Story, now: float) -> str:
        """Return the fate of a message as a short text."""
        start = f"{story.sender or 'Somebody'} sent it to {story.topic or 'no topic'} {span(now - story.at)} ago"
        cause = why(story, self.broker, now)
        if cause is not None:
            return f"{start}. {cause.text}."
        names = list(dict.fromkeys(branch.holder for branch in story.branches if branch.holder))
        receivers = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        took = span(max((branch.since for branch in story.branches), default=story.at) - story.at)
        return f"{start}. {receivers} received and settled it within {took}."

    def _related(self, story: Story) -> list[Story]:
        key = story.content.key
        if not key:
            return []
        found, _ = self.find(
            lambda other, *_: other.content.key == key and other is not story, 0.0, lambda topic: True, most=5
        )
        return found

    # Senders and receivers

    def clients(self) -> list[dict[str, Any]]:
        """Return the cards of clients: connected clients first, and among them the latest senders first."""
        return self._clients.cards(CARDS)

    def destination(self, destination: Destination, now: float) -> dict[str, Any]:
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
            "limit": self.broker.limits.queue_messages,
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

    def destinations(self, now: float, most: int = CARDS) -> list[dict[str, Any]]:
        """Return the cards of destinations: shares and subscriptions first, topics for replies last."""
        found = sorted(
            self.broker.destinations.values(),
            key=lambda each: (is_reply(each), each.name.share is None, each.name.pattern, each.number),
        )
        return [self.destination(each, now) for each in found[:most]]

    def peek(self, destination: Destination, now: float, seen: Seen) -> list[dict[str, Any]]:
        """Return the messages of a destination in the order of delivery, unsettled ones first. This changes nothing."""
        rows = []
        held = ((message, client_of(each)) for each in destination.consumers for message in each.held())
        waiting = ((message, "") for message in destination.waiting())
        for message, holder in [*islice(held, PEEKED), *islice(waiting, PEEKED)]:
            trace = message.trace
            story = trace.story if isinstance(trace, Branch) else None
            content = story.content if story else read(message.rest) if len(message.rest) <= WHOLE else None
            topic = (content.properties.get("to", "") if content else "") or destination.name.pattern
            visible = seen(topic)
            rows.append({
                "number": message.sequence,
                "topic": topic,
                "holder": holder,
                "size": len(message.rest),
                "attempts": message.count,
                "left": None if message.expires is None else round(max(0.0, message.expires - now), 1),
                "id": self.id(story) if story else None,
                "at": self.wall(story.at) if story else None,
                "preview": content.preview if content and visible else "",
            })  # fmt: skip
        return rows

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
            for each in self.broker.destinations.values()
            if matches(each.name.pattern, topic)
        ]

    def topics(self, seen: Seen) -> list[dict[str, Any]]:
        """Return the topics of the remembered messages, with the newest body of each."""
        found: dict[str, dict[str, Any]] = {}
        for looked, story in enumerate(reversed(self.history.stories.values())):
            known = found.get(story.topic)
            if known is not None:
                known["count"] += 1
            elif len(found) < TOPICS:
                preview = story.content.preview if seen(story.topic) else ""
                found[story.topic] = {
                    "topic": story.topic, "count": 1, "last": self.wall(story.at), "id": self.id(story),
                    "preview": preview,
                }  # fmt: skip
            if looked >= LOOKED_AT:
                break
        return sorted(found.values(), key=lambda each: str(each["topic"]))

    # The whole server

    def totals(self, now: float) -> dict[str, Any]:
        history, broker = self.history, self.broker
        first = next(iter(history.stories.values()), None)
        return {
            "messages": broker.published + history.unrouted + history.refusals,
            "nobody": history.unrouted,
            "refused": history.refusals,
            "expired": broker.expired,
            "rate": round(self.rate, 1),
            "connected": self._clients.connected,
            "gone": self._clients.gone,
            "destinations": len(broker.destinations),
            "held": len(history.stories),
            "recorded": history.recorded,
            "fallen": history.fallen,
            "since": None if first is None else self.wall(first.at),
            "memory": history.taken,
            "memory_limit": history.memory,
            "sampling": now - history.sampling_at < 5.0,
            "dead": dead.count(broker),
            "series": list(self.series),
        }

    def attention(self, now: float) -> list[dict[str, str]]:
        """Return at most five lines about problems, each with the address of the page that shows the problem."""
        lines = []
        for each in self.broker.destinations.values():
            if each.count and not each.name.pattern.startswith(dead.TOPIC):
                where, link = str(each.name), f"/destinations/{each.number}"
                if not each.consumers:
                    lines.append((f"{where} has {_messages(each.count)} and no member", link))
                elif not any(consumer.credit > 0 for consumer in each.consumers):
                    since = [at for consumer in each.consumers if (at := oldest(consumer)) is not None]
                    if since and now - min(since) > 2.0:
                        lines.append((f"{where} has no credit since {span(now - min(since))}", link))
            if len(lines) >= 4:
                break
        if letters := dead.count(self.broker):
            lines.append((f"{_counted(letters, 'dead letter')} to mend, replay or drop", "/dead"))
        return [{"text": text, "link": link} for text, link in lines]

    def letters(self, seen: Seen) -> list[dict[str, Any]]:
        """Return the waiting dead letters, the oldest first."""
        found = islice(dead.letters(self.broker), dead.MOST)
        return [dead.row(each, seen=seen(dead.TOPIC + each.topic)) for each in found]

    def calls(self, now: float, seen: Seen, most: int = ROWS) -> list[dict[str, Any]]:
        """Return the newest calls."""
        found = []
        for call in calls.calls(self.history):
            found.append(calls.row(call, self.id, self.wall, seen=seen(call.request.topic)))
            if len(found) >= most:
                break
        return found


def is_reply(destination: Destination) -> bool:
    """Return whether a destination is a client's topic for replies, of which each client has one."""
    return destination.name.pattern.startswith("response/")


def _messages(count: int) -> str:
    return _counted(count, "message")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
