"""The end of a server: an error, an `exit()` in a service, a signal, or `close`."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from mqlight.net.process import end_process

__all__ = ["Ends"]


class Ends:
    """The ends of one server, of which `run` waits for the first. `close` stops the server."""

    def __init__(self, close: Callable[[], object]) -> None:
        self.awaited = False
        """Whether `run` waits for an end."""
        self._close = close
        self._queue: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def put(self, error: BaseException | None = None) -> None:
        """Note an end; None for a signal or `close`."""
        self._queue.put(error)

    def wait(self) -> BaseException | None:
        """Wait for an end."""
        return self._queue.get()

    def forget(self) -> None:
        """Forget earlier ends."""
        while not self._queue.empty():
            self._queue.get()

    def exit(self, wanted: SystemExit) -> None:
        """Stop, then end the process with the status of an `exit()` in a service, whose caller is being answered."""
        if self.awaited:
            self._queue.put(wanted)
            return
        try:
            threading.Thread(target=self._leave, args=(wanted,), name="macaque-exit", daemon=False).start()
        except RuntimeError:  # no thread can be started, so an orderly stop is impossible
            end_process(wanted)

    def _leave(self, wanted: SystemExit) -> None:
        self._close()
        end_process(wanted)
