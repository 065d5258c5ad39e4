"""What keeps a process alive for callbacks: a script may end with `client.call(...)`, as the article's does.

The rules of this file:

* One thread that is no daemon waits for the main thread to end; so Python does not end the process before it.
* From then on it runs the callbacks of all clients itself, until none is owed: once the main thread has ended, Python
  may refuse to start threads, which a connection could need for a callback that takes its time.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from mqlight.wire import forks
from mqlight.wire.log import Log
from mqlight.wire.process import end_process

__all__ = ["Keeper", "keeper"]

log = Log(__name__)


class Debtor(Protocol):
    """Somebody who owes callbacks. It calls `Keeper.look` when that has changed."""

    @property
    def owes(self) -> bool: ...


class Keeper:
    """There is one for the process: `keeper`."""

    def __init__(self) -> None:
        self.after_fork()
        forks.register(self)

    def after_fork(self) -> None:
        """Be new. In the child of a fork nothing is owed: its parent's callbacks are its parent's."""
        self.leaving = False
        """The main thread has ended: functions are for `run`."""
        self._lock = threading.Lock()
        self._debtors: weakref.WeakSet[Debtor] = weakref.WeakSet()
        self._tasks: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def watch(self, debtor: Debtor) -> None:
        """Keep the process alive as long as `debtor` owes something."""
        with self._lock:
            self._debtors.add(debtor)
            if self._thread is None:
                thread = threading.Thread(target=self._keep, name="macaque-keeper", daemon=False)
                thread.start()
                self._thread = thread

    def run(self, function: Callable[..., object], *args: Any) -> None:
        """Have a function run on the keeper's thread."""
        self._tasks.put((function, args))

    def look(self) -> None:
        """Have the keeper look again whether anything is owed."""
        if self.leaving:
            self._tasks.put(None)

    def _keep(self) -> None:
        threading.main_thread().join()
        self.leaving = True
        while self._owed():
            task = self._tasks.get()
            if task is not None:
                function, args = task
                try:
                    function(*args)
                except SystemExit as error:
                    end_process(error)
                except BaseException:
                    log.exception("%s failed", getattr(function, "__qualname__", function))

    def _owed(self) -> bool:
        with self._lock:
            return any(debtor.owes for debtor in self._debtors)


keeper = Keeper()
