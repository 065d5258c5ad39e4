"""The thread that lets time pass for a connection: heartbeats, deadlines, and a look at how long user code takes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from mqlight.wire.threads import PATIENCE, Crew

RESTLESS = 1.0
"""Seconds without user code after which the clock stops looking after it, until it is told of the next."""


class Clock:
    """``tick(now)`` does what is due and returns when something is due again, in seconds of the monotonic clock."""

    def __init__(self, crew: Crew, tick: Callable[[float], float]) -> None:
        self._crew = crew
        self._tick = tick
        self._due = 0.0
        self._alarm = threading.Event()
        self._stopped = threading.Event()
        crew.wake_clock = self._alarm.set

    def start(self, name: str, *, daemon: bool) -> None:
        self._stopped = threading.Event()
        self._due = 0.0
        threading.Thread(target=self._run, args=(self._stopped,), name=name, daemon=daemon).start()

    def stop(self) -> None:
        self._stopped.set()
        self._alarm.set()

    def wake(self, at: float) -> None:
        """Have ``tick`` called by ``at``, not later."""
        if at < self._due:
            self._due = at
            self._alarm.set()

    def _run(self, stopped: threading.Event) -> None:
        crew, alarm = self._crew, self._alarm
        active = monotonic()
        while not stopped.is_set():
            now = monotonic()
            if now >= self._due:
                self._due = now + 60.0
                due = self._tick(now)
                self._due = min(self._due, due)  # somebody may have asked for earlier meanwhile
            if crew.look_after(now):
                active = now
            wait = max(0.0, self._due - now)
            if now - active < RESTLESS:
                wait = min(wait, PATIENCE)
            else:
                crew.clock_sleeps = True
                if crew.busy_since is not None:  # it began before it could see that we sleep
                    wait = min(wait, PATIENCE)
            alarm.wait(wait)
            alarm.clear()
            crew.clock_sleeps = False
