"""Calls: a request, its worker and its reply as one row. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from mqlight.server.console.history import Branch, History, Story

LOOKED_AT = 2000
"""The number of newest stories that are searched for requests and replies."""
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
    def status(self) -> str:
        """One of ``STATUSES``."""
        if self.reply is not None:
            return "error" if self.reply.content.role == "error" else "replied"
        state = self.request.state
        return {"held": "running", "accepted": "no reply"}.get(state, state)


def calls(history: History) -> Iterator[Call]:
    """Yield the calls among the newest stories, the newest first."""
    replies: dict[str, Story] = {}
    for looked, story in enumerate(reversed(history.stories.values())):
        if looked >= LOOKED_AT:
            return
        content = story.content
        if content.role in ("reply", "error"):
            replies[content.key] = story
        elif content.role == "request":
            yield Call(story, replies.get(content.key))


def times(call: Call) -> dict[str, float | None]:
    """Return the parts of a call's time in ms: ``waiting`` for a worker, ``working``, ``total``; None if unknown."""
    request, reply, branch = call.request, call.reply, call.branch
    given = [event.at for event in branch.events if event.kind == "given"] if branch is not None else []
    return {
        "waiting": _ms(given[-1] - request.at) if given else None,
        "working": _ms(reply.at - given[-1]) if given and reply is not None else None,
        "total": _ms(reply.at - request.at) if reply is not None else None,
    }


def row(call: Call, ids: Any, wall: Any, *, seen: bool) -> dict[str, Any]:
    """Return a call for the page. ``ids(story)`` and ``wall(time)`` return the shown forms of stories and times."""
    request, reply, branch = call.request, call.reply, call.branch
    error = reply.content.error if reply is not None else ""
    return {
        "id": ids(request),
        "reply": None if reply is None else ids(reply),
        "at": wall(request.at),
        "topic": request.topic,
        "from": request.sender,
        "worker": branch.holder if branch is not None else "",
        "attempt": branch.attempts if branch is not None else 0,
        "status": call.status,
        "error": error if seen else "",
        "data": request.content.data if seen else "",
        **times(call),
    }


def _ms(seconds: float) -> float:
    return round(max(0.0, seconds) * 1000, 1)
