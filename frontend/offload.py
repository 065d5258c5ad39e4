"""The worker-offload pattern: POST fans the words out as calls, replies are buffered, GET fetches them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

import macaque
from frontend import metrics, reply
from frontend.inbox import Inboxes
from frontend.reply import SERVICE
from frontend.settings import Settings

BATCH = 50  # words that are sent at once; then other requests have their turn
EXPIRE_SECONDS = 10.0
MAX_POLLS = 8  # requests of a session that wait at a time; one more ends the oldest. A browser has six connections

log = logging.getLogger(__name__)


class Offload:
    """Sends the words of all sessions through one client, and keeps their replies. Sessions are opaque strings.

    Rule: every word given to `submit` becomes exactly one reply, and one more with `again` for each further kind of
    worker that answers it in time, as long as there is room. The lock guards inboxes and polls, the events of those
    who wait for a reply, by session; nothing blocks under it.
    """

    def __init__(self, client: macaque.Client, settings: Settings) -> None:
        self.client = client
        self.inboxes = Inboxes(settings, first=time.time_ns() // 1000)  # numbers grow over restarts, and fit a double
        self.polls: dict[str, list[threading.Event]] = {}
        self._timeout = settings.word_timeout
        self._lock, self._expire_at, self._closed = threading.Lock(), 0.0, False

    def submit(self, session: str, words: list[str]) -> None:
        """Send the words; their replies come later. Raise inbox.Full, in which case none was sent."""
        with self._lock:
            self.inboxes.reserve(session, len(words))
        metrics.submitted.inc(len(words))
        failure: Exception | None = None
        for start in range(0, len(words), BATCH):
            with self.client.batch():
                for word in words[start : start + BATCH]:
                    sent = (session, word, time.monotonic(), set[str]())
                    on_answer, on_error = partial(self._answered, *sent), partial(self._failed, *sent)
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
    ) -> list[reply.Reply] | None:
        """Return the oldest replies after a number, which stay unless `forget_if()`; None if the wait was ended."""
        until = time.monotonic() + wait
        while True:
            with self._lock:
                self._expire()
                found = self.inboxes.after(session, after, most)
                if found and forget_if():
                    self.inboxes.forget(session, found[-1].id)
                if found or self._closed or (left := until - time.monotonic()) <= 0:
                    return None if self._closed and not found else found
                arrived, polls = threading.Event(), self.polls.setdefault(session, [])
                polls.append(arrived)
                if len(polls) > MAX_POLLS:
                    polls.pop(0).set()
            arrived.wait(left)
            with self._lock:
                if arrived not in polls:
                    return None
                polls.remove(arrived)
                if not polls:
                    del self.polls[session]

    def forget(self, session: str, number: int) -> int:
        """Drop the replies up to that number, which have arrived; return their number."""
        with self._lock:
            return self.inboxes.forget(session, number)

    def close(self) -> None:
        """End all waits, and those to come."""
        self._closed = True
        for arrived in [arrived for polls in self.polls.values() for arrived in polls]:
            arrived.set()

    def _answered(self, session: str, word: str, at: float, kinds: set[str], answer: object) -> None:
        found = reply.answered(word, answer, (time.monotonic() - at) * 1000)
        self._add(session, kinds, found.error or (found.backend or "").partition(":")[0], found)

    def _failed(self, session: str, word: str, at: float, kinds: set[str], error: Exception) -> None:
        found = reply.failed(word, reply.explain(error, self._timeout), (time.monotonic() - at) * 1000)
        self._add(session, kinds, found.error or "", found)

    def _add(self, session: str, kinds: set[str], kind: str, found: reply.Reply) -> None:
        if kind not in kinds:  # a killed worker leaves a word that it answered to another one of its kind
            kinds.add(kind)
            found.again = len(kinds) > 1
            with self._lock:
                if not self.inboxes.add(session, found, time.monotonic()):
                    log.warning("dropped a further answer, for which there is no room")
                for arrived in self.polls.get(session, ()):
                    arrived.set()
            if not found.again:
                metrics.words.labels("failed" if found.error else "answered").inc()

    def _expire(self) -> None:
        if (now := time.monotonic()) >= self._expire_at:
            self._expire_at = now + EXPIRE_SECONDS
            metrics.expired.inc(self.inboxes.expire(now))
