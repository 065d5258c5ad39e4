"""The sending of a connection: when its bytes are sent, and by which thread.

The rules of this file:

* The reading thread sends once for everything that one read has caused.
* If several threads publish together, the last one sends for all of them. A thread says that it is about to publish
  before it waits for the lock.
* A thread that finds the socket full leaves the rest to a helper thread. Publishers wait for it.
* At most ``BUFFER`` messages wait for a connection or for credit. Further publishers wait.
* A connection whose engine was interrupted is cut: see :meth:`Outlet.tear`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import get_ident
from time import monotonic

from mqlight.errors import NoRoomError, StoppedError
from mqlight.net.crew import Crew
from mqlight.net.driver import Driver
from mqlight.net.waiters import Waiters
from mqlight.outgoing import Outgoing
from mqlight.senders import Senders
from mqlight.state import State, Status
from mqlight.timers import Timers

__all__ = ["Outlet"]

BUFFER = 1000
"""Messages that may wait for a connection or for credit before :meth:`Outlet.publish` blocks."""
BATCH = 100
"""The most messages that a batch holds back."""
LEFT = 50
"""Times in a row that threads leave their messages to another thread that is about to send."""
RETRY_DRAIN = 0.05
"""Seconds until a full socket is tried again if no thread can wait for it."""


class Outlet:
    """Sends the bytes of a connection. Methods that send need the connection's lock.

    Args:
        lock: The connection's lock.
        crew: The connection's threads.
        status: The connection's state.
        waiters: The threads that wait for a reply.
        senders: Get the published messages.
        timers: Get the time to try a full socket again for which no thread can wait.
    """

    def __init__(
        self,
        lock: threading.RLock,
        crew: Crew,
        status: Status,
        waiters: Waiters,
        senders: Senders,
        timers: Timers,
    ) -> None:
        self.driver: Driver | None = None
        """The engine and the socket, None without a connection."""
        self.full = False
        """Whether the socket is full. Nothing is sent until it takes more."""
        self._undrained = False
        """Whether the socket is full and no thread could wait for it."""
        self._batches: dict[int, int] = {}
        """The threads that send a batch, each with the number of messages that it holds back."""
        self.entering: set[Outgoing] = set()
        """Messages that threads are about to publish and send. Another thread may leave its bytes to these threads."""
        self._left = 0
        """The number of times that a thread left its bytes since bytes were last sent."""
        self._lock = lock
        self.crew = crew
        """The connection's threads. The reading thread does not send: it does so before it reads again."""
        self._status = status
        self._waiters = waiters
        self._senders = senders
        self._timers = timers

    def drop(self) -> None:
        """Close the socket, if there is one."""
        driver, self.driver = self.driver, None
        self.full = self._undrained = False
        if driver is not None:
            driver.close()

    def forget(self) -> None:
        """Close the parent's socket without a frame, in the child of a fork. The object is not used any more then."""
        driver, self.driver = self.driver, None
        self._lock = threading.RLock()  # another thread may have held the lock, and a batch may end here
        if driver is not None:
            driver.forget()

    def tear(self) -> None:
        """Cut the connection, because an exception stopped this thread in the engine or in the middle of a frame.

        A signal's handler may raise one anywhere in the main thread, as Ctrl-C does. No further byte is sent. The
        reading thread finds the end of input, and the messages that are not settled go over the next connection.
        """
        driver = self.driver
        if driver is not None:
            self.full, self._undrained = True, False
            driver.abort()

    # Publishing

    def publish(self, outgoing: Outgoing, timeout: float | None) -> bool:
        """Send a message: see :meth:`mqlight.connection.Connection.publish`. Takes the lock itself."""
        senders = self._senders
        crew = self.crew
        entering = self.entering
        me = get_ident()
        if self.full or senders.waiting >= BUFFER:
            self._wait_for_room(timeout)
        try:
            if crew.reader != me and not self._batches:
                entering.add(outgoing)
            with self._lock:
                if entering:
                    entering.discard(outgoing)
                if not senders.connected and (state := self._status.state) in (State.STOPPED, State.STOPPING):
                    raise StoppedError(f"the client is {state.value}, so it cannot send")
                try:
                    senders.send(outgoing)
                    if crew.reader != me and (not self._batches or not self._holds_back()):
                        self.flush_soon()
                except BaseException:
                    self.tear()
                    raise
                return not senders.waiting
        except BaseException:
            self.entering.discard(outgoing)
            self._timers.wake(0.0)  # other threads may have left their bytes to this one: the clock's thread sends them
            raise

    def _wait_for_room(self, timeout: float | None) -> None:
        self.before_blocking()
        with self._lock:
            self._status.wait(lambda: not self._lacks_room(), monotonic() + (3e6 if timeout is None else timeout))
            if self._lacks_room():
                waiting = self._senders.waiting
                raise NoRoomError(f"no room to send within {timeout or 3e6:g} s: {waiting} messages wait already")

    def _lacks_room(self) -> bool:
        return self._status.state is not State.STOPPED and (self.full or self._senders.waiting >= BUFFER)

    def before_blocking(self) -> None:
        """Prepare for a wait, for an event for which the calling thread does not read itself."""
        self.before_reading()
        self._waiters.recall()

    def before_reading(self) -> None:
        """Prepare for a wait: send the messages that the calling thread's batch holds, and let another thread read."""
        me = get_ident()
        if self._batches and self._batches.get(me):
            self._batches[me] = 0
            with self._lock:
                self.flush_soon()
        self.crew.before_blocking()

    def _holds_back(self) -> bool:
        me = get_ident()
        count = self._batches.get(me)
        if count is None:
            return False
        self._batches[me] = count = (count + 1) % BATCH
        return count > 0

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Hold back messages: see :meth:`mqlight.connection.Connection.batch`."""
        me = get_ident()
        if me in self._batches:
            yield
            return
        self._batches[me] = 0
        try:
            yield
        finally:
            del self._batches[me]
            with self._lock:
                self.flush_soon()

    # Sending

    def flush_soon(self) -> None:
        """Send, or leave it to a thread that is about to send."""
        if self.entering and self._left < LEFT:
            self._left += 1
        elif self.crew.reader != get_ident():
            self.flush()

    def flush(self) -> None:
        """Send as much as the socket takes. If it is full, a helper thread sends the rest."""
        driver = self.driver
        self._left = 0
        try:
            if driver is not None and not self.full and not driver.flush():
                self.full = True
                if not self.crew.run(partial(self._drain, driver)):
                    self._undrained = True
                    self._timers.set(monotonic() + RETRY_DRAIN, self._try_again)
        except BaseException:
            self.tear()
            raise

    def _drain(self, driver: Driver) -> None:
        """Wait until the full socket takes more, and send on. A helper thread runs this."""
        while self.driver is driver and self.full:
            driver.wait_writable(1.0)
            with self._lock:
                if self.driver is driver and driver.flush():
                    self.full = False
                    self._status.notify()

    def _try_again(self) -> None:
        if self._undrained:
            self._undrained = self.full = False
            self.flush()
            self._status.notify()
