"""What becomes of words: a sentence is split, each word is sent, and its reply waits here until the browser fetches it.

Pure: time comes in as an argument, in seconds of a monotonic clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import msgspec

MAX_AGE = 600.0
"""Seconds that a reply waits to be fetched."""

ROOM_FOR_ONE = 16 * 2**20
ROOM_FOR_ALL = 128 * 2**20
"""Room of one session and of all together, in characters of `room()`."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What became of one word: upper case by a worker (`backend`), or an `error`, which is a sentence for people.

    `word` is the worker's answer, or the word as it was sent when there is an error. `original` is always the word as
    it was sent. `round_trip_ms` runs from the call to its answer.
    """

    word: str
    original: str
    round_trip_ms: float
    backend: str | None = None
    error: str | None = None


def split(sentence: str) -> list[str]:
    """Return the words of a sentence: what stands between white space, with its punctuation ("One," stays "One,")."""
    return sentence.split()


def answered(original: str, answer: object, round_trip_ms: float) -> Reply:
    """Return the reply for a worker's answer, which should be `{"word": str, "backend": str}`."""
    word = answer.get("word") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(word, str):
        wrong = f'The worker answered {repr(answer)[:200]}, where an object with a "word" was expected.'
        return failed(original, wrong, round_trip_ms)
    backend = answer.get("backend")
    name = backend if isinstance(backend, str) and backend else "a worker without a name"
    return Reply(word=word, original=original, round_trip_ms=round(round_trip_ms, 2), backend=name)


def failed(original: str, error: str, round_trip_ms: float) -> Reply:
    """Return the reply for a word that came back with an error; `error` is a sentence for people."""
    return Reply(word=original, original=original, round_trip_ms=round(round_trip_ms, 2), error=error)


def room(word: str) -> int:
    """Return what a word counts against the limits: its characters and those of what is kept around it."""
    return len(word) + 200


class Full(Exception):
    """There is no room for more words. `mine` says whose limit it is: this session's, or the one of all sessions."""

    def __init__(self, mine: bool, waiting: int, max_age: float) -> None:
        self.mine = mine
        self.waiting = waiting
        if mine:
            reason = f"{waiting} of your words are still waiting to be answered or fetched"
            remedy = f"fetch them with GET /rest/wordsuppercase, or wait {max_age:.0f} seconds until they are dropped"
        else:
            reason = "The front end is holding as many words as it can for all browsers together"
            remedy = "try again in a minute"
        super().__init__(f"{reason}: {remedy}.")


@dataclass
class Inbox:
    """One session: how many words are out with workers, and the replies that wait, each with its time of arrival."""

    out: int = 0
    room: int = 0
    replies: deque[tuple[float, Reply]] = field(default_factory=deque)


class Inboxes:
    """The inboxes of all sessions.

    Rule: a word takes room from `reserve` until its reply is fetched by `take` or has waited `max_age` seconds, and an
    inbox exists exactly as long as it holds a word. So memory is bounded, and nothing is dropped to make room: what
    does not fit is refused before it is sent.
    """

    def __init__(
        self, *, max_age: float = MAX_AGE, room_for_one: int = ROOM_FOR_ONE, room_for_all: int = ROOM_FOR_ALL
    ) -> None:
        self.max_age = max_age
        self.room_for_one = room_for_one
        self.room_for_all = room_for_all
        self._inboxes: dict[str, Inbox] = {}
        self._room = 0

    def __len__(self) -> int:
        return len(self._inboxes)

    def waiting(self, session: str) -> int:
        """Return how many words of the session have not been fetched: those out with workers and those answered."""
        inbox = self._inboxes.get(session)
        return inbox.out + len(inbox.replies) if inbox else 0

    def reserve(self, session: str, words: list[str]) -> None:
        """Make room for words that are about to be sent; raise Full, with nothing reserved, when they do not fit."""
        inbox = self._inboxes.get(session) or Inbox()
        needed = sum(map(room, words))
        if inbox.room + needed > self.room_for_one:
            raise Full(True, self.waiting(session), self.max_age)
        if self._room + needed > self.room_for_all:
            raise Full(False, self.waiting(session), self.max_age)
        inbox.out += len(words)
        inbox.room += needed
        self._room += needed
        if words:
            self._inboxes[session] = inbox

    def add(self, session: str, reply: Reply, now: float) -> None:
        """Put in the reply to a word for which room was reserved; raise KeyError when there was none."""
        inbox = self._inboxes[session]
        inbox.out -= 1
        inbox.replies.append((now, reply))

    def take(self, session: str) -> Reply | None:
        """Remove and return the session's oldest reply; None when there is none."""
        inbox = self._inboxes.get(session)
        if inbox is None or not inbox.replies:
            return None
        return self._remove(session, inbox)

    def expire(self, now: float) -> int:
        """Drop the replies that have waited `max_age` seconds or longer, and return how many they were."""
        dropped = 0
        for session, inbox in list(self._inboxes.items()):
            while inbox.replies and now - inbox.replies[0][0] >= self.max_age:
                self._remove(session, inbox)
                dropped += 1
        return dropped

    def _remove(self, session: str, inbox: Inbox) -> Reply:
        _, reply = inbox.replies.popleft()
        inbox.room -= room(reply.original)
        self._room -= room(reply.original)
        if not inbox.out and not inbox.replies:
            del self._inboxes[session]
        return reply
