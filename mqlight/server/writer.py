"""Gives the store what the ledger collects, one transaction after the other, while the event loop goes on.

Statements run where they are called: each gives up Python's lock for a moment, and in a thread of its own would have to
wait for it as often. Only the end of a transaction, which waits for the disk, is left to a native thread. What changes
meanwhile comes with the next one, so that the slower the disk is, the more senders share one wait.
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
from mqlight.server.ledger import GRACE, Ledger
from mqlight.server.store import Store, WriteError

log = logging.getLogger(__name__)

RETRY = 1.0
"""Seconds between trials of a store that fails."""


class Writer:
    """Between a broker with its ledger and a store. ``flush()`` sends what senders are told by it."""

    def __init__(self, broker: Broker, ledger: Ledger, store: Store, flush: Callable[[], None]) -> None:
        self._broker = broker
        self._ledger = ledger
        self._store = store
        self._flush = flush
        self._disk = ThreadPool(1)
        self._turn = BoundedSemaphore()
        self._some, self._urgent = Event(), Event()
        self._greenlet = gevent.spawn(self._run)

    def poke(self) -> None:
        """Something may have come into the ledger. Never waits."""
        if self._ledger:
            self._some.set()
            if self._ledger.urgent:
                self._urgent.set()

    def save(self) -> None:
        """Wait until all there is now is written, or cannot be."""
        self._write(math.inf)
        while self._ledger and self._ledger.failing is None:
            self._write(math.inf)

    def close(self) -> None:
        """Write what there is, and let go of the store. May be called twice."""
        self.save()
        self._greenlet.kill()
        self._disk.kill()
        self._store.close()

    def _run(self) -> None:
        ledger = self._ledger
        while True:
            if ledger.failing is not None:
                gevent.sleep(RETRY)
            elif not ledger:
                self._some.wait()
            elif not ledger.urgent:
                self._urgent.wait(GRACE)
            self._some.clear()
            self._urgent.clear()
            self._write(time.monotonic())

    def _write(self, now: float) -> None:
        with self._turn:
            failed = self._ledger.failing
            batch = self._ledger.take(now)
            if not batch and failed is None:
                return
            try:
                self._store.write(batch)
                if error := self._disk.apply(self._commit):
                    raise error
            except WriteError as error:
                if failed is None:
                    log.error("%s; messages that have to be kept are refused until it works again", error)
                self._broker.not_written(batch, str(error))
            else:
                if failed is not None:
                    log.warning("the store works again")
                self._broker.written(batch)
        self._flush()

    def _commit(self) -> WriteError | None:
        try:
            self._store.commit()
        except WriteError as error:  # the pool would print what is raised
            return error
        return None
