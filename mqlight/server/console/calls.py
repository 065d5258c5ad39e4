"""Calls: a request, its worker and its reply as one row, and the calls inside a call. Pure.

A service that answers a call may make calls itself. Their trace (W3C Trace Context) relates them to it or, without a
trace, their sender: the worker that has the request. A nested call begins while the worker has the outer request.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from mqlight.server.console.history import Branch, History, Story
from mqlight.server.console.messages import ROWS, Messages, Seen

LOOKED_AT = 2000
"""The number of newest stories that are searched for requests and replies."""
MOST_NEAR, MOST_NESTED = 100, 200
"""The most calls of one worker, or of one trace, that are compared with a call, and the most calls of one tree."""
STATUSES = ("waiting", "running", "replied", "error", "no reply", "expired", "nobody", "refused", "dropped", "rejected")


class Call(NamedTuple):
    """A request and its reply; None if there is no reply yet."""

    request: Story
    reply: Story | None

    @property
    def branch(self) -> Branch | None:
        """The fate of the request at the service that answered it, or else at the first service."""
        branches = self.request.branches
        if self.reply is not None:
            return next((b for b in branches if b.holder == self.reply.sender), branches[0] if branches else None)
        return branches[0] if branches else None

    @property
    def worker(self) -> str:
        return "" if self.branch is None else self.branch.holder

    @property
    def given_at(self) -> float | None:
        """The time at which the worker was given the request; None if it waits."""
        events = [] if self.branch is None else self.branch.events
        return next((event.at for event in reversed(events) if event.kind == "given"), None)

    @property
    def status(self) -> str:
        """One of ``STATUSES``."""
        if self.reply is not None:
            return "error" if self.reply.content.role == "error" else "replied"
        state = self.request.state
        return {"held": "running", "accepted": "no reply"}.get(state, state)

    def encloses(self, inner: Call) -> bool:
        """Return whether the worker had this request when another one was sent."""
        given, at = self.given_at, inner.request.at
        return given is not None and given <= at and (self.reply is None or at <= self.reply.at)


def calls(history: History) -> Iterator[Call]:
    """Yield the calls among the newest stories, the newest first."""
    replies: dict[str, Story] = {}
    for story in islice(reversed(history.stories.values()), LOOKED_AT):
        content = story.content
        if content.role in ("reply", "error"):
            replies[content.key] = story
        elif content.role == "request":
            yield Call(story, replies.get(content.key))


def tree(history: History, request: Story) -> list[tuple[Call, int]]:
    """Return the outermost call around a request and all calls inside it, in their order, with their depths."""
    found = list(calls(history))[::-1]  # the oldest first: a call begins before the calls inside it
    outer: dict[Call, Call | None] = {}
    begun: set[str] = set()
    near: dict[tuple[str, str], deque[Call]] = defaultdict(lambda: deque(maxlen=MOST_NEAR))
    for call in found:
        trace, span, sender = call.request.content.trace, call.request.content.span, call.request.sender
        around = [each for each in near[trace, "" if trace else sender] if each.encloses(call)]
        own = [each for each in around if each.worker == sender]
        # A worker calls several services at once, so calls of one sender are not inside each other. An exception are
        # calls of different spans in a trace that began here: there, all calls for one request have one span.
        others = [
            each
            for each in around
            if each.request.sender != sender or (trace in begun and each.request.content.span != span)
        ]
        outer[call] = _innermost(own or others, outer)
        near[trace, "" if trace else call.worker].append(call)
        if not trace:  # the calls inside this one may have a trace that begins here
            near[call.request.content.trace_id, ""].append(call)
            begun.add(call.request.content.trace_id)
    family = _line(next((each for each in found if each.request is request), Call(request, None)), outer)
    depths = {family[-1]: 0}
    for call in found:
        if (above := outer[call]) in depths:
            depths[call] = depths[above] + 1
    return list(islice(depths.items(), MOST_NESTED))


def _innermost(candidates: list[Call], outer: dict[Call, Call | None]) -> Call | None:
    """Return the innermost of some calls. If several are, return the innermost call around all of these."""
    lines = [_line(each, outer) for each in candidates]
    ends = [line for line in lines if not any(line is not other and line[0] in other for other in lines)]
    return next((call for call in ends[0] if all(call in line for line in ends)), None) if ends else None


def _line(call: Call, outer: dict[Call, Call | None]) -> list[Call]:
    """Return a call, the call around it, and so on."""
    line = [call]
    while (above := outer.get(line[-1])) is not None:
        line.append(above)
    return line


def times(call: Call) -> dict[str, float | None]:
    """Return the parts of a call's time in ms: ``waiting`` for a worker, ``working``, ``total``; None if unknown."""
    request, reply, given = call.request, call.reply, call.given_at
    return {
        "waiting": _ms(given - request.at) if given is not None else None,
        "working": _ms(reply.at - given) if given is not None and reply is not None else None,
        "total": _ms(reply.at - request.at) if reply is not None else None,
    }


class Calls:
    """The calls as the pages show them."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    def rows(self, seen: Seen, most: int = ROWS) -> list[dict[str, Any]]:
        """Return the newest calls."""
        return [self._row(call, seen) for call in islice(calls(self._messages.history), most)]

    def detail(self, request: Story, now: float, seen: Seen) -> dict[str, Any]:
        """Return a call, its request and its reply, and the tree of calls that it belongs to."""
        family = tree(self._messages.history, request)
        call = next(call for call, _ in family if call.request is request)
        return {
            **self._row(call, seen),
            "request": self._messages.detail(request, now, seen),
            "answer": None if call.reply is None else self._messages.detail(call.reply, now, seen),
            "tree": [
                {**self._row(each, seen), "depth": depth, "start": _ms(each.request.at - family[0][0].request.at)}
                for each, depth in family
            ],
        }

    def _row(self, call: Call, seen: Seen) -> dict[str, Any]:
        messages, request, reply, branch = self._messages, call.request, call.reply, call.branch
        visible = seen(request.topic)
        return {
            "id": messages.id(request),
            "reply": None if reply is None else messages.id(reply),
            "at": messages.wall(request.at),
            "topic": request.topic,
            "from": request.sender,
            "worker": call.worker,
            "attempt": branch.attempts if branch is not None else 0,
            "status": call.status,
            "error": reply.content.error if reply is not None and visible else "",
            "data": request.content.data if visible else "",
            "trace": request.content.trace_id,
            **times(call),
        }


def _ms(seconds: float) -> float:
    return round(max(0.0, seconds) * 1000, 1)
