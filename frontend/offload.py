"""The front end's half of the worker-offload pattern: words go out as calls, replies come in as they are ready."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

import macaque
from frontend import words
from frontend.words import Inboxes, Reply

SERVICE = "mqlight/sample/wordsuppercase"
CALL_TIMEOUT = 60.0
"""Seconds that a word may take; it waits that long for a worker to come back."""

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


def explain(error: BaseException) -> str:
    """Return the sentence that tells people why a word came back without an answer, and what to do."""
    match error:
        case macaque.NoResponders():
            return f"Nobody listens on {SERVICE}. Start a worker with: python -m backend"
        case macaque.Timeout():
            return f"No answer within {CALL_TIMEOUT:.0f} seconds. Is a worker running (python -m backend)?"
        case macaque.ConnectionLost():
            return "The connection to the messaging server was lost before the answer came. Submit the word again."
        case macaque.RemoteError():
            return f"The worker failed: {error}"
        case _:
            return f"The word could not be sent: {error}"


class Offload:
    """Sends the words of every session through one client, and hands out the replies.

    Rule: every word given to `submit` becomes exactly one reply. The lock guards the inboxes and the waiting polls, and
    nothing blocks while it is held. Sessions are opaque strings.
    """

    def __init__(self, client: macaque.Client, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._inboxes = Inboxes()
        self._polls: dict[str, set[threading.Event]] = {}
        self._expire_at = clock() + EXPIRE_EVERY
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the messaging server now."""
        return self._client.connected

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
        reason: BaseException | None = None
        for index, word in enumerate(sentence):
            sent = self._clock()
            if reason is None:
                try:
                    self._client.call(
                        SERVICE,
                        {"word": word},
                        partial(self._on_answer, session, word, sent),
                        on_error=partial(self._on_error, session, word, sent),
                        timeout=CALL_TIMEOUT,
                    )
                except Exception as error:
                    # The words after this one would wait for the same reason, one time-out after the other.
                    reason = error
                    log.warning("could not send the words from number %d of %d: %s", index + 1, len(sentence), error)
            if reason is not None:
                self._on_error(session, word, sent, reason)
            if index % YIELD_EVERY == YIELD_EVERY - 1:
                time.sleep(0)  # under gevent nobody else runs until this greenlet gives way
        log.info("sent %d words", len(sentence))

    def next(self, session: str, wait: float, alive: Callable[[], bool]) -> Reply | None:
        """Return the session's oldest reply, waiting for it up to `wait` seconds; None when there is none.

        Nothing is taken for a caller who has gone away meanwhile (`alive()` is false): the reply stays for the next.
        """
        until = self._clock() + wait
        arrived = threading.Event()
        with self._lock:
            self._expire()
            self._polls.setdefault(session, set()).add(arrived)
        try:
            while True:
                with self._lock:
                    arrived.clear()
                    if not alive():
                        return None
                    reply = self._inboxes.take(session)
                    left = until - self._clock()
                    if reply is not None or left <= 0 or self._closed:
                        return reply
                arrived.wait(left)
        finally:
            with self._lock:
                polls = self._polls[session]
                polls.discard(arrived)
                if not polls:
                    del self._polls[session]

    def close(self) -> None:
        """End all waiting polls; the client stays as it is, for whoever made it to close."""
        with self._lock:
            self._closed = True
            for polls in self._polls.values():
                for arrived in polls:
                    arrived.set()

    def _on_answer(self, session: str, word: str, sent: float, answer: object) -> None:
        self._add(session, words.answered(word, answer, (self._clock() - sent) * 1000))

    def _on_error(self, session: str, word: str, sent: float, error: BaseException) -> None:
        self._add(session, words.failed(word, explain(error), (self._clock() - sent) * 1000))

    def _add(self, session: str, reply: Reply) -> None:
        with self._lock:
            self._inboxes.add(session, reply, self._clock())
            for arrived in self._polls.get(session, ()):
                arrived.set()

    def _expire(self) -> None:
        now = self._clock()
        if now >= self._expire_at:
            self._expire_at = now + EXPIRE_EVERY
            if dropped := self._inboxes.expire(now):
                log.warning("dropped %d replies that nobody fetched in %.0f seconds", dropped, self._inboxes.max_age)
