"""One call: the object that the caller keeps until the reply arrives.

The rules of this file:

* A call ends once, by the code that took it out of the pending calls. After that it does not change.
* The user's functions run in the caller's own thread or where the client runs callbacks, never where the call ends.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from macaque.arguments import check_callback
from macaque.cycles import told_of_waits
from mqlight.amqp.types import Condition, Outcome
from mqlight.log import Log

__all__ = ["Call", "Gathering", "Home", "Notice"]

log = Log(__name__)

GRACE = 0.25
"""Seconds after its deadline at which a waiting thread ends a call itself, in case the connection's clock is late."""

_ACCEPTED = Outcome.ACCEPTED  # looked up once, because looking up a member of an enum is slow
_changing = threading.Lock()
"""Held for a few instructions when a call ends or a wait begins. A common lock costs less than one for each call."""


def _after_fork() -> None:
    global _changing
    _changing = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


class Home(Protocol):
    """The part of a client's calls that one call uses."""

    def before_blocking(self) -> None:
        """Prepare for a wait of this thread."""

    def overtime(self, call: Call) -> None:
        """End a call whose deadline has passed."""

    def run(self, function: Callable[..., object], *args: Any) -> None:
        """Run a function of the user soon."""

    def requested(self, call: Call, outcome: Outcome, condition: Condition | None) -> None:
        """Take the outcome of a request that ends the call."""


class Call:
    """A future for the reply: wait with `result()` or `exception()`, or get a callback with `add_done_callback()`.

    Offers the consumer's half of `concurrent.futures.Future`. A call cannot be cancelled.
    """

    __slots__ = (
        "_callbacks",
        "_data",
        "_done",
        "_error",
        "_home",
        "_wakeup",
        "accepted",
        "callback",
        "deadline",
        "on_error",
        "timeout",
        "topic",
        "uuid",
    )

    waits_for_reply = True
    """Whether a service ends the call, and not the broker."""

    def __init__(
        self,
        home: Home,
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
        """The timeout of the call, in seconds."""
        self.deadline = deadline
        """The time at which the timeout is over, in seconds of the monotonic clock."""
        self.accepted = False
        """Whether the broker has accepted the request."""
        self.callback = callback
        self.on_error = on_error
        self._home = home
        self._data: Any = None
        self._error: Exception | None = None
        self._done = False
        self._wakeup: Any = None
        self._callbacks: list[Callable[[Call], object]] | None = None

    def __repr__(self) -> str:
        state = "pending" if not self._done else "returned" if self._error is None else type(self._error).__name__
        return f"<Call {self.uuid} of {self.topic!r}: {state}>"

    def done(self) -> bool:
        """Return whether the call has ended."""
        return self._done

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the reply and return its data.

        Args:
            timeout: seconds to wait; None waits for the deadline of the call.

        Raises:
            RemoteError, NoResponders, Timeout, ConnectionLost: the error with which the call ended.
            TimeoutError: the call has not ended within `timeout` seconds. It goes on.
        """
        if not self._done:
            self._wait(timeout)
        if self._error is not None:
            try:
                raise self._error
            finally:
                # The error keeps its traceback, which keeps this frame, which keeps the call with the error: a cycle.
                self = None  # type: ignore[assignment]
        return self._data

    def exception(self, timeout: float | None = None) -> Exception | None:
        """Wait for the end. Return the error, or None if there is a result. Raises TimeoutError as `result` does."""
        if not self._done:
            self._wait(timeout)
        return self._error

    def add_done_callback(self, function: Callable[[Call], object]) -> None:
        """Call `function(call)` where callbacks run when the call ends; call it now if the call has ended.

        Raises:
            TypeError: `function` is not a plain function.
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
        if about_to_wait is not None and self.waits_for_reply:
            about_to_wait(self.topic)
        self._home.before_blocking()
        own = max(0.0, self.deadline - monotonic()) + GRACE
        if timeout is None or timeout > own:
            if not wakeup.acquire(timeout=own):
                self._home.overtime(self)
                wakeup.acquire()  # the code that has taken the call out ends it now, in this thread or another
        elif not wakeup.acquire(timeout=max(timeout, 0.0)):
            raise TimeoutError(f"The call of {self.topic!r} has not ended within {timeout:g} s; it goes on.")
        wakeup.release()  # another thread may be waiting too

    # For the calls of the client. These functions run under the connection's lock, so they are short.

    @property
    def tells(self) -> bool:
        """Whether a function of the user is called for a reply."""
        return self.callback is not None or self.on_error is not None

    def on_outcome(self, outcome: Outcome, condition: Condition | None) -> None:
        """Take the outcome of the request."""
        if outcome is _ACCEPTED:
            self.accepted = True
        else:
            self._home.requested(self, outcome, condition)

    def on_reply(self, data: Any, error: Exception | None) -> bool:
        """Take a reply. Return whether the call has ended with this reply."""
        self.end(data, error)
        return True

    def end(self, data: Any, error: Exception | None) -> None:
        """End the call with data or an error."""
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
                self._home.run(function, self)

    def tell(self, data: Any, error: Exception | None) -> None:
        """Call the user's function for a reply or an error."""
        if error is None:
            if self.callback is not None:
                self.callback(data)
        elif self.on_error is not None:
            self.on_error(error)
        else:
            log.error("the call of %r failed: %s", self.topic, error)

    def abandon(self, error: Exception) -> None:
        """End the call in the child of a fork. No function is called, and no thread waits."""
        self._error, self._done, self._callbacks = error, True, None


class Notice(Call):
    """A future for the broker's acceptance of a one-way message. Its result is None."""

    __slots__ = ()

    waits_for_reply = False

    def on_outcome(self, outcome: Outcome, condition: Condition | None) -> None:
        self._home.requested(self, outcome, condition)


class Gathering(Call):
    """A call whose `result()` is the list of all replies: their data, and a RemoteError for each error reply."""

    __slots__ = ("most", "replies")

    def __init__(self, most: int, *args: Any) -> None:
        super().__init__(*args)
        self.most = most
        self.replies: list[Any] = []

    def on_reply(self, data: Any, error: Exception | None) -> bool:
        self.replies.append(data if error is None else error)
        return False  # the client ends the call after the user's function has got this reply
