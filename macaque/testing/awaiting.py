"""The waits of tasks of event loops for a broker in memory, which lets the time pass meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from macaque.aio import Wakeup, Wakeups, _Bell
from macaque.testing.hub import Hub

__all__ = ["Attended", "AttendedWakeups"]


class Attended(Wakeup):
    """A wakeup for whose task `hub` lets the time pass while it waits."""

    __slots__ = ("_end", "_hub", "_rung")

    def __init__(self, bell: _Bell, hub: Hub) -> None:
        super().__init__(bell)
        self._hub = hub
        self._rung = False
        self._end: Callable[[], object] | None = None

    def __call__(self, _: object = None) -> None:
        with self._hub.lock:
            self._rung = True
            if self._end is not None:
                self._end()  # here, because the loop learns of it later
        super().__call__()

    def __await__(self) -> Generator[Any, None, None]:
        with self._hub.lock:
            if not self._rung:
                self._end = self._hub.attend(self._future)
        return self._future.__await__()


class AttendedWakeups(Wakeups):
    """The wakeups of one client or server in memory."""

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self._hub = hub

    def new(self) -> Wakeup:
        """Return a wakeup for a task of the running loop. Raises RuntimeError if no loop runs in this thread."""
        return Attended(super().new()._bell, self._hub)
