"""The remembered messages as the pages show them: rows, details, topics. Pure: ``now`` is an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mqlight.server.broker import Broker
from mqlight.server.console.content import read
from mqlight.server.console.history import WHOLE, Branch, History, Story
from mqlight.server.console.query import Test
from mqlight.server.console.why import near, of_branch, span, why
from mqlight.server.queued import Queued

ROWS = 60
"""The most rows of a page's list."""
LOOKED_AT = 5000
"""The most stories that a filter examines for one list; more would hold up the server."""
TOPICS = 500
"""The most topics that the tree of topics shows."""
_encode = msgspec.json.encode

Seen = Callable[[str], bool]
"""Returns whether the reader of a page may see the bodies of a topic."""
Wall = Callable[[float], int]
"""Converts a time on the broker's clock to ms since 1970."""


class Messages:
    """The messages of the history.

    Args:
        broker: The server's broker.
        history: The stories of the messages.
        run: A name of this run of the server, which is part of the messages' ids.
        wall: Converts a time on the broker's clock to ms since 1970.
    """

    def __init__(self, broker: Broker, history: History, run: str, wall: Wall) -> None:
        self.history = history
        self.run = run
        self.wall = wall
        self._broker = broker

    def id(self, story: Story) -> str:
        return f"{self.run}-{story.number}"

    def row(self, story: Story, now: float, seen: Seen) -> bytes:
        """Return the row of a message as JSON."""
        visible = seen(story.topic)
        cached = story.cached.get(visible)
        if cached is not None:
            return cached
        content, cause = story.content, why(story, self._broker, now)
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
        """Return all details of a message, with related messages."""
        related = self._related(story)
        return {
            **self.record(story, now, seen),
            "near": near(story.topic, self._broker) if story.state == "nobody" else [],
            "related": [{"id": self.id(each), "role": each.content.role, "topic": each.topic} for each in related],
        }

    def record(self, story: Story, now: float, seen: Seen) -> dict[str, Any]:
        """Return a message with its body and its story."""
        visible, content = seen(story.topic), story.content
        return {
            **msgspec.json.decode(self.row(story, now, seen)),
            "answer": self._answer(story, now),
            "ttl": story.ttl,
            "left": None if story.ttl is None else max(0, int(story.ttl - (now - story.at) * 1000)),
            "partial": story.partial,
            "branches": [self._branch(branch, now) for branch in story.branches],
            "body": content.text if visible else None,
            "cut": content.cut,
            "properties": content.properties if visible else {},
            "headers": content.headers if visible else {},
            "data": content.data if visible else "",
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
        cause = why(story, self._broker, now)
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

    def queued(self, message: Queued, pattern: str, holder: str, now: float, seen: Seen) -> dict[str, Any]:
        """Return the row of a message in a destination. ``holder`` is the client that has it, or empty."""
        trace = message.trace
        story = trace.story if isinstance(trace, Branch) else None
        content = story.content if story else read(message.rest) if len(message.rest) <= WHOLE else None
        topic = (story.topic if story else content.topic if content else "") or pattern
        return {
            "number": message.sequence,
            "topic": topic,
            "holder": holder,
            "size": len(message.rest),
            "attempts": message.count,
            "left": None if message.expires is None else round(max(0.0, message.expires - now), 1),
            "id": self.id(story) if story else None,
            "at": self.wall(story.at) if story else None,
            "preview": content.preview if content and seen(topic) else "",
        }

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
