"""What becomes of words: a sentence is split, each word is sent, and its reply waits here until the browser fetches it.

Pure: time comes in as an argument, in seconds of a monotonic clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import msgspec

from frontend.settings import Settings

GIVEN_AGE = 60.0
"""Seconds after which a reader who was given a reply counts as gone; a poll is held for half of that at the most."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What became of one word: upper case by a worker (`backend`), or an `error`, which is a sentence for people.

    `word` is the worker's answer, or the word as it was sent when there is an error. `original` is always the word as
    it was sent. `round_trip_ms` runs from the call to its answer. `again` says that another answer to this word came
    earlier, from another kind of worker.
    """

    word: str
    original: str
    round_trip_ms: float
    backend: str | None = None
    error: str | None = None
    again: bool = False


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

    def __init__(self, sentence: str, *, mine: bool) -> None:
        super().__init__(sentence)
        self.mine = mine


def check(words: list[str], settings: Settings) -> str | None:
    """Return the sentence that says which limit the words of a sentence exceed; None when they may be sent."""
    if len(words) > settings.max_words:
        limit = f"more than {settings.max_words:,} (FRONTEND_MAX_WORDS)"
        return f"The sentence has {len(words):,} words, {limit}: send it in parts."
    longest = max(map(len, words))
    if longest > settings.max_word:
        limit = f"more than {settings.max_word:,} (FRONTEND_MAX_WORD)"
        return f"A word of the sentence has {longest:,} characters, {limit}: send shorter ones."
    return None


@dataclass(frozen=True)
class Ticket:
    """Which fetch of which reader (a tab of a browser) a poll is. The same one again is for the same reply."""

    reader: str
    number: int


@dataclass
class Inbox:
    """One session: how many words are out with workers, the replies that wait, each with its time of arrival, how many
    of these are the first to their word, and those that were given for a ticket, each with the time of that: nobody
    knows yet whether they have arrived.
    """

    out: int = 0
    firsts: int = 0
    room: int = 0
    replies: deque[tuple[float, Reply]] = field(default_factory=deque)
    given: dict[str, tuple[Ticket, float, Reply]] = field(default_factory=dict)


class Inboxes:
    """The inboxes of all sessions.

    Rule: a word takes room from `reserve` until its reply is fetched by `take` or has waited for `max_age`, and an
    inbox exists exactly as long as it holds something. So memory is bounded, and no word is dropped to make room: what
    does not fit is refused before it is sent. A further answer to a word takes room if there is some. A reply that is
    taken with a ticket is fetched when its reader comes with the next one; if he does not within GIVEN_AGE seconds, it
    waits again.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._inboxes: dict[str, Inbox] = {}
        self._room = 0
        self.out = 0
        """Words that are out with workers."""
        self.held = 0
        """Replies that wait to be fetched."""

    def __len__(self) -> int:
        return len(self._inboxes)

    def waiting(self, session: str) -> int:
        """Return how many words of the session have not been fetched: those out with workers and those answered."""
        inbox = self._inboxes.get(session)
        return inbox.out + inbox.firsts if inbox else 0

    def reserve(self, session: str, words: list[str]) -> None:
        """Make room for words that are about to be sent; raise Full, with nothing reserved, when they do not fit."""
        limits = self._settings
        inbox = self._inboxes.get(session) or Inbox()
        needed = sum(map(room, words))
        if inbox.room + needed > limits.max_buffer_per_session:
            raise Full(
                f"{self.waiting(session)} of your words are still waiting to be answered or fetched "
                "(FRONTEND_MAX_BUFFER_PER_SESSION): fetch them with GET /rest/wordsuppercase, "
                f"or wait {limits.max_age:g} seconds until they are dropped.",
                mine=True,
            )
        sessions = len(self._inboxes) + (session not in self._inboxes)
        for wanted, most, what in (
            (self._room + needed, limits.max_buffer, "words (FRONTEND_MAX_BUFFER)"),
            (self.out + len(words), limits.max_in_flight, "words that are out with workers (FRONTEND_MAX_IN_FLIGHT)"),
            (sessions, limits.max_sessions, "sessions (FRONTEND_MAX_SESSIONS)"),
        ):
            if wanted > most:
                raise Full(f"The front end has no room for more {what}: try again in a few seconds.", mine=False)
        inbox.out += len(words)
        inbox.room += needed
        self.out += len(words)
        self._room += needed
        if words:
            self._inboxes[session] = inbox

    def add(self, session: str, reply: Reply, now: float) -> None:
        """Put in the reply to a word for which room was reserved; raise KeyError when there was none."""
        inbox = self._inboxes[session]
        inbox.out -= 1
        inbox.firsts += 1
        self.out -= 1
        self.held += 1
        inbox.replies.append((now, reply))

    def add_again(self, session: str, reply: Reply, now: float) -> bool:
        """Put in a further reply to a word; False, and it is dropped, when there is no room for it."""
        inbox = self._inboxes.get(session) or Inbox()
        needed = room(reply.original)
        limits = self._settings
        if inbox.room + needed > limits.max_buffer_per_session or self._room + needed > limits.max_buffer:
            return False
        if session not in self._inboxes and len(self._inboxes) >= limits.max_sessions:
            return False
        inbox.room += needed
        self._room += needed
        self.held += 1
        inbox.replies.append((now, reply))
        self._inboxes[session] = inbox
        return True

    def take(self, session: str, now: float, ticket: Ticket | None = None) -> Reply | None:
        """Remove and return the session's oldest reply; None when there is none. With a ticket, see the class."""
        inbox = self._inboxes.get(session)
        if inbox is None:
            return None
        if ticket is not None and ticket.reader in inbox.given:
            last, _, reply = inbox.given[ticket.reader]
            if last == ticket:
                inbox.given[ticket.reader] = (ticket, now, reply)
                return reply
            del inbox.given[ticket.reader]
            self._remove(session, inbox, reply)
        if not inbox.replies:
            return None
        reply = self._pop(inbox)
        if ticket is None:
            self._remove(session, inbox, reply)
        else:
            inbox.given[ticket.reader] = (ticket, now, reply)
        return reply

    def was_given(self, session: str, ticket: Ticket) -> bool:
        """Return whether `take` has given a reply for a ticket already, and would again."""
        inbox = self._inboxes.get(session)
        return inbox is not None and ticket.reader in inbox.given and inbox.given[ticket.reader][0] == ticket

    def peek(self, session: str) -> Reply | None:
        """Return the session's oldest reply, which stays; None when there is none."""
        inbox = self._inboxes.get(session)
        return inbox.replies[0][1] if inbox is not None and inbox.replies else None

    def expire(self, now: float) -> int:
        """Drop the replies that nobody fetched in time (`max_age`), and return how many they were."""
        dropped = 0
        for session, inbox in list(self._inboxes.items()):
            while inbox.replies and now - inbox.replies[0][0] >= self._settings.max_age:
                reply = self._pop(inbox)
                self._remove(session, inbox, reply)
                dropped += 1
        return dropped

    def give_again(self, now: float) -> set[str]:
        """Put back what readers were given who did not come again, and return the sessions in which that was so."""
        found = set()
        for session, inbox in self._inboxes.items():
            for reader, (_, since, reply) in list(inbox.given.items()):
                if now - since >= GIVEN_AGE:
                    del inbox.given[reader]
                    inbox.replies.append((now, reply))
                    inbox.firsts += not reply.again
                    found.add(session)
        return found

    def _pop(self, inbox: Inbox) -> Reply:
        _, reply = inbox.replies.popleft()
        inbox.firsts -= not reply.again
        return reply

    def _remove(self, session: str, inbox: Inbox, reply: Reply) -> None:
        """A reply is out of its inbox for good."""
        self.held -= 1
        inbox.room -= room(reply.original)
        self._room -= room(reply.original)
        if not inbox.out and not inbox.replies and not inbox.given:
            del self._inboxes[session]
