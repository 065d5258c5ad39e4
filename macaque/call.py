"""One call: what the caller holds on to until its reply is there.

The rules of this file:

* A call ends once, by whoever took it out of the pending calls, and stays as it ended.
* User functions run in the caller's own thread or where the client runs callbacks, never where the call is ended.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from macaque.cycles import told_of_waits
from mqlight.wire.functions import unrun

if TYPE_CHECKING:
    from macaque.client import Client
    from mqlight.amqp.types import Condition, Outcome

__all__ = ["Call", "Notice", "check_callback", "checked_timeout", "checked_uuid"]

MAX_TIMEOUT = 30 * 24 * 3600.0
"""Seconds: the MQ Light limit for the life of a message."""

MAX_UUID = 256

GRACE = 0.25
"""Seconds after its deadline at which a waiting thread ends a call itself: the connection's clock is late then."""

_changing = threading.Lock()
"""Held for a few instructions where a call ends or a wait begins: one for all costs less than one for each call."""


def _after_fork() -> None:
    global _changing
    _changing = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


class Call:
    """A future for the reply: wait with `result()` or `exception()`, or be told with `add_done_callback()`.

    It does what concurrent.futures.Future does for a consumer at a fifth of the cost; it cannot be cancelled, for the
    request is out.
    """

    __slots__ = (
        "_callbacks",
        "_client",
        "_data",
        "_done",
        "_error",
        "_wakeup",
        "accepted",
        "callback",
        "deadline",
        "on_error",
        "timeout",
        "topic",
        "uuid",
    )

    gathers = False
    """Whether it goes on after its first reply."""
    needs_a_service = True
    """Whether it ends by what a service does."""

    def __init__(
        self,
        client: Client,
        uuid: str,
        topic: str,
        timeout: float,
        deadline: float,
        callback: Callable[[Any], object] | None,
        on_error: Callable[[Exception], object] | None,
    ) -> None:
        self.uuid = uuid
        self.topic = topic
        self.timeout = timeout
        """Seconds that it was given."""
        self.deadline = deadline
        """When they are over, by the monotonic clock."""
        self.accepted = False
        """Whether the server has taken the request."""
        self.callback = callback
        self.on_error = on_error
        self._client = client
        self._data: Any = None
        self._error: Exception | None = None
        self._done = False
        self._wakeup: Any = None
        self._callbacks: list[Callable[[Call], object]] | None = None

    def __repr__(self) -> str:
        state = "pending" if not self._done else "returned" if self._error is None else type(self._error).__name__
        return f"<Call {self.uuid} of {self.topic!r}: {state}>"

    def done(self) -> bool:
        """Whether it has ended."""
        return self._done

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the reply and return its data.

        Args:
            timeout: seconds to wait; None waits for the deadline of the call.

        Raises:
            RemoteError, NoResponders, Timeout, ConnectionLost: how the call ended.
            TimeoutError: it has not ended within `timeout` seconds; it goes on.
        """
        if not self._done:
            self._wait(timeout)
        if self._error is not None:
            try:
                raise self._error
            finally:
                # The error keeps its traceback, that this frame, and this frame the call with the error: a cycle.
                self = None  # type: ignore[assignment]
        return self._data

    def exception(self, timeout: float | None = None) -> Exception | None:
        """Wait for the end; return the error, None if there is a result. Raises TimeoutError as `result` does."""
        if not self._done:
            self._wait(timeout)
        return self._error

    def add_done_callback(self, function: Callable[[Call], object]) -> None:
        """Have `function(call)` called at the end of the call, where callbacks run; or now, if that has been.

        Raises:
            TypeError: it is no plain function.
        """
        check_callback(function)
        with _changing:
            if not self._done:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(function)
                return
        function(self)

    def _wait(self, timeout: float | None) -> None:
        with _changing:
            if self._done:
                return
            wakeup = self._wakeup
            if wakeup is None:
                wakeup = self._wakeup = threading.Lock()
                wakeup.acquire()
        about_to_wait = told_of_waits.get(threading.get_ident())
        if about_to_wait is not None and self.needs_a_service:
            about_to_wait(self.topic)
        self._client._before_blocking()
        own = max(0.0, self.deadline - monotonic()) + GRACE
        if timeout is None or timeout > own:
            if not wakeup.acquire(timeout=own):
                self._client._overtime(self)
                wakeup.acquire()  # this thread or another has taken it out, and ends it now
        elif not wakeup.acquire(timeout=max(timeout, 0.0)):
            raise TimeoutError(f"The call of {self.topic!r} has not ended within {timeout:g} s; it goes on.")
        wakeup.release()  # somebody else may wait as well

    # For the client

    def _forget(self, error: Exception) -> None:
        """In the child of a fork: it has ended here, and nobody is told but who asks."""
        self._error, self._done, self._callbacks = error, True, None

    def _end(self, data: Any, error: Exception | None) -> None:
        """The call is over, with data or an error. Short, and safe to call under the connection's lock."""
        with _changing:
            self._data = data
            self._error = error
            self._done = True
            wakeup = self._wakeup
            callbacks = self._callbacks
        if wakeup is not None:
            wakeup.release()
        if callbacks is not None:
            for function in callbacks:
                self._client._run(function, self)

    def _on_outcome(self, outcome: Outcome, condition: Condition | None) -> None:
        """What became of the request, told by the connection."""
        self._client._requested(self, outcome, condition)


class Notice(Call):
    """A future for the news that the server has taken a one-way message: its result is None."""

    __slots__ = ()

    needs_a_service = False

    def _on_outcome(self, outcome: Outcome, condition: Condition | None) -> None:
        self._client._notified(self, outcome, condition)


def check_callback(function: object) -> None:
    """Raise TypeError for a callback whose call would run nothing."""
    if not callable(function):
        raise TypeError(f"The callback {function!r} is not a function.")
    kind = unrun(function)
    if kind is not None:
        raise TypeError(f"The callback {function!r} is {kind}, so a call of it runs nothing: write a plain one.")


def checked_uuid(uuid: object) -> str:
    """The id that a call is given by its caller. Raises TypeError or ValueError for what it cannot be."""
    if not isinstance(uuid, str):
        raise TypeError(f"The uuid {uuid!r} is not a str.")
    if not 0 < len(uuid) <= MAX_UUID or not uuid.isprintable():
        raise ValueError(f"The uuid {uuid[:80]!r} needs 1 to {MAX_UUID} characters that can be printed.")
    return uuid


def checked_timeout(timeout: object, what: str = "timeout") -> float:
    """The seconds that a call is given. Raises TypeError or ValueError for what they cannot be."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"The {what} {timeout!r} is not a number of seconds.")
    if not 0 < timeout <= MAX_TIMEOUT:
        raise ValueError(f"The {what} {timeout!r} is not between 0 and {MAX_TIMEOUT:.0f} seconds.")
    return float(timeout)
