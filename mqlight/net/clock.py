"""Run the clock thread of a connection: heartbeats, deadlines, and a check on the duration of user code."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from time import monotonic

from mqlight.log import Log, report
from mqlight.net import forks
from mqlight.net.crew import PATIENCE, Crew

log = Log(__name__)

AFTER_FAULT = 1.0
"""Seconds until the next call after a failed one."""
RESTLESS = 1.0
"""Seconds without user code after which the clock stops its checks. The next user code wakes it."""


class Clock:
    """A thread that calls ``tick``, and the functions given to :meth:`every`, when one of them is due.

    ``tick(now)`` does the work that is due. Like the other functions it returns the time of its next call, in seconds
    of the monotonic clock, or None.
    """

    def __init__(self, crew: Crew, tick: Callable[[float], float | None]) -> None:
        self._crew = crew
        self._calls: list[Callable[[float], float | None]] = [tick]
        self._due = 0.0
        self._alarm: queue.SimpleQueue[None] = queue.SimpleQueue()
        """Wakes the thread up. Unlike an Event it is whole after an exception of a signal's handler in `put`."""
        self._life = object()
        """The object that the thread was started with. A new object here ends the thread."""
        self._active = 0.0
        """The last time at which user code ran or began to run."""
        crew.wake_clock = self._look_after

    def start(self, name: str, *, daemon: bool) -> None:
        """Start the thread. Raises RuntimeError if no thread can be started."""
        self._life = object()
        self._due = 0.0
        threading.Thread(target=self._run, args=(self._life,), name=name, daemon=daemon).start()

    def stop(self) -> None:
        """Have the thread end soon, without waiting for its end."""
        self._life = object()
        self._alarm.put(None)

    def forget(self) -> None:
        """Return to the state before the start, in the child of a fork, which has no copy of the thread."""
        self._life = object()
        self._alarm = queue.SimpleQueue()

    def every(self, call: Callable[[float], float | None]) -> None:
        """Call ``call(now)`` as well, soon and then at the times that it returns."""
        self._calls.append(call)
        self.wake(0.0)

    def wake(self, at: float) -> None:
        """Have all functions called at ``at`` at the latest."""
        if at < self._due:
            self._due = at
            self._alarm.put(None)

    def _look_after(self) -> None:
        """Look after user code that begins, from now on: it may be over before the clock's thread can see that it runs.

        Otherwise the clock would sleep at once, and be woken again for the next function.
        """
        self._active = monotonic()
        self._alarm.put(None)

    def _run(self, life: object) -> None:
        crew, alarm = self._crew, self._alarm
        self._active = monotonic()
        while self._life is life:
            now = monotonic()
            if now >= self._due:
                self._due = now + 60.0
                for call in self._calls:
                    try:
                        due = call(now)
                    except Exception:  # else no other deadline of this connection works any more
                        report(log, call)
                        due = now + AFTER_FAULT
                    if due is not None:
                        self._due = min(self._due, due)  # wake() may have asked for an earlier time meanwhile
            if crew.look_after(now):
                self._active = now
            wait = max(0.0, self._due - now)
            if now - self._active < RESTLESS:
                wait = min(wait, PATIENCE)
            else:
                crew.clock_sleeps = True
                if crew.busy_since is not None or crew.stranded:  # it began before it could see that the clock sleeps
                    wait = min(wait, PATIENCE)
            try:
                alarm.get(timeout=wait)
                while True:
                    alarm.get_nowait()
            except queue.Empty:
                pass
            crew.clock_sleeps = False
        if crew.forgotten:
            forks.stay_out()
