"""The worker-offload pattern: POST sends each word as a call, replies are buffered, GET fetches them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from weakref import WeakValueDictionary

import macaque
from frontend import metrics, reply
from frontend.inbox import Inboxes
from frontend.reply import SERVICE, Reply
from frontend.settings import Settings

BATCH = 50  # words that are sent together before other requests get their turn
MAX_POLLS = 1000  # the most requests that wait for a reply at a time; a further one is answered at once

log = logging.getLogger(__name__)


class Offload:
    """Sends the words of all sessions through one client, and keeps their replies. Sessions are opaque strings.

    Rule: every word given to `submit` gets exactly one reply. Each further kind of worker that answers in time adds one
    with `again`, if there is room. The lock guards all attributes, and no code blocks under it.
    """

    def __init__(self, client: macaque.Client, settings: Settings) -> None:
        self.client = client
        self.inboxes = Inboxes(settings)
        self.polls = 0
        self.closed = False
        self._timeout = settings.word_timeout
        self._lock = threading.Lock()
        self._arrivals: WeakValueDictionary[str, threading.Condition] = WeakValueDictionary()  # for waiting sessions

    def submit(self, session: str, words: list[str]) -> None:
        """Send the words, whose replies arrive later. Raises inbox.Full before any word is sent."""
        with self._lock:
            metrics.expired.inc(self.inboxes.expire(time.time()))
            self.inboxes.reserve(session, len(words))
        metrics.submitted.inc(len(words))
        failure: Exception | None = None
        for start in range(0, len(words), BATCH):
            with self.client.batch():
                for word in words[start : start + BATCH]:
                    kinds: set[str] = set()
                    on_answer = partial(self._answered, session, word, time.monotonic(), kinds)
                    on_error = partial(self._failed, session, word, time.monotonic(), kinds)
                    try:
                        if failure is None:
                            self.client.gather(SERVICE, {"word": word}, on_answer, self._timeout, on_error=on_error)
                    except Exception as error:  # the words after this one would wait for the same reason
                        log.warning("could not send all of %d words: %s", len(words), error)
                        failure = error
                    if failure is not None:
                        on_error(failure)
            time.sleep(0)
        log.info("sent %d words", len(words))

    def fetch(
        self, session: str, after: int, most: int, wait: float = 0.0, forget_if: Callable[[], bool] = lambda: False
    ) -> list[Reply]:
        """Return the oldest replies after a number. Wait for the first one. They stay unless `forget_if()`."""
        with self._lock:
            arrival = self._arrivals.setdefault(session, threading.Condition(self._lock))
            self.polls += 1
            try:
                wait = wait if self.polls <= MAX_POLLS else 0.0
                arrival.wait_for(lambda: self.closed or self.inboxes.after(session, after, 1), wait)
            finally:
                self.polls -= 1
            found = self.inboxes.after(session, after, most)
            if found and forget_if():
                self.inboxes.forget(session, found[-1].id)
            return found

    def forget(self, session: str, number: int) -> int:
        """Drop the replies up to `number`, because they have arrived. Return how many there were."""
        with self._lock:
            return self.inboxes.forget(session, number)

    def close(self) -> None:
        """End all waits, now and later."""
        with self._lock:
            self.closed = True
            for arrival in list(self._arrivals.values()):
                arrival.notify_all()

    def _answered(self, session: str, word: str, at: float, kinds: set[str], answer: object) -> None:
        self._add(session, kinds, reply.answered(word, answer, (time.monotonic() - at) * 1000))

    def _failed(self, session: str, word: str, at: float, kinds: set[str], error: Exception) -> None:
        self._add(session, kinds, reply.failed(word, error, (time.monotonic() - at) * 1000, self._timeout))

    def _add(self, session: str, kinds: set[str], found: Reply) -> None:
        kind = found.error or (found.backend or "").partition(":")[0]
        if kind in kinds:  # a word of a killed worker goes to another worker of its kind, even if it was answered
            return
        kinds.add(kind)
        found.again = len(kinds) > 1
        with self._lock:
            if not self.inboxes.add(session, found, time.time()):
                log.warning("dropped a further answer, for which there is no room")
            if (arrival := self._arrivals.get(session)) is not None:
                arrival.notify_all()
        if not found.again:
            metrics.words.labels("failed" if found.error else "answered").inc()
