"""Run the threads of one connection: one reads and runs quick user code itself, others help when the code is slow.

The rules of this file:

* Exactly one thread at a time has the reading role. It reads bytes from the socket, and between two reads it runs the
  functions that those bytes cause. The role changes hands only while its thread runs a function. Each change begins a
  new epoch; a late thread still has the old epoch, and is ignored.
* If a function runs for longer than ``PATIENCE``, another thread takes over the reading role. So heartbeats go on while
  user code sleeps. A lane whose functions take longer than ``QUICK`` on average gets threads of its own at once.
* A role or function is given away only when a thread is there to take it. One idle thread is kept for that, because a
  process may be unable to start one: for a moment (a limit of the system), or for good (Python 3.12 and later refuse
  once the main thread has ended). Without an idle thread the reading thread keeps its role, and a lane without a thread
  waits in ``stranded`` until the clock finds one.
* After :meth:`Crew.stop` a thread ends only when no task is left. It also runs the tasks that got no thread.
* A caller that is about to wait for an event of the connection calls :meth:`Crew.before_blocking` first.

Running quick functions on the reading thread saves two thread switches a message: measured in ``docs/performance.md``.
The file uses only ``threading`` and ``queue``, so it runs on greenlets after ``gevent.monkey.patch_all()``.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import Any

from mqlight.log import Log, report
from mqlight.net import forks

log = Log(__name__)

PATIENCE = 0.01
"""Seconds that a function may run on the reading thread before another thread takes over the reading role."""
QUICK = 0.001
"""The longest average time of a lane's functions, in seconds, at which they run on the reading thread."""
SHORT = QUICK / 10
"""Seconds: a function as short as this does not change an average that is as short."""
IDLE = 10.0
"""Seconds that a helper thread waits for work before it ends."""

Task = Callable[[], object]


class _Told:
    """A task for an idle thread that stays in the count of idle threads."""

    __slots__ = ("_task",)

    def __init__(self, task: Task) -> None:
        self._task = task

    def __call__(self) -> None:
        self._task()


class Lane:
    """A queue of functions. At most ``width`` run at a time, and they begin in the order of their submission."""

    __slots__ = ("_crew", "_waiting", "_width", "mean", "running")

    def __init__(self, crew: Crew, width: int) -> None:
        self._crew = crew
        self._width = width
        self.running = 0
        self._waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.mean = 0.0
        """The time of a function in this lane, in seconds: a moving average."""

    def submit(self, function: Callable[..., object], *args: Any) -> None:
        """Have ``function(*args)`` run soon, on any thread. An exception of the function is logged."""
        crew, waiting, me = self._crew, self._waiting, get_ident()
        waiting.append((function, args))
        try:
            if crew.reader == me:
                if len(waiting) == 1:  # else the lane is in ``ready``, or a thread runs it and will take this too
                    crew.ready.append(self)
                if crew.reader == me:
                    return  # else another thread got the role meanwhile, and may be in the middle of a read
            crew.help(self)
        except BaseException:  # of a signal's handler: the clock finds a thread
            crew.stranded.append(self)
            raise

    @property
    def waiting(self) -> int:
        """The number of functions that wait."""
        return len(self._waiting)

    def claim(self) -> bool:
        """Take a place of the lane, under the crew's lock. Return False if no function waits or no place is free."""
        free = bool(self._waiting) and self.running < self._width
        self.running += free
        return free

    def run(self, epoch: int | None = None) -> None:
        """Run the waiting functions on a claimed place. ``epoch`` is that of the reading thread, if it runs them."""
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
                        self.running -= 1
                        return
                continue
            if epoch is not None and began - told > QUICK:  # quick functions are not reported one by one
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
            taken, began = ended - began, ended
            if taken > SHORT or self.mean > SHORT:
                self.mean += (taken - self.mean) / 8
            if epoch is not None and (self.mean > QUICK or crew.epoch != epoch):
                with crew.lock:
                    self.running -= 1
                crew.help(self)
                return


class Crew:
    """The threads of one connection.

    Args:
        name: The start of the threads' names.
        read: The loop of the reading role. It gets the epoch, and returns when :meth:`keeps_reading` is False for it.
        daemon: Whether the threads are daemon threads.
        on_exit: Is called with the SystemExit of a function.
    """

    def __init__(
        self, name: str, read: Callable[[int], None], *, daemon: bool, on_exit: Callable[[SystemExit], None]
    ) -> None:
        self.lock = threading.Lock()
        self.ready: deque[Lane] = deque()
        """Lanes that the reading thread must run before it reads again."""
        self.busy_since: float | None = None
        """The time at which the reading thread began its current function, None while it reads."""
        self.on_exit = on_exit
        self.wake_clock: Callable[[], None] = lambda: None
        self.clock_sleeps = False
        self._name = name
        self._daemon = daemon
        self._read = read
        self.epoch = 0
        """The number of the current holder of the reading role."""
        self._busy_with: Lane | None = None
        self.reader: int | None = None
        """The thread that has the reading role."""
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._idle = 0
        self._stopped = False
        self.forgotten = False
        """Whether this is the child of a fork: the threads belong to its parent."""
        self._short = False
        """Whether the last attempt to start a thread failed."""
        self._count = 0
        self.stranded: deque[Lane] = deque()
        """Lanes with waiting functions for which no thread could be started."""
        self._left: deque[Task] = deque()
        """Tasks for which no thread could be started after :meth:`stop`."""

    def start(self) -> None:
        """Have a thread begin to read. Raises RuntimeError if no thread can be started."""
        with self.lock:
            self._stopped = self.forgotten = False
            # The thread of the first task becomes idle, and is the idle thread that is kept.
            if not (self._start(lambda: None) and self._hand_over()):
                self._stopped = True
                raise RuntimeError("the system has none for it")

    def stop(self) -> None:
        """Take the reading role from its thread. Threads end when no task is left."""
        with self.lock:
            self._stopped = True
            self.epoch += 1
            self.reader = self.busy_since = None
            waiting = {*self.ready, *self.stranded}
            self.ready.clear()
            self.stranded.clear()
            for lane in waiting:
                self._help(lane)
            idle, self._idle = self._idle, 0
        for _ in range(idle):
            self._tasks.put(None)

    def forget(self) -> None:
        """Return to the state before the start, in the child of a fork, which has no copy of the threads."""
        self.lock = threading.Lock()
        self._tasks = queue.SimpleQueue()
        self._stopped = self.forgotten = True
        self.epoch += 1
        self.reader = self.busy_since = None
        self._idle = 0
        self.ready.clear()
        self.stranded.clear()
        self._left.clear()

    def run_ready(self, epoch: int) -> bool:
        """Run, on the reading thread, the functions that the last read caused. Return False if it lost its role."""
        ready = self.ready
        while True:
            try:
                lane = ready.popleft()
            except IndexError:  # none is left, or stop() took them
                return self.epoch == epoch
            if lane.mean > QUICK:
                self.help(lane)
                continue
            with self.lock:
                if self.epoch != epoch:
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
                    if self.epoch != epoch:
                        return False
                    self.busy_since = None

    def keeps_reading(self, epoch: int) -> bool:
        """Return whether the thread of ``epoch`` still has the reading role."""
        return self.epoch == epoch

    def begins(self, epoch: int, now: float) -> bool:
        """Take note that the reading thread begins another function. Return False if it has lost the role."""
        with self.lock:
            if self.epoch != epoch:
                return False
            self.busy_since = now
            return True

    def look_after(self, now: float) -> bool:
        """Take the reading role from a thread that is busy for too long. The clock calls this.

        Return False if no function runs or waits for a thread.
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
        """Hand over the reading role if the calling thread has it, because the caller is about to wait."""
        if self.reader == get_ident():
            with self.lock:
                if self.busy_since is not None:
                    self._hand_over()

    def help(self, lane: Lane) -> None:
        """Give the lane threads of its own for its waiting functions."""
        with self.lock:
            running = lane.running
            try:
                self._help(lane)
            except BaseException:  # of a signal's handler: a place without a thread would block the lane
                lane.running = running
                raise

    def _help(self, lane: Lane) -> None:
        for _ in range(lane.waiting):
            if not lane.claim():
                return
            if not self._start(lane.run):
                lane.running -= 1
                if lane not in self.stranded:
                    self.stranded.append(lane)
                    if self.clock_sleeps:
                        self.wake_clock()
                return

    def run(self, task: Task) -> bool:
        """Run ``task()`` on a thread of its own. Return False, and run nothing, if no thread can be started."""
        with self.lock:
            return self._start(task)

    def tell(self, task: Task) -> None:
        """Run ``task()`` on the next idle thread. This takes no lock, so a destructor may call it."""
        self._tasks.put(_Told(task))

    def _hand_over(self) -> bool:
        """Give the reading role to another thread. Return False, and keep the role, if there is no other thread."""
        epoch = self.epoch + 1
        if not self._start(lambda: self._begin_to_read(epoch)):
            return False
        self.epoch = epoch
        self.busy_since = None
        self.reader = None
        lane, self._busy_with = self._busy_with, None
        if lane is not None:
            self._help(lane)
        return True

    def _begin_to_read(self, epoch: int) -> None:
        with self.lock:
            if self.epoch != epoch:
                return
            self.reader = get_ident()
        while self.keeps_reading(epoch):
            try:
                self._read(epoch)
                return
            except BaseException:
                report(log, self._read)
                threading.Event().wait(PATIENCE)  # a thread must read after any error, but not in a tight loop

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
            if self._stopped:
                self._left.append(task)
                return True
            if not self._short:
                log.warning("%s cannot start another thread, and goes on without it: %s", self._name, error)
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
                task = self._next()  # this thread still counts as idle
                continue
            with self.lock:
                stopped = self._stopped
                if not stopped:
                    self._idle += 1
            task = self._last() if stopped else self._next()

    def _last(self) -> Task | None:
        """Return a task that is left after :meth:`stop`, None if there is none."""
        with self.lock:
            if self._left:
                return self._left.popleft()
        try:
            task = self._tasks.get_nowait()
        except queue.Empty:
            return None
        if task is None:
            self._tasks.put(None)  # for an idle thread
        return task

    def _next(self) -> Task | None:
        while True:
            try:
                return self._tasks.get(timeout=IDLE) or self._last()
            except queue.Empty:
                pass
            with self.lock:
                stopped = self._stopped
                if not stopped and self._idle > 1:  # one idle thread is kept
                    self._idle -= 1
                    return None
            if stopped:
                return self._last()
