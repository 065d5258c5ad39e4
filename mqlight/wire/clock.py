"""The thread that lets time pass for a connection: heartbeats, deadlines, and a look at how long user code takes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from mqlight.wire import forks
from mqlight.wire.log import Log, report
from mqlight.wire.threads import PATIENCE, Crew

log = Log(__name__)

AFTER_FAULT = 1.0
"""Seconds until the next tick after one that failed."""
RESTLESS = 1.0
"""Seconds without user code after which the clock stops looking after it, until it is told of the next."""


class Clock:
    """``tick(now)`` does what is due and returns when something is due again, in seconds of the monotonic clock."""

    def __init__(self, crew: Crew, tick: Callable[[float], float]) -> None:
        self._crew = crew
        self._tick = tick
        self._due = 0.0
        self._alarm = threading.Event()
        self._life = object()
        """What the thread was started with; another one ends it."""
        crew.wake_clock = self._alarm.set

    def start(self, name: str, *, daemon: bool) -> None:
        """Begin. Raise RuntimeError where no thread can be started."""
        self._life = object()
        self._due = 0.0
        threading.Thread(target=self._run, args=(self._life,), name=name, daemon=daemon).start()

    def stop(self) -> None:
        self._life = object()
        self._alarm.set()

    def forget(self) -> None:
        """In the child of a fork, where the thread is not: be as if it had never been started."""
        self._life = object()
        self._alarm = threading.Event()
        self._crew.wake_clock = self._alarm.set

    def wake(self, at: float) -> None:
        """Have ``tick`` called by ``at``, not later."""
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
                except Exception:  # else nothing of this connection ends by its deadline any more
                    report(log, self._tick)
                    due = now + AFTER_FAULT
                self._due = min(self._due, due)  # somebody may have asked for earlier meanwhile
            if crew.look_after(now):
                active = now
            wait = max(0.0, self._due - now)
            if now - active < RESTLESS:
                wait = min(wait, PATIENCE)
            else:
                crew.clock_sleeps = True
                if crew.busy_since is not None or crew.stranded:  # it began before it could see that we sleep
                    wait = min(wait, PATIENCE)
            alarm.wait(wait)
            alarm.clear()
            crew.clock_sleeps = False
        if crew.forgotten:
            forks.stay_out()
