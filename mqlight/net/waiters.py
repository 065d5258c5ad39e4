"""Let a thread that waits for a reply read the socket itself, so that no other thread has to wake it.

The rules of this file:

* When the last ``ROW`` replies were each waited for by one thread alone, the reading thread stands by: the reading role
  is vacant. A thread that begins to wait takes the role, reads until its own reply is there, and leaves the role.
* A thread that waits reads for at most ``BRIEF`` seconds without result. It runs no function of the application for
  others, and no signal may interrupt it (see :mod:`mqlight.net.interrupts`).
* The reading thread takes the role back when no thread took it for ``STAND_BY`` seconds. It does so at once if a thread
  leaves the role without its reply, if other threads wait, if a read has caused functions of a lane, or when
  :meth:`Waiters.recall` is called.
* A thread may be stopped at any place by an exception from outside, such as a time-out of gevent. If it has the role
  and shows no sign of life, the reading thread takes the role, and ends the connection, of which bytes may be lost.
* A vacancy belongs to one epoch of the crew. It ends when the crew is stopped.
* All of this is decided under the lock of the crew, so that never two threads read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from threading import get_ident
from time import monotonic

from mqlight.net.crew import Crew
from mqlight.net.interrupts import Interrupts
from mqlight.net.tcp import BRIEF

ROW = 32
"""Replies in a row, each waited for by one thread alone, after which the reading thread stands by."""
STAND_BY = 0.005
"""Seconds that the reading role may be vacant before the reading thread takes it back."""
LOOKS = 1000
"""Times that the reading thread, while it stands by, looks in vain for a sign of life of the thread with the role."""


class Waiters:
    """The threads that wait for an event of one connection.

    Args:
        crew: The threads of the connection.
        read: Gets the epoch, and reads once in the calling thread, which waits ``BRIEF`` seconds at most. It returns
            False if nothing came.
        lose: Gets the epoch, and ends the connection.
    """

    def __init__(self, crew: Crew, read: Callable[[int], bool], lose: Callable[[int], object]) -> None:
        self.waiting: dict[int, threading.Lock] = {}
        """The locks of the threads that wait and do not read."""
        self.row = 0
        """The number of replies in a row that were each waited for by one thread alone."""
        self._crew = crew
        self._read = read
        self._lose = lose
        self._vacant = 0
        """The epoch in which the reading thread stands by, 0 if it reads."""
        self._taken = False
        """Whether a thread took the vacant role since the reading thread last looked."""
        self._holder = 0
        """The thread that took the vacant role and has not left it."""
        self._looks = 0
        """The number of looks of the reading thread since that thread has last read."""
        self._recalled = threading.Event()

    def wait(self, lock: threading.Lock, seconds: float) -> bool:
        """Acquire a lock that an event of the connection releases. Return False after ``seconds`` seconds.

        Raises:
            KeyboardInterrupt: there was a Ctrl-C. In a thread that reads, it is raised within ``BRIEF`` seconds.
        """
        until = monotonic() + seconds
        if self._vacant and seconds > BRIEF:
            self._read_while(lock, until - BRIEF)
        if lock.acquire(blocking=False):
            return True
        me, crew = get_ident(), self._crew
        try:
            with crew.lock:
                self.waiting[me] = lock
                if self._vacant and not crew.reader:
                    self._recall()
            return lock.acquire(timeout=max(0.0, until - monotonic()))
        finally:
            with crew.lock:
                self.waiting.pop(me, None)

    def recall(self) -> None:
        """Have the reading thread read, for an event for which no thread is in :meth:`wait`."""
        self.row = 0
        if self._vacant:
            with self._crew.lock:
                self._recall()

    def stand_by(self, epoch: int) -> bool:
        """Leave the role to threads that wait, while they take it. The reading thread calls this when threads wait.

        Return False if it is not the time for that.
        """
        crew = self._crew
        with crew.lock:
            if len(self.waiting) != 1:
                self.row = 0
                return False
            ((thread, lock),) = self.waiting.items()
            if lock.locked() or not crew.keeps_reading(epoch):
                return False
            del self.waiting[thread]  # its reply counts once
            self.row += 1
            if self.row < ROW:
                return False
            self._vacant, self._taken = epoch, False
            self._recalled.clear()
            crew.reader = None
        while True:
            self._recalled.wait(STAND_BY)
            if self._ends_standing_by(epoch):
                return True
            if self._takes_from_a_lost_thread(epoch):
                self._lose(epoch)
                return True

    def _ends_standing_by(self, epoch: int) -> bool:
        """Take the role back, unless threads that wait take it. Return False if the reading thread still stands by."""
        crew = self._crew
        with crew.lock:
            if not crew.keeps_reading(epoch):
                return True
            if crew.reader or (self._vacant == epoch and self._taken):
                self._taken = False
                self._recalled.clear()
                return False
            crew.reader, self._vacant = get_ident(), 0
            return True

    def _takes_from_a_lost_thread(self, epoch: int) -> bool:
        """Take the role from a thread that has it and does not read any more. Return False if there is none."""
        crew = self._crew
        with crew.lock:
            self._looks += 1
            if not crew.reader or self._looks < LOOKS or not crew.keeps_reading(epoch):
                return False
            crew.reader, self._vacant, self._holder = get_ident(), 0, 0
            return True

    def _read_while(self, lock: threading.Lock, until: float) -> None:
        """Take the role if it is vacant, and read while ``lock`` is locked, unless another thread must read."""
        crew = self._crew
        with Interrupts() as interrupts:
            if not interrupts.held:
                return
            try:
                epoch = self._take()
                while epoch and lock.locked() and not crew.ready and self._vacant == epoch:
                    self._looks = 0
                    if interrupts.came or monotonic() > until or not self._read(epoch):
                        break
            finally:
                self._leave(lock)

    def _take(self) -> int:
        """Take the role if it is vacant. Return its epoch, or 0."""
        crew = self._crew
        with crew.lock:
            if not self._vacant or crew.reader or not crew.keeps_reading(self._vacant):
                return 0
            crew.reader = self._holder = get_ident()
            self._taken, self._looks = True, 0
            return self._vacant

    def _leave(self, lock: threading.Lock) -> None:
        """Leave the role if the calling thread has it, and recall the reading thread if there is something to read."""
        crew, me = self._crew, get_ident()
        with crew.lock:
            if self._holder == me:
                self._holder = 0
                if crew.reader == me:  # else the crew was stopped
                    crew.reader = None
                    if lock.locked() or crew.ready or any(each.locked() for each in self.waiting.values()):
                        self._recall()
                    elif not self._vacant:
                        self._recalled.set()

    def _recall(self) -> None:
        self.row = self._vacant = 0
        if not self._crew.reader:
            self._recalled.set()
