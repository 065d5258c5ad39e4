"""The thread that keeps a process alive for callbacks: a script may end with `client.call(...)`, as in the article.

The rules of this file:

* One thread that is not a daemon waits for the main thread to end. So Python does not end the process before that.
* From then on this thread runs the callbacks of all clients, until none is owed. Once the main thread has ended, Python
  may refuse to start threads, and a connection could need a new thread for a slow callback.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from mqlight.log import Log
from mqlight.net import forks
from mqlight.net.process import end_process

__all__ = ["Keeper", "keeper"]

log = Log(__name__)


class Debtor(Protocol):
    """An object that may owe callbacks. It calls `Keeper.look` when that changes."""

    @property
    def owes(self) -> bool: ...


class Keeper:
    """The keeper of a process. There is only one: `keeper`."""

    def __init__(self) -> None:
        self._after_fork()
        forks.register(self, Keeper._after_fork)

    def _after_fork(self) -> None:
        """Reset the keeper. The child of a fork owes nothing, because the callbacks belong to the parent."""
        self.leaving = False
        """Whether the main thread has ended, so that functions must go to `run`."""
        self._lock = threading.Lock()
        self._debtors: weakref.WeakSet[Debtor] = weakref.WeakSet()
        self._tasks: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def watch(self, debtor: Debtor) -> None:
        """Keep the process alive as long as `debtor` owes a callback."""
        with self._lock:
            self._debtors.add(debtor)
            if self._thread is None:
                thread = threading.Thread(target=self._keep, name="macaque-keeper", daemon=False)
                thread.start()
                self._thread = thread

    def run(self, function: Callable[..., object], *args: Any) -> None:
        """Run a function on the keeper's thread."""
        self._tasks.put((function, args))

    def look(self) -> None:
        """Let the keeper check again whether a callback is owed."""
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
