"""The state of a connection, and the threads that wait for it to change."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from time import monotonic

from mqlight.errors import NetworkError

__all__ = ["State", "Status"]


class State(str, enum.Enum):
    """The MQ Light client states."""

    STOPPED = "stopped"
    STARTING = "starting"
    STARTED = "started"
    RETRYING = "retrying"
    STOPPING = "stopping"


class Status:
    """The state of one connection. Each method needs the connection's lock.

    Args:
        lock: The lock.
        on_state: Called ``(state, error)`` at each change of state, under the lock.
    """

    def __init__(self, lock: threading.RLock, on_state: Callable[[State, Exception | None], None] | None) -> None:
        self.state = State.STOPPED
        self.error: Exception | None = None
        """The reason why there is no connection."""
        self._on_state = on_state
        self._changed = threading.Condition(lock)
        self.waiters = 0
        """The number of threads that wait."""

    def set(self, state: State, error: Exception | None) -> None:
        self.state, self.error = state, error
        self.notify()
        if self._on_state is not None:
            self._on_state(state, error)

    def wait(self, done: Callable[[], object], deadline: float) -> None:
        """Wait until ``done()`` is true, at most until ``deadline`` on the monotonic clock. Releases the lock."""
        self.waiters += 1
        try:
            self._changed.wait_for(done, max(0.0, deadline - monotonic()))
        finally:
            self.waiters -= 1

    def wait_started(self, timeout: float, url: str | None) -> None:
        """Wait until there is a connection: see :meth:`mqlight.connection.Connection.wait_started`."""
        if self.state is State.STARTING:
            self.wait(lambda: self.state is not State.STARTING, monotonic() + timeout)
        if self.state is State.STARTED:
            return
        raise self.error or NetworkError(f"no connection within {timeout:g} s", url=url)

    def notify(self) -> None:
        """Let the waiting threads look again."""
        if self.waiters:
            self._changed.notify_all()
