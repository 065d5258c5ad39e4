"""Run the clock thread of a connection: heartbeats, deadlines, and a check on the duration of user code."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from mqlight.log import Log, report
from mqlight.net import forks
from mqlight.net.crew import PATIENCE, Crew

log = Log(__name__)

AFTER_FAULT = 1.0
"""Seconds until the next tick after a failed tick."""
RESTLESS = 1.0
"""Seconds without user code after which the clock stops its checks. The next user code wakes it."""


class Clock:
    """A thread that calls ``tick`` when it is due.

    ``tick(now)`` does the work that is due and returns the time of the next call, in seconds of the monotonic clock.
    """

    def __init__(self, crew: Crew, tick: Callable[[float], float]) -> None:
        self._crew = crew
        self._tick = tick
        self._due = 0.0
        self._alarm = threading.Event()
        self._life = object()
        """The object that the thread was started with. A new object here ends the thread."""
        crew.wake_clock = self._alarm.set

    def start(self, name: str, *, daemon: bool) -> None:
        """Start the thread. Raises RuntimeError if no thread can be started."""
        self._life = object()
        self._due = 0.0
        threading.Thread(target=self._run, args=(self._life,), name=name, daemon=daemon).start()

    def stop(self) -> None:
        """Have the thread end soon, without waiting for its end."""
        self._life = object()
        self._alarm.set()

    def forget(self) -> None:
        """Return to the state before the start, in the child of a fork, which has no copy of the thread."""
        self._life = object()
        self._alarm = threading.Event()
        self._crew.wake_clock = self._alarm.set

    def wake(self, at: float) -> None:
        """Have ``tick`` called at ``at`` at the latest."""
        if at < self._due:
            self._due = at
            self._alarm.set()

    def _run(self, life: object) -> None:
        crew, alarm = self._crew, self._alarm
        active = monotonic()
        while self._life is life:
            now = monotonic()
            if now >= self._due:
                self._due = now + 60.0
                try:
                    due = self._tick(now)
                except Exception:  # else no deadline of this connection works any more
                    report(log, self._tick)
                    due = now + AFTER_FAULT
                self._due = min(self._due, due)  # wake() may have asked for an earlier time meanwhile
            if crew.look_after(now):
                active = now
            wait = max(0.0, self._due - now)
            if now - active < RESTLESS:
                wait = min(wait, PATIENCE)
            else:
                crew.clock_sleeps = True
                if crew.busy_since is not None or crew.stranded:  # that code began before it could see the clock asleep
                    wait = min(wait, PATIENCE)
            alarm.wait(wait)
            alarm.clear()
            crew.clock_sleeps = False
        if crew.forgotten:
            forks.stay_out()
