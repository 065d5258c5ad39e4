"""The front end's half of the worker-offload pattern: words go out as calls, replies come in as they are ready."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import msgspec

import macaque
from frontend import words
from frontend.settings import Settings
from frontend.words import Inboxes, Reply, Ticket

SERVICE = "mqlight/sample/wordsuppercase"
EXPIRE_EVERY = 10.0
YIELD_EVERY = 50

log = logging.getLogger(__name__)


class NotConnected(Exception):
    """The words were not sent, because there is no connection to the messaging server."""

    def __init__(self) -> None:
        super().__init__(
            "The front end is not connected to the messaging server, so nothing was sent. "
            "Is the server running (python -m mqlight.server), and is MACAQUE_BROKER its address?"
        )


class TooManyPolls(Exception):
    """A poll cannot be held. `mine` says whose limit it is: the one of this holder, or the one of all together."""

    def __init__(self, most: int, *, mine: bool) -> None:
        whose, limit = ("for you", "FRONTEND_MAX_POLLS_PER_SESSION") if mine else ("at a time", "FRONTEND_MAX_POLLS")
        super().__init__(f"No more than {most} polls are held {whose} ({limit}): end one first, or ask without wait.")
        self.mine = mine


@dataclass(eq=False)
class Poll:
    """Somebody who waits for a word of a session: who (a session or an address), and whether he is still there."""

    session: str
    holder: str
    alive: Callable[[], bool]
    ticket: Ticket | None
    arrived: threading.Event = field(default_factory=threading.Event)


@dataclass
class Totals:
    """What became of words since the start."""

    submitted: int = 0
    answered: int = 0
    failed: int = 0
    expired: int = 0


def explain(error: BaseException, timeout: float) -> str:
    """Return the sentence that tells people why a word came back without an answer, and what to do."""
    match error:
        case macaque.NoResponders():
            return f"Nobody listens on {SERVICE}. Start a worker with: python -m backend"
        case macaque.Timeout():
            return f"No answer within {timeout:g} seconds. Is a worker running (python -m backend)?"
        case macaque.ConnectionLost():
            return "The connection to the messaging server was lost before the answer came. Submit the word again."
        case macaque.RemoteError():
            return f"The worker failed: {error}"
        case _:
            return f"The word could not be sent: {error}"


@dataclass(slots=True)
class Sent:
    """A word that is out. The client runs one callback at a time, so it needs no lock."""

    session: str
    word: str
    at: float
    kinds: set[str] = field(default_factory=set)
    """Who has answered: a worker that was killed after its answer has left the word to another one of its kind."""


class Offload:
    """Sends the words of every session through one client, and hands out the replies.

    Rule: every word given to `submit` becomes exactly one reply, and one more with `again` for each further kind of
    worker that answers it within `word_timeout`, as long as there is room. The lock guards the inboxes and the waiting
    polls, and nothing blocks while it is held. Sessions are opaque strings.
    """

    def __init__(
        self, client: macaque.Client, settings: Settings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._inboxes = Inboxes(settings)
        self._polls: set[Poll] = set()
        self._polls_of: dict[str, set[Poll]] = {}
        """The polls by their session. They are in both of the two, or in none."""
        self._expire_at = clock() + EXPIRE_EVERY
        self._closed = False
        self.totals = Totals()

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the messaging server now."""
        return self._client.connected

    @property
    def ready(self) -> bool:
        """Whether words sent now can be answered: connected, and the replies' topic is confirmed."""
        return self._client.ready

    @property
    def out(self) -> int:
        """Words that are out with workers."""
        return self._inboxes.out

    @property
    def held(self) -> int:
        """Replies that wait to be fetched."""
        return self._inboxes.held

    @property
    def sessions(self) -> int:
        """Sessions with words that are out or wait to be fetched."""
        return len(self._inboxes)

    @property
    def polls(self) -> int:
        """Polls that are held."""
        return len(self._polls)

    def waiting(self, session: str) -> int:
        """Return how many words of the session have not been fetched yet, answered or not."""
        with self._lock:
            return self._inboxes.waiting(session)

    def submit(self, session: str, sentence: list[str]) -> None:
        """Send the words; their replies come later. Raise NotConnected or words.Full, in which case none was sent."""
        if not self.connected:
            raise NotConnected
        with self._lock:
            self._expire()
            self._inboxes.reserve(session, sentence)
            self.totals.submitted += len(sentence)
        reason: BaseException | None = None
        for index, word in enumerate(sentence):
            sent = Sent(session, word, self._clock())
            if reason is None:
                try:
                    self._client.gather(
                        SERVICE,
                        {"word": word},
                        partial(self._on_answer, sent),
                        on_error=partial(self._on_error, sent),
                        timeout=self._settings.word_timeout,
                    )
                except Exception as error:
                    # The words after this one would wait for the same reason, one time-out after the other.
                    reason = error
                    log.warning("could not send the words from number %d of %d: %s", index + 1, len(sentence), error)
            if reason is not None:
                self._on_error(sent, reason)
            if index % YIELD_EVERY == YIELD_EVERY - 1:
                time.sleep(0)  # under gevent nobody else runs until this greenlet gives way
        log.info("sent %d words", len(sentence))

    def peek(self, session: str) -> Reply | None:
        """Return the session's oldest reply, which stays for whoever fetches it; None when there is none."""
        with self._lock:
            return self._inboxes.peek(session)

    def was_given(self, session: str, ticket: Ticket) -> bool:
        """Return whether a reply was given for a ticket before."""
        with self._lock:
            return self._inboxes.was_given(session, ticket)

    def next(
        self, session: str, holder: str, wait: float, alive: Callable[[], bool], ticket: Ticket | None = None
    ) -> Reply | None:
        """Return the session's oldest reply, waiting for it up to `wait` seconds; None when there is none.

        Nothing is taken for a caller who has gone away meanwhile (`alive()` is false): the reply stays for the next.
        With a ticket it stays even when it is lost on its way (`words.Inboxes`).
        A reader has one poll at a time: an earlier one of his, whose end nobody has noticed yet, takes nothing more.
        Raise TooManyPolls when `holder` has as many polls held as he may, or all together have.
        """
        until = self._clock() + wait
        poll = Poll(session, holder, alive, ticket)
        with self._lock:
            self._expire()
            self._release_earlier(poll)
            reply = self._inboxes.take(session, self._clock(), ticket) if alive() else None
            if reply is not None or wait <= 0 or self._closed:
                return reply
            self._hold(poll)
        try:
            while True:
                poll.arrived.wait(until - self._clock())
                with self._lock:
                    poll.arrived.clear()
                    if poll not in self._polls or not alive():
                        return None
                    reply = self._inboxes.take(session, self._clock(), ticket)
                    if reply is not None or until <= self._clock() or self._closed:
                        return reply
        finally:
            with self._lock:
                self._release(poll)

    def close(self) -> None:
        """End all waiting polls; the client stays as it is, for whoever made it to close."""
        with self._lock:
            self._closed = True
            for poll in self._polls:
                poll.arrived.set()

    def _hold(self, poll: Poll) -> None:
        """Count a poll in; raise TooManyPolls. Those whose callers have gone are ended to make room for it."""
        settings = self._settings
        mine = {each for each in self._polls_of.get(poll.session, ()) if each.holder == poll.holder}
        if self._all_alive(mine, settings.max_polls_per_session):
            raise TooManyPolls(settings.max_polls_per_session, mine=True)
        if self._all_alive(self._polls, settings.max_polls):
            raise TooManyPolls(settings.max_polls, mine=False)
        self._polls.add(poll)
        self._polls_of.setdefault(poll.session, set()).add(poll)

    def _all_alive(self, polls: set[Poll], most: int) -> bool:
        """Return whether there are `most` polls of callers who are still there, and end the others if there are not."""
        if len(polls) < most:
            return False
        gone = [each for each in polls if not each.alive()]
        for each in gone:
            self._end(each)
        return not gone

    def _release_earlier(self, poll: Poll) -> None:
        """End the poll that the same reader had before."""
        if poll.ticket is not None:
            for each in list(self._polls_of.get(poll.session, ())):
                if each.ticket is not None and each.ticket.reader == poll.ticket.reader:
                    self._end(each)

    def _end(self, poll: Poll) -> None:
        self._release(poll)
        poll.arrived.set()

    def _release(self, poll: Poll) -> None:
        if poll in self._polls:
            self._polls.remove(poll)
            polls = self._polls_of[poll.session]
            polls.remove(poll)
            if not polls:
                del self._polls_of[poll.session]

    def _on_answer(self, sent: Sent, answer: object) -> None:
        self._add(sent, words.answered(sent.word, answer, (self._clock() - sent.at) * 1000))

    def _on_error(self, sent: Sent, error: BaseException) -> None:
        reason = explain(error, self._settings.word_timeout)
        self._add(sent, words.failed(sent.word, reason, (self._clock() - sent.at) * 1000))

    def _add(self, sent: Sent, reply: Reply) -> None:
        kind = (reply.backend or "").partition(":")[0] if reply.error is None else reply.error
        if kind in sent.kinds:
            return
        first = not sent.kinds
        sent.kinds.add(kind)
        with self._lock:
            if not first:
                again = msgspec.structs.replace(reply, again=True)
                if not self._inboxes.add_again(sent.session, again, self._clock()):
                    log.warning("dropped a further answer, for which there is no room")
                    return
            else:
                self._inboxes.add(sent.session, reply, self._clock())
                if reply.error is None:
                    self.totals.answered += 1
                else:
                    self.totals.failed += 1
            self._wake(sent.session)

    def _wake(self, session: str) -> None:
        for poll in self._polls_of.get(session, ()):
            poll.arrived.set()

    def _expire(self) -> None:
        now = self._clock()
        if now >= self._expire_at:
            self._expire_at = now + EXPIRE_EVERY
            if dropped := self._inboxes.expire(now):
                self.totals.expired += dropped
                log.warning("dropped %d replies that nobody fetched in %g seconds", dropped, self._settings.max_age)
            for session in self._inboxes.give_again(now):
                self._wake(session)
