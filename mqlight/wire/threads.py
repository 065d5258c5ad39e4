"""The threads of one connection: one reads and runs quick user code itself, others help when it is slow.

The rules of this file:

* Exactly one thread at a time has the reading role. It takes bytes from the socket, and between two reads it runs the
  functions that those bytes gave rise to. The role is taken from a thread only while that runs a function, and each
  change of it is a new epoch: a thread that comes late says so by the old one, and is not heard.
* A function that runs for longer than ``PATIENCE`` loses its thread the reading role: another thread takes it over, so
  heartbeats go on while user code sleeps. A lane whose functions take longer than ``QUICK`` on average is given threads
  of its own at once.
* No role and no function is given away before a thread is there to take it. One idle thread is kept for that, because
  a process may be unable to start one: for a moment (a limit of the system), or for good (Python 3.12 and later refuse
  once the main thread has ended). Without one the reading thread keeps its role, and a lane that got no thread waits
  in ``stranded`` until the clock finds it one.
* Whoever is about to wait for something that the connection will bring calls :meth:`Crew.before_blocking` first.

Running quick functions where they arrive saves two thread switches a message: measured in ``docs/performance.md``. The
file uses only ``threading`` and ``queue``, so it runs on greenlets after ``gevent.monkey.patch_all()``.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from mqlight.wire import forks
from mqlight.wire.log import Log, report

log = Log(__name__)

PATIENCE = 0.01
"""Seconds that a function may run on the reading thread before another thread takes the reading over."""
QUICK = 0.001
"""Seconds that a lane's functions may take on average to be run on the reading thread."""
IDLE = 10.0
"""Seconds that a helper thread waits for work before it ends."""

Task = Callable[[], object]


def _nothing() -> None:
    """Do nothing: the first task of the thread that is kept."""


class _Told:
    """A task that an idle thread takes without having been counted as taken."""

    __slots__ = ("_task",)

    def __init__(self, task: Task) -> None:
        self._task = task

    def __call__(self) -> None:
        self._task()


class Lane:
    """At most ``width`` functions at a time, begun in the order of their submission."""

    __slots__ = ("_crew", "_running", "_waiting", "_width", "mean")

    def __init__(self, crew: Crew, width: int) -> None:
        self._crew = crew
        self._width = width
        self._running = 0
        self._waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.mean = 0.0
        """How long a function of this lane takes, in seconds: a moving average."""

    def submit(self, function: Callable[..., object], *args: Any) -> None:
        """Have ``function(*args)`` run soon, on some thread. An exception in it is logged."""
        crew, waiting = self._crew, self._waiting
        waiting.append((function, args))
        if crew.is_reader():
            if len(waiting) == 1:  # else it is among the ready ones, or somebody runs it and will come to this one
                crew.ready.append(self)
            if crew.is_reader():
                return  # else the role went to another thread meanwhile, and that one may be in the middle of a read
        crew.help(self)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def unclaim(self) -> None:
        """Give a claimed place back. Called under the crew's lock."""
        self._running -= 1

    def claim(self) -> bool:
        """Take one of the lane's places, if it has one free and something to do. Called under the crew's lock."""
        if self._waiting and self._running < self._width:
            self._running += 1
            return True
        return False

    def run(self, epoch: int | None = None) -> None:
        """Run what waits, on a claimed place; then give the place back. ``epoch`` is the reading thread's."""
        waiting = self._waiting
        crew = self._crew
        began = monotonic()
        told = float("-inf")
        while True:
            try:
                function, args = waiting.popleft()
            except IndexError:
                with crew.lock:
                    if not waiting:
                        self._running -= 1
                        return
                continue
            if epoch is not None and began - told > QUICK:  # quick ones are not worth telling of each
                told = began
                if not crew.begins(epoch, began):
                    epoch = None
            try:
                function(*args)
            except SystemExit as error:
                crew.on_exit(error)
            except BaseException:
                report(log, function)
            del function, args
            ended = monotonic()
            self.mean += (ended - began - self.mean) / 8
            began = ended
            if epoch is not None and (self.mean > QUICK or not crew.keeps_reading(epoch)):
                with crew.lock:
                    self._running -= 1
                crew.help(self)
                return


class Crew:
    """``read(epoch)`` is the reading role's loop: it returns when :meth:`keeps_reading` says that the role is
    another's.
    """

    def __init__(
        self, name: str, read: Callable[[int], None], *, daemon: bool, on_exit: Callable[[SystemExit], None]
    ) -> None:
        self.lock = threading.Lock()
        self.ready: deque[Lane] = deque()
        """Lanes that the reading thread has to look at before it reads again."""
        self.busy_since: float | None = None
        """When the reading thread began the function that it is running, None while it reads."""
        self.on_exit = on_exit
        self.wake_clock: Callable[[], None] = lambda: None
        self.clock_sleeps = False
        self._name = name
        self._daemon = daemon
        self._read = read
        self._epoch = 0
        self._busy_with: Lane | None = None
        self._reader: int | None = None
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._idle = 0
        self._stopped = False
        self.forgotten = False
        """This is the child of a fork, and what was started is its parent's."""
        self._short = False
        """The last attempt to start a thread failed."""
        self._count = 0
        self.stranded: deque[Lane] = deque()
        """Lanes with something to do, for which no thread could be started."""

    def start(self) -> None:
        """Have a thread begin to read. Raise RuntimeError where no thread can be started."""
        with self.lock:
            self._stopped = self.forgotten = False
            # As a task of its own it becomes idle, and is the one that is kept.
            if not (self._start(_nothing) and self._hand_over()):
                self._stopped = True
                raise RuntimeError("the system has none for it")

    def stop(self) -> None:
        """Take the reading role from whoever has it; threads end when they have nothing more to do."""
        with self.lock:
            self._stopped = True
            self._epoch += 1
            self._reader = self.busy_since = None
            waiting = {*self.ready, *self.stranded}
            self.ready.clear()
            self.stranded.clear()
            for lane in waiting:
                for _ in range(lane.waiting):
                    if lane.claim() and not self._start(lane.run):
                        self._tasks.put(lane.run)  # a thread that is busy runs it before it ends
            idle, self._idle = self._idle, 0
        for _ in range(idle):
            self._tasks.put(None)

    def forget(self) -> None:
        """In the child of a fork, where none of the threads is: be as if nothing had ever been started."""
        self.lock = threading.Lock()
        self._tasks = queue.SimpleQueue()
        self._stopped = self.forgotten = True
        self._epoch += 1
        self._reader = self.busy_since = None
        self._idle = 0
        self.ready.clear()
        self.stranded.clear()

    def is_reader(self) -> bool:
        """Has this thread the reading role?"""
        return self._reader == threading.get_ident()

    def run_ready(self, epoch: int) -> bool:
        """On the reading thread: run what the last read gave rise to. False when the reading role was lost over it."""
        ready = self.ready
        while True:
            try:
                lane = ready.popleft()
            except IndexError:  # none is left, or stop() took them
                return self._epoch == epoch
            if lane.mean > QUICK:
                self.help(lane)
                continue
            with self.lock:
                if self._epoch != epoch:
                    self._help(lane)
                    return False
                claimed = lane.claim()
                if claimed:
                    self.busy_since = monotonic()
                    self._busy_with = lane
            if claimed:
                if self.clock_sleeps:
                    self.wake_clock()
                lane.run(epoch)
                with self.lock:
                    if self._epoch != epoch:
                        return False
                    self.busy_since = None

    def keeps_reading(self, epoch: int) -> bool:
        return self._epoch == epoch

    def begins(self, epoch: int, now: float) -> bool:
        """The reading thread begins another function; False when it has lost the role, maybe this moment."""
        with self.lock:
            if self._epoch != epoch:
                return False
            self.busy_since = now
            return True

    def look_after(self, now: float) -> bool:
        """Called by the clock: take the reading role from a thread that is busy for too long. False when nothing is
        going on.
        """
        if self.stranded:
            with self.lock:
                for _ in range(len(self.stranded)):
                    self._help(self.stranded.popleft())
        if self.busy_since is None:
            return bool(self.stranded)
        with self.lock:
            if self.busy_since is not None and now - self.busy_since > PATIENCE:
                self._hand_over()
        return True

    def before_blocking(self) -> None:
        """This thread is about to wait: if it has the reading role, another takes it over."""
        if self._reader == threading.get_ident():
            with self.lock:
                if self.busy_since is not None:
                    self._hand_over()

    def help(self, lane: Lane) -> None:
        """Give the lane threads of its own for what waits in it."""
        with self.lock:
            self._help(lane)

    def _help(self, lane: Lane) -> None:
        for _ in range(lane.waiting):
            if not lane.claim():
                return
            if not self._start(lane.run):
                lane.unclaim()
                if lane not in self.stranded:
                    self.stranded.append(lane)
                    if self.clock_sleeps:
                        self.wake_clock()
                return

    def run(self, task: Task) -> bool:
        """Run ``task()`` on a thread of its own. Return False where none can be started: nothing is run then."""
        with self.lock:
            return self._start(task)

    def tell(self, task: Task) -> None:
        """Run ``task()`` on the next thread that is idle. It takes no lock, so that a destructor may call it."""
        self._tasks.put(_Told(task))

    def _hand_over(self) -> bool:
        """Give the reading role to another thread; False where there is none, and then it stays where it is."""
        epoch = self._epoch + 1
        if not self._start(lambda: self._begin_to_read(epoch)):
            return False
        self._epoch = epoch
        self.busy_since = None
        self._reader = None
        lane, self._busy_with = self._busy_with, None
        if lane is not None:
            self._help(lane)
        return True

    def _begin_to_read(self, epoch: int) -> None:
        with self.lock:
            if self._epoch != epoch:
                return
            self._reader = threading.get_ident()
        while self.keeps_reading(epoch):
            try:
                self._read(epoch)
                return
            except BaseException:
                report(log, self._read)
                threading.Event().wait(PATIENCE)  # somebody has to read, whatever it was; but not in a tight loop

    def _start(self, task: Task) -> bool:
        if self._idle:
            self._idle -= 1
            self._tasks.put(task)
            return True
        try:
            threading.Thread(
                target=self._work, args=(task,), name=f"{self._name}-{self._count + 1}", daemon=self._daemon
            ).start()
        except (RuntimeError, MemoryError) as error:
            if not self._short:
                log.warning("%s cannot start a thread, and goes on with those that it has: %s", self._name, error)
            self._short = True
            return False
        self._short = False
        self._count += 1
        return True

    def _work(self, task: Task | None) -> None:
        self._work_on(task)
        if self.forgotten:
            forks.stay_out()

    def _work_on(self, task: Task | None) -> None:
        while task is not None:
            try:
                task()
            except BaseException:
                report(log, task)
            if isinstance(task, _Told):
                task = self._next()  # it is idle still
                continue
            with self.lock:
                stopped = self._stopped
                if not stopped:
                    self._idle += 1
            task = self._left() if stopped else self._next()

    def _left(self) -> Task | None:
        """What is still to be run when all has been stopped."""
        try:
            task = self._tasks.get_nowait()
        except queue.Empty:
            return None
        if task is None:
            self._tasks.put(None)  # for a thread that is idle
        return task

    def _next(self) -> Task | None:
        while True:
            try:
                return self._tasks.get(timeout=IDLE)
            except queue.Empty:
                with self.lock:
                    if self._stopped:
                        return None
                    if self._idle > 1:  # one is kept
                        self._idle -= 1
                        return None
