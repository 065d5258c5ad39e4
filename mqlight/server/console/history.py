"""The fate of the messages: a bounded history of their stories.

The rules of this file:

* Pure: times are arguments, in seconds of the broker's clock.
* The history never takes more than its memory. The oldest stories are removed, and the history counts them.
* Counters stay exact, even if only some of the messages are recorded.
* At high rates messages are sampled. An allowance, renewed with time, limits the cost of recording. Refusals, losses
  and other unusual events have an allowance of their own.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from mqlight.amqp.types import Condition, Outcome
from mqlight.server.console.content import MOST_TEXT, Content, read
from mqlight.server.destination import Consumer, Destination
from mqlight.server.publication import Publication
from mqlight.server.queued import Queued

MEMORY = 32 * 1024 * 1024
STORY, BRANCH, EVENT = 1500, 1500, 150
"""Bytes that a story, a branch (it may keep an ended destination in memory) and an event cost beside the message."""
WHOLE = 256 * 1024
"""The most bytes of a message that is kept whole. A longer message is read at once, and only its beginning is kept."""
MOST_EVENTS = 200
"""The most events of one branch, because a message may come back for ever."""
BURST, RATE, QUIET_RATE = 2000, 150, 50
"""The most messages recorded at once, and per second with an open page and without one."""
ODD_BURST, ODD_RATE = 1000, 100
"""The most unusual events recorded at once, and per second."""
_OUTCOMES = {
    Outcome.ACCEPTED: "accepted",
    Outcome.REJECTED: "rejected",
    Outcome.RELEASED: "released",
    Outcome.MODIFIED: "modified",
    Outcome.UNDELIVERABLE: "undeliverable",
}
FINAL = frozenset(("accepted", "rejected", "expired", "dropped"))


class Event(NamedTuple):
    """A step of a message. ``kind`` is ``given``, an outcome, ``lost``, ``expired``, ``dropped`` or ``restored``."""

    at: float
    kind: str
    who: str = ""
    detail: str = ""


class Branch:
    """The fate of a message in one destination: a :class:`mqlight.server.queued.Trace`."""

    __slots__ = ("destination", "events", "holder", "message", "state", "story")

    def __init__(self, story: Story, destination: Destination, message: Queued) -> None:
        self.story = story
        self.destination = destination
        self.message: Queued | None = message
        """The broker's message; None once its state is final."""
        self.state = "waiting"
        """``waiting``, ``held``, ``accepted``, ``rejected``, ``expired`` or ``dropped``."""
        self.holder = ""
        self.events: list[Event] = []

    def _add(self, event: Event, state: str) -> None:
        self.state = state
        if len(self.events) >= MOST_EVENTS:
            del self.events[MOST_EVENTS // 2]
        else:
            self.story.grow(EVENT)
        self.events.append(event)
        if state in FINAL:
            self.message = None
        self.story.touch()

    def given(self, client: object, at_most_once: bool, now: float) -> None:
        self.holder = name_of(client)
        self._add(Event(now, "given", self.holder), "accepted" if at_most_once else "held")

    def settled(self, client: object, outcome: Outcome, now: float) -> None:
        kind = _OUTCOMES[outcome]
        self._add(Event(now, kind, name_of(client)), kind if kind in FINAL else "waiting")

    def rejected(self, condition: Condition) -> None:
        if self.events:
            self.events[-1] = self.events[-1]._replace(detail=str(condition)[:1000])
            self.story.touch()

    def lost(self, client: object, now: float) -> None:
        self._add(Event(now, "lost", name_of(client)), "waiting")

    def expired(self, now: float) -> None:
        self._add(Event(now, "expired"), "expired")

    def dropped(self, why: str) -> None:
        self._add(Event(self.story.history.now, "dropped", "", why), "dropped")

    def restored(self, message: Queued, now: float) -> None:
        if self.story.forgotten:
            message.trace = None
            return
        self.message = message
        self._add(Event(now, "restored"), "waiting")

    @property
    def attempts(self) -> int:
        """The number of times that a consumer was given the message."""
        return sum(event.kind == "given" for event in self.events)

    @property
    def since(self) -> float:
        """The time at which the branch came into its state."""
        return self.events[-1].at if self.events else self.story.at


class Story:
    """One message and its branches."""

    __slots__ = (
        "at", "branches", "cached", "changed", "condition", "content_", "history", "number", "outcome", "partial",
        "rest", "sender", "size", "state_", "topic", "ttl",
    )  # fmt: skip

    def __init__(self, history: History, topic: str, rest: bytes, at: float, sender: str, ttl: int | None) -> None:
        self.history = history
        self.number = 0
        self.topic = topic
        self.size = len(rest)
        self.content_: Content | None = None
        self.rest = rest
        if len(rest) > WHOLE:
            self.content_ = read(rest)
            self.rest = b""
        self.at = at
        self.sender = sender
        self.ttl = ttl
        """The time to live in ms, or None."""
        self.outcome = Outcome.ACCEPTED
        self.condition: Condition | None = None
        self.partial = False
        """Whether the beginning of the story was not recorded."""
        self.branches: list[Branch] = []
        self.changed = 0
        self.state_ = ""
        self.cached: dict[bool, bytes] = {}
        """The row of a message whose state is final, by whether its body is visible."""

    def trace(self, destination: Destination, message: Queued) -> Branch:
        """Begin a branch (:class:`mqlight.server.observer.Story`)."""
        branch = Branch(self, destination, message)
        self.branches.append(branch)
        self.grow(BRANCH)
        self.touch()
        return branch

    def grow(self, size: int) -> None:
        if self.number:
            self.history.grow(self, size)

    @property
    def forgotten(self) -> bool:
        """Whether the story has fallen out of the history."""
        return self.number not in self.history.stories

    def touch(self) -> None:
        self.history.version += 1
        self.changed = self.history.version
        self.state_ = ""
        if self.cached:
            self.cached = {}

    @property
    def content(self) -> Content:
        if self.content_ is None:
            self.content_ = read(self.rest)
        return self.content_

    @property
    def state(self) -> str:
        """The fate: ``nobody`` (no subscribers), ``refused``, or the state of the branch that most needs attention."""
        if not self.state_:
            self.state_ = self._state()
        return self.state_

    def _state(self) -> str:
        if self.outcome is Outcome.RELEASED:
            return "nobody"
        if self.outcome is Outcome.REJECTED:
            return "refused"
        states = {branch.state for branch in self.branches}
        return next((s for s in ("rejected", "expired", "dropped", "waiting", "held") if s in states), "accepted")

    @property
    def final(self) -> bool:
        """Whether the state of every branch is final."""
        return all(branch.state in FINAL for branch in self.branches)


class History:
    """The remembered stories: a :class:`mqlight.server.observer.Observer`."""

    def __init__(self, memory: int = MEMORY) -> None:
        self.memory = memory
        self.taken = 0
        """Bytes of memory that the stories take."""
        self.stories: OrderedDict[int, Story] = OrderedDict()
        self.costs: dict[int, int] = {}
        self.recorded = self.refusals = self.unrouted = self.fallen = 0
        self.version = 0
        """A number that grows with every change."""
        self.allowance = BURST
        self.odd_allowance = ODD_BURST
        self.sampling_at = float("-inf")
        """The last time at which a message was not recorded."""
        self.now = 0.0
        self._renewed_at: float | None = None
        self.senders: dict[str, object] = {}
        """The recent senders, by name, until the cards take them. A client may disconnect within milliseconds."""
        self.quiet: set[str] = set()
        """Topics of the console's own, whose messages are not recorded."""
        self.born: dict[int, float] = {}
        """The time at which each destination was made, by its number."""

    def tick(self, now: float, *, watched: bool) -> None:
        """Renew the allowances. ``watched`` says whether a page is open. Call this about ten times a second."""
        passed = 0.0 if self._renewed_at is None else now - self._renewed_at
        self.now, self._renewed_at = now, now
        if self.allowance <= 0:
            self.sampling_at = now
        rate = RATE if watched else QUIET_RATE
        self.allowance = min(BURST, self.allowance + max(1, int(passed * rate)))
        self.odd_allowance = min(ODD_BURST, self.odd_allowance + max(1, int(passed * ODD_RATE)))

    def published(self, message: Publication, now: float, sender: object) -> Story | None:
        if message.topic in self.quiet:
            return None
        self.allowance -= 1
        name = name_of(sender)
        self.senders[name] = sender
        return self._record(Story(self, message.topic, message.rest, now, name, message.ttl))

    def unwatched(self, destination: Destination, message: Queued) -> Branch | None:
        if self.odd_allowance <= 0:
            self.sampling_at = self.now
            return None
        self.odd_allowance -= 1
        content = read(message.rest) if len(message.rest) <= WHOLE else None
        topic = (content and content.topic) or destination.name.pattern
        if topic in self.quiet:
            return None
        story = Story(self, topic, message.rest, self.now, "", None)
        story.partial = True
        return self._record(story).trace(destination, message)

    def refused(
        self, sender: object, topic: str | None, data: bytes, outcome: Outcome, condition: Condition | None, now: float
    ) -> None:
        if outcome is Outcome.RELEASED:
            self.unrouted += 1
        else:
            self.refusals += 1
        if topic in self.quiet:
            return
        if self.odd_allowance <= 0:
            self.sampling_at = now
            return
        self.odd_allowance -= 1
        name = name_of(sender)
        self.senders[name] = sender
        story = Story(self, topic or "", data, now, name, None)
        story.outcome, story.condition = outcome, condition
        self._record(story)

    def added(self, destination: Destination) -> None:
        self.born[destination.number] = self.now
        self.version += 1

    def forgotten(self, destination: Destination) -> None:
        self.born.pop(destination.number, None)
        self.version += 1

    def _record(self, story: Story) -> Story:
        self.now = story.at
        self.recorded += 1
        story.number = self.recorded
        self.stories[story.number] = story
        self.costs[story.number] = 0
        self.grow(story, STORY + len(story.rest) + min(story.size, MOST_TEXT))
        story.touch()
        return story

    def grow(self, story: Story, size: int) -> None:
        """Add ``size`` bytes to the cost of a story. Remove the oldest stories if the memory is full."""
        if story.number not in self.costs:
            return  # the story was removed
        self.costs[story.number] += size
        self.taken += size
        while self.taken > self.memory and len(self.stories) > 1:
            number, old = self.stories.popitem(last=False)
            self.taken -= self.costs.pop(number)
            self._let_go(old)

    def _let_go(self, story: Story) -> None:
        """Count a removed story, and cut it off from its waiting messages, which would keep it in memory."""
        self.fallen += 1
        for branch in story.branches:
            if branch.message is not None:
                branch.message.trace = None

    def clear(self) -> None:
        """Forget all stories. The counters stay."""
        for story in self.stories.values():
            self._let_go(story)
        self.stories.clear()
        self.costs.clear()
        self.taken = 0
        self.version += 1


def name_of(client: object) -> str:
    """Return the id of a client of the server, or its address if it has no id."""
    return str(getattr(client, "client_id", "") or getattr(client, "address", ""))


def client_of(consumer: Consumer) -> str:
    return name_of(consumer.client)
