"""The wait of calls that cannot be sent at once, because too many are in flight or the transport is full.

The rules of this file:

* A thread waits until there is room, or until the deadline of its call.
* A thread that runs an event loop never waits. Its call is parked, and a lane sends it when there is room.
* A call that waits may end at any time: by its deadline, by `cancel`, or with the client. Then it is not sent.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sized
from typing import Any, Protocol

from macaque.call import Call
from macaque.errors import MacaqueError
from macaque.pending import Added, Pending
from macaque.transport import Transport
from mqlight.errors import NoRoomError, StoppedError

__all__ = ["Room", "in_event_loop"]

_ADDED = Added.YES


class Owing(Protocol):
    """The callbacks that have not returned."""

    @property
    def owed(self) -> Sized: ...


class Home(Protocol):
    """The calls of the client."""

    closed: bool

    @property
    def callbacks(self) -> Owing: ...

    def overdue(self, call: Call) -> MacaqueError: ...
    def turned_away(self, call: Call) -> MacaqueError: ...
    def returned(self, call: Call) -> None: ...
    def end(self, call: Call, data: Any, error: Exception | None) -> None: ...


class Room:
    """Room for the calls of one client.

    Args:
        pending: the calls in flight.
        maximum: the most callbacks that have not returned.
    """

    def __init__(self, home: Home, transport: Transport, pending: Pending[Call], maximum: int) -> None:
        self.wanted = 0
        """The number of threads that wait. If it is not 0, `notify` must be called when there is room."""
        self.parked: Pending[Call] = Pending(sys.maxsize)
        self._home = home
        self._transport = transport
        self._pending = pending
        self._maximum = maximum
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._lane = transport.lane(1)

    def notify(self) -> None:
        """Let the waiting threads look again."""
        with self._lock:
            self._changed.notify_all()

    def wait(self, call: Call) -> bool:
        """Wait for a place among the pending calls. Return True if the call is parked instead.

        Raises:
            ValueError: a call with the same uuid has not ended.
            Timeout, ConnectionLost: there was no room before the call's deadline, or the client was closed.
        """
        added = parked = False

        def add() -> bool:
            nonlocal added
            if self._home.closed or self._owes_too_much():
                return self._home.closed
            answer = self._pending.add(call)
            if answer is Added.TAKEN or call.uuid in self.parked:
                raise _taken(call)
            added = answer is _ADDED
            return added

        with self._lock:
            self.wanted += 1
            try:
                if not add():
                    if in_event_loop():
                        parked = self.parked.add(call) is _ADDED
                    else:
                        self._transport.before_blocking()
                        self._changed.wait_for(add, call.deadline - self._transport.now())
            finally:
                self.wanted -= 1
                if not added and not parked:
                    self._home.returned(call)
        if not added and not parked:
            raise self._home.turned_away(call)
        return parked

    def send_later(self, call: Call, message: bytes) -> None:
        """Send a parked call when there is room."""
        self._lane.submit(self._admit, call, message)

    def publish(self, call: Call, message: bytes) -> None:
        """Send the request of a pending call when the transport has room. Raises the error of a call that ends."""
        if in_event_loop():
            self._lane.submit(self._publish_late, call, message)
            return
        error = self._publish(call, message)
        if error is not None:
            self._home.returned(call)
            raise error

    def _owes_too_much(self) -> bool:
        return len(self._home.callbacks.owed) > self._maximum

    def _admit(self, call: Call, message: bytes) -> None:
        """Wait for a place for a parked call. Runs in the lane."""
        answer: Added | None = None

        def add() -> bool:
            nonlocal answer
            if not call.done() and not self._owes_too_much():
                answer = self._pending.add(call)
            return call.done() or answer in (_ADDED, Added.TAKEN)

        self._transport.before_blocking()
        with self._lock:
            self.wanted += 1
            try:
                self._changed.wait_for(add, call.deadline - self._transport.now() + 1.0)
            finally:
                self.wanted -= 1
        if not self.parked.take(call):  # it has ended
            self._pending.take(call)
        elif answer is _ADDED:
            self._publish_late(call, message)
        else:
            self._home.end(call, None, _taken(call) if answer is Added.TAKEN else self._home.overdue(call))

    def _publish_late(self, call: Call, message: bytes) -> None:
        """Send a pending call. Runs in the lane."""
        error = None if call.done() else self._publish(call, message)
        if error is not None:
            call._end(None, error)
            self._home.returned(call)

    def _publish(self, call: Call, message: bytes) -> MacaqueError | None:
        """Send a pending call, and wait for room. If there is none in time, take the call out and return its error."""
        try:
            left = max(0.0, call.deadline - self._transport.now())
            self._transport.publish(call.topic, message, mandatory=True, on_outcome=call._on_outcome, timeout=left)
        except (NoRoomError, StoppedError) as error:
            if self._pending.take(call):
                turned_away = self._home.turned_away(call)
                turned_away.__cause__ = error
                return turned_away
        return None


def in_event_loop() -> bool:
    """Return whether this thread runs an event loop of asyncio, which must never wait."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def _taken(call: Call) -> ValueError:
    return ValueError(f"A call with the uuid {call.uuid!r} has not ended yet: wait for it before you repeat it.")
