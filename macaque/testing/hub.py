"""The order of events at a broker in memory: the tasks, the time, and the threads that do the tasks.

The rules of this file:

* There is no other thread here. The thread that calls or waits does all the work, in the order in which it came up. So
  a test in one thread is deterministic.
* Bytes move under the lock. Functions of the application run without it, as many of a lane at a time as the lane has
  places.
* A function that is given to a lane `aside` runs on a thread of its own, while the thread of the test goes on: a
  generator waits for its consumer. Such a thread, and the loop of a server, leave everything else to the others.
* A thread that waits lets the time pass: when nothing is left to do, the time jumps to the next event. While another
  thread runs a function, the time stands still, but not for ever: a wait ends after as much real time.
* An exception in a callback reaches the test: the outermost `run` raises it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from macaque.loop import Loop
from mqlight.server.broker import Broker

if TYPE_CHECKING:
    import asyncio

__all__ = ["Hub", "Lane", "Member"]

BEGIN = 1000.0
"""The time at which every broker begins, in seconds."""
TICK = 1e-6
"""The least seconds between two events of the clock."""
GLANCE = 0.02
"""Seconds of real time until a thread looks again at the work of other threads, unless it is told earlier."""
PATIENCE = 30.0
"""Seconds of real time after which the time passes although other threads run functions."""
TURNS = 3
"""Turns of an event loop in which its other tasks may go on, before the time jumps for the one that waits."""


class Member(Protocol):
    """A connection to the broker."""

    due: float
    """The time at which `tick` has work."""

    def move(self) -> bool:
        """Move the waiting bytes in both directions. Return whether there were any. Needs the lock."""

    def tick(self, now: float) -> None:
        """Do the work that is due."""


class Lane:
    """Runs functions, `width` at a time, in the order of their submission."""

    def __init__(self, hub: Hub, width: int) -> None:
        self.width = width
        self.running = 0
        self.aside = False
        self._hub = hub

    def submit(self, function: Callable[..., object], *args: Any) -> None:
        """Run `function(*args)` soon: before this call returns, unless this thread runs a function already."""
        self._hub.submit(self, function, args)


class _Here(threading.local):
    aside = False
    """Whether this thread runs a function of a lane aside."""
    inside = 0
    """The depth of `run` and `held` on this thread."""
    at_work = 0
    """The functions that this thread has begun and not finished."""


class Hub:
    """See the module."""

    def __init__(self) -> None:
        self.core = Broker()
        self.members: list[Member] = []
        self.now = BEGIN
        self.lock = threading.RLock()
        self.loops: list[Loop] = []
        """The event loops of servers, whose coroutines run on threads of their own."""
        self._awaits: Counter[object] = Counter()
        """For each event loop, the tasks that await a call."""
        self._changed = threading.Condition(self.lock)
        self._began = time.time()
        self._tasks: deque[tuple[Lane, Callable[..., object], tuple[Any, ...]]] = deque()
        self._at_work = 0
        """The functions that run on some thread, without those that wait in `until`."""
        self._threads: list[threading.Thread] = []
        self._events = 0
        """The number of events that a waiting thread may have waited for."""
        self._looked: dict[int, int] = {}
        """The threads aside that wait, with the events that had happened when they looked last."""
        self._unseen = False
        """Whether another thread has left something to do."""
        self._errors: list[BaseException] = []
        self._here = _Here()

    def wall(self) -> float:
        """Return the time in seconds since 1970: the real time when the broker was made, plus the time passed since."""
        return self._began + self.now - BEGIN

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock, and run nothing until its end. Call `go` after it."""
        with self.lock:
            self._here.inside += 1
            try:
                yield
            finally:
                self._here.inside -= 1

    def submit(self, lane: Lane, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Run a function soon: see `Lane.submit`."""
        self._tasks.append((lane, function, args))
        self.go()

    def go(self) -> None:
        """Do everything that there is to do now, unless this thread is about to do it anyway."""
        if self._here.inside or self._leaves_to_others():
            with self._changed:
                self._unseen = True
                self._changed.notify_all()  # another thread may be waiting for something to do
        else:
            self.run()

    def _leaves_to_others(self) -> bool:
        """Return whether this thread runs a function aside, or coroutines of a server, and nothing else meanwhile."""
        if self._here.aside:
            return True
        asyncio = sys.modules.get("asyncio")
        loop = None if asyncio is None or not self.loops else asyncio._get_running_loop()
        return loop is not None and any(each.runs(loop) for each in self.loops)

    def run(self) -> None:
        """Do everything that there is to do now. Raises the first exception of a callback."""
        here = self._here
        here.inside += 1
        try:
            while self._move() or self._work():
                pass
        finally:
            here.inside -= 1
        if self._errors and not here.inside:
            first = self._errors[0]
            self._errors.clear()
            raise first

    def _move(self) -> bool:
        with self.lock:
            self._unseen = False
            moved = any([member.move() for member in tuple(self.members)])
            if moved:
                self._happened()
            return moved

    def _happened(self) -> None:
        """Let waiting threads look again. Needs the lock."""
        self._events += 1
        if self._threads:
            self._changed.notify_all()

    def _work(self) -> bool:
        """Run one function. Return False if none can begin."""
        with self.lock:
            task = next((task for task in self._tasks if task[0].running < task[0].width), None)
            if task is None:
                return False
            self._tasks.remove(task)
            lane = task[0]
            lane.running += 1
            self._at_work += 1
        if lane.aside:
            thread = threading.Thread(target=self._call_aside, args=task, name="macaque-testing", daemon=True)
            self._threads.append(thread)
            thread.start()
        else:
            self._call(*task)
        return True

    def _call_aside(self, *task: Any) -> None:
        self._here.aside = True
        self._call(*task)

    def _call(self, lane: Lane, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._here.at_work += 1
        try:
            function(*args)
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._here.at_work -= 1
            with self._changed:
                lane.running -= 1
                self._at_work -= 1
                self._unseen = True
                self._events += 1
                self._changed.notify_all()

    def join(self) -> None:
        """Wait for the threads of functions that ran aside."""
        for thread in self._threads:
            thread.join(1.0)

    def until(self, done: Callable[[], object], seconds: float | None) -> bool:
        """Let time pass until `done()` is true. Return False if it is not within `seconds`; None waits for ever."""
        end = inf if seconds is None else self.now + seconds
        patience = time.monotonic() + (PATIENCE if seconds is None else min(seconds, PATIENCE))
        mine = 1 if self._here.at_work else 0
        with self.lock:
            self._at_work -= mine
        try:
            while self._here.aside:  # the others let the time pass, but not before this thread has looked
                with self._changed:
                    if done():
                        return True
                    if self.now >= end:
                        return False
                    self._looked[get_ident()] = self._events
                    self._changed.notify_all()
                    self._changed.wait(GLANCE)
            while True:
                self.run()
                if done():
                    return True
                if time.monotonic() < patience and self._others_work():
                    continue
                if not self._step(end):
                    return bool(done())
        finally:
            with self.lock:
                self._at_work += mine
                self._looked.pop(get_ident(), None)

    def _others_work(self, wait: bool = True) -> bool:
        """Return whether functions run elsewhere. If they do, wait a moment for their end."""
        with self._changed:
            waits = all(at == self._events for at in self._looked.values())
            if waits and self._at_work <= 0 and sum(loop.busy for loop in self.loops) <= self._awaiting():
                return False
            if wait:
                self._changed.wait(GLANCE)
            return True

    def _awaiting(self) -> int:
        """Return the number of coroutines of servers that await a call."""
        return sum(count for loop, count in self._awaits.items() if any(each.runs(loop) for each in self.loops))

    def attend(self, future: asyncio.Future[None]) -> Callable[[], object]:
        """Let time pass until a future is done, as `until` does, but for a task of an event loop, which goes on.

        For a coroutine of a server the time passes while a test waits.

        Returns:
            A function to call as soon as the task need not wait any more, which the loop learns of later.
        """
        loop, waits = future.get_loop(), [True]

        def end(_: object = None) -> None:
            with self.lock:
                if waits.pop():
                    waits.append(False)
                    self._awaits[loop] -= 1

        with self.lock:
            self._awaits[loop] += 1
        future.add_done_callback(end)
        if not self._leaves_to_others():
            loop.call_soon(self._attend, loop, future, time.monotonic() + PATIENCE, TURNS)
        return end

    def _attend(
        self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[None], patience: float, turns: int
    ) -> None:
        """Do all tasks. Let the time jump when the other tasks of the loop have had some turns."""
        self.run()
        if future.done():
            return
        if turns:
            loop.call_soon(self._attend, loop, future, patience, turns - 1)
        elif time.monotonic() < patience and self._others_work(wait=False) or not self._step(inf):
            loop.call_later(GLANCE, self._attend, loop, future, patience, 0)
        else:
            loop.call_soon(self._attend, loop, future, patience, TURNS)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass, with everything that is due meanwhile."""
        end = self.now + seconds
        self.run()
        while self._step(end):
            self.run()
        self.run()

    def _step(self, end: float) -> bool:
        """Let time pass to the next event, at most to `end`. Return False if it is `end` already, or nothing is due."""
        with self.held():
            rests = self.core.wake_at
            due = min((member.due for member in self.members), default=inf)
            due = min(due, inf if rests is None else rests)
            if self._unseen:
                return True  # there is something to do first
            if self.now >= end or due == end == inf:
                return False
            self._happened()
            now = self.now = min(end, max(due, self.now + TICK))
            if rests is not None and rests <= now:
                self.core.wake(now)
            self.core.sweep(now)
            for member in tuple(self.members):
                if member.due <= now:
                    member.tick(now)
        return True
