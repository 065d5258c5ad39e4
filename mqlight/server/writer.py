"""The writer gives the journal's changes to the store, one transaction after another, while the event loop goes on.

Statements run on the loop's own thread. Each one releases Python's lock for a moment, so on another thread it would
have to wait for that lock as often. Only the commit, which waits for the disk, runs on a native thread. Changes that
arrive meanwhile go into the next transaction. The slower the disk is, the more senders share one wait.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from gevent.threadpool import ThreadPool

from mqlight.server.broker import Broker
from mqlight.server.journal import GRACE, Journal
from mqlight.server.store import Store, WriteError

log = logging.getLogger(__name__)

RETRY = 1.0
"""Seconds between two attempts to use a failing store."""


class Writer:
    """The link from a broker's journal to a store. ``flush()`` sends the outcomes that senders wait for."""

    def __init__(self, broker: Broker, journal: Journal, store: Store, flush: Callable[[], None]) -> None:
        self._broker = broker
        self._journal = journal
        self._store = store
        self._flush = flush
        self._disk = ThreadPool(1)
        self._turn = BoundedSemaphore()
        self._some, self._urgent = Event(), Event()
        self._greenlet = gevent.spawn(self._run)

    def poke(self) -> None:
        """Note that the journal may have new content. Never waits."""
        if self._journal:
            self._some.set()
            if self._journal.urgent:
                self._urgent.set()

    def save(self) -> None:
        """Wait until all content of the journal is written, or cannot be."""
        self._write(math.inf)
        while self._journal and self._journal.failing is None:
            self._write(math.inf)

    def close(self) -> None:
        """Write all content of the journal, and close the store. May be called twice."""
        self.save()
        self._greenlet.kill()
        self._disk.kill()
        self._store.close()

    def _run(self) -> None:
        journal = self._journal
        while True:
            if journal.failing is not None:
                gevent.sleep(RETRY)
            elif not journal:
                self._some.wait()
            elif not journal.urgent:
                self._urgent.wait(GRACE)
            self._some.clear()
            self._urgent.clear()
            self._write(time.monotonic())

    def _write(self, now: float) -> None:
        with self._turn:
            failed = self._journal.failing
            batch = self._journal.take(now)
            if not batch and failed is None:
                return
            try:
                self._store.write(batch)
                if error := self._disk.apply(self._commit):
                    raise error
            except WriteError as error:
                if failed is None:
                    log.error("%s; durable messages are refused until it can be written", error)
                self._broker.not_written(batch, str(error))
            else:
                if failed is not None:
                    log.warning("the store works again")
                self._broker.written(batch)
        self._flush()

    def _commit(self) -> WriteError | None:
        try:
            self._store.commit()
        except WriteError as error:  # returned, because the pool would print a raised error
            return error
        return None
