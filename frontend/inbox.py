"""The inboxes of the sessions: a word is out, its reply comes in, and it stays until its session confirms it.

Rule: a reply has a number. It stays until its session asks for the replies after it. So a lost response loses nothing:
the same request has the same response. Pure: time is an argument, in seconds of a monotonic clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice

from frontend.reply import Reply
from frontend.settings import Settings


class Full(Exception):
    """There is no room for more words. `mine`: the limit of this session is met, else the one of all sessions."""

    def __init__(self, sentence: str, *, mine: bool) -> None:
        super().__init__(sentence)
        self.mine = mine


@dataclass
class Inbox:
    """One session: the words that are with workers, and the replies with their times of arrival."""

    out: int = 0
    firsts: int = 0  # replies that are the first to their word
    replies: deque[tuple[float, Reply]] = field(default_factory=deque)


class Inboxes:
    """The inboxes of all sessions; `out` words are with workers, `held` replies are not confirmed.

    Rule: a word takes a place from `reserve` until its reply is forgotten or has waited for `max_age`, and an inbox
    exists exactly as long as it holds something. So memory is bounded, and no word is dropped to make room: words
    without a place are refused before they are sent. A further answer to a word takes a place if there is one.

    Args:
        settings: the limits.
        first: the number of the first reply, above the numbers of earlier processes, since clients keep theirs.
    """

    def __init__(self, settings: Settings, first: int = 1) -> None:
        self._settings = settings
        self._inboxes: dict[str, Inbox] = {}
        self._next = first
        self.out = self.held = 0

    def __len__(self) -> int:
        return len(self._inboxes)

    def waiting(self, session: str) -> int:
        """Return how many words of the session are not confirmed: those with workers and those answered."""
        inbox = self._inboxes.get(session)
        return inbox.out + inbox.firsts if inbox else 0

    def reserve(self, session: str, count: int) -> None:
        """Make places for words that are about to be sent; raise Full, with none made, when there are too few."""
        limits, inbox = self._settings, self._inboxes.get(session) or Inbox()
        if inbox.out + len(inbox.replies) + count > limits.max_waiting_per_session:
            wait = "wait for a reply or to be fetched (FRONTEND_MAX_WAITING_PER_SESSION)"
            fix = f"fetch them with GET /rest/wordsuppercase, or wait {limits.max_age:g} s until they are dropped"
            raise Full(f"{self.waiting(session)} of your words {wait}: {fix}.", mine=True)
        if self.out + self.held + count > limits.max_waiting:
            most = f"{limits.max_waiting:,} words (FRONTEND_MAX_WAITING)"
            raise Full(f"The front end has no room for more than {most}: try again in a few seconds.", mine=False)
        inbox.out += count
        self.out += count
        if count:
            self._inboxes[session] = inbox

    def add(self, session: str, reply: Reply, now: float) -> bool:
        """Put in the reply to a word, on its reserved place, or (`again`) on one more; False when there is none."""
        if reply.again:
            try:
                self.reserve(session, 1)
            except Full:
                return False
        inbox = self._inboxes[session]
        reply.id = self._next
        inbox.replies.append((now, reply))
        inbox.firsts += not reply.again
        inbox.out -= 1
        self.out -= 1
        self.held += 1
        self._next += 1
        return True

    def after(self, session: str, number: int, most: int) -> list[Reply]:
        """Return the session's oldest replies after the one of that number; they stay."""
        inbox = self._inboxes.get(session) or Inbox()
        if number >= self._next:  # of an earlier process, whose clock was ahead
            number = 0
        return list(islice((reply for _, reply in inbox.replies if reply.id > number), most))

    def forget(self, session: str, number: int) -> int:
        """Remove the session's replies up to the one of that number; return their number."""
        inbox, held = self._inboxes.get(session), self.held
        while inbox and number < self._next and inbox.replies and inbox.replies[0][1].id <= number:
            self._drop_oldest(session, inbox)
        return held - self.held

    def expire(self, now: float) -> int:
        """Drop the replies that were not confirmed in time (`max_age`); return their number."""
        held = self.held
        for session, inbox in list(self._inboxes.items()):
            while inbox.replies and now - inbox.replies[0][0] >= self._settings.max_age:
                self._drop_oldest(session, inbox)
        return held - self.held

    def _drop_oldest(self, session: str, inbox: Inbox) -> None:
        _, reply = inbox.replies.popleft()
        inbox.firsts -= not reply.again
        self.held -= 1
        if not inbox.out and not inbox.replies:
            del self._inboxes[session]
