"""The inboxes of the sessions. A word is out until its reply arrives. The reply stays until its session confirms it.

Rule: a reply has a number, and stays until its session asks for the replies after that number. So a lost response loses
nothing: the same request gets the same response. Pure: time is an argument, in seconds since 1970.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice

from frontend.reply import Reply
from frontend.settings import Settings

MAX_AGE = 600  # seconds after which a reply that is not confirmed is dropped


class Full(Exception):
    """There is no room for more words. `mine`: this session has met its limit, otherwise all sessions together have."""

    def __init__(self, sentence: str, *, mine: bool) -> None:
        super().__init__(sentence)
        self.mine = mine


@dataclass
class Inbox:
    """The inbox of one session. `out` counts words with workers, `firsts` the first replies to a word."""

    out: int = 0
    replies: deque[Reply] = field(default_factory=deque)
    firsts: int = 0

    @property
    def waiting(self) -> int:
        """The number of unconfirmed words: those with workers, and those with a reply."""
        return self.out + self.firsts


class Inboxes:
    """The inboxes of all sessions.

    Rule: a word takes a place from `reserve` until its reply is forgotten or expires. An inbox exists exactly as long
    as it holds a word or a reply. So memory is bounded, and no word is dropped to make room: words without a place are
    refused before they are sent. A further answer to a word takes a place if there is one.

    The number of a reply is the time of its arrival in microseconds, or the previous number plus one. So numbers also
    grow over restarts, and a double can hold them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._inboxes: dict[str, Inbox] = {}
        self._last = 0
        self.out = self.held = 0

    def __len__(self) -> int:
        return len(self._inboxes)

    def of(self, session: str) -> Inbox:
        """Return the inbox of a session, empty if it has none."""
        return self._inboxes.get(session) or Inbox()

    def reserve(self, session: str, count: int = 1) -> None:
        """Reserve places for words that will be sent. Raises Full, and reserves none, if there are too few."""
        limits, inbox = self._settings, self.of(session)
        if inbox.out + len(inbox.replies) + count > limits.max_waiting_per_session:
            wait = "wait for a reply or to be fetched (FRONTEND_MAX_WAITING_PER_SESSION)"
            fix = f"fetch them with GET /rest/wordsuppercase, or wait {MAX_AGE} s until they are dropped"
            raise Full(f"{inbox.waiting} of your words {wait}: {fix}.", mine=True)
        if self.out + self.held + count > limits.max_waiting:
            most = f"{limits.max_waiting:,} words (FRONTEND_MAX_WAITING)"
            raise Full(f"The front end has no room for more than {most}: try again in a few seconds.", mine=False)
        self._inboxes[session] = inbox
        inbox.out += count
        self.out += count

    def add(self, session: str, reply: Reply, now: float) -> bool:
        """Add the reply to a word, on its reserved place, or on a new one if `again`. Return False if there is none."""
        if reply.again:
            try:
                self.reserve(session)
            except Full:
                return False
        inbox = self._inboxes[session]
        reply.id = self._last = max(self._last + 1, int(now * 1e6))
        inbox.replies.append(reply)
        inbox.firsts += not reply.again
        inbox.out -= 1
        self.out -= 1
        self.held += 1
        return True

    def after(self, session: str, number: int, most: int) -> list[Reply]:
        """Return the session's oldest replies after `number`, without removing them."""
        if number > self._last:  # the number comes from an earlier process whose clock was ahead
            number = 0
        return list(islice((reply for reply in self.of(session).replies if reply.id > number), most))

    def forget(self, session: str, number: int) -> int:
        """Remove the session's replies up to `number`. Return how many there were."""
        inbox, held = self.of(session), self.held
        while number <= self._last and inbox.replies and inbox.replies[0].id <= number:
            inbox.firsts -= not inbox.replies.popleft().again
            self.held -= 1
        if not inbox.out and not inbox.replies:
            self._inboxes.pop(session, None)
        return held - self.held

    def expire(self, now: float) -> int:
        """Drop the replies that were not confirmed within MAX_AGE. Return how many there were."""
        old = min(int((now - MAX_AGE) * 1e6), self._last)
        return sum(self.forget(session, old) for session in list(self._inboxes))
