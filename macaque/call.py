"""One call: the object that the caller keeps until the reply arrives.

The rules of this file:

* A call ends once, by the code that took it out of the pending calls. After that it does not change.
* The user's functions run in the caller's own thread or where the client runs callbacks, never where the call ends.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol

from macaque.aio import Wakeup
from macaque.arguments import check_callback
from macaque.context import current
from macaque.errors import Cancelled, RemoteError
from macaque.typed import Type, told
from mqlight.amqp.types import Condition, Outcome
from mqlight.log import Log

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["MISFIT", "Call", "Gathering", "Home", "Notice", "TypedCall", "misfit"]

log = Log(__name__)

GRACE = 0.25
"""Seconds after its deadline at which a waiting thread ends a call itself, in case the connection's clock is late."""

MISFIT = "misfit"
"""The error code if the result of a service does not fit the type that its caller wants."""

_ACCEPTED = Outcome.ACCEPTED  # looked up once, because looking up a member of an enum is slow
_changing = threading.Lock()
"""Held for a few instructions when a call ends or a wait begins. A common lock costs less than one for each call."""


def _after_fork() -> None:
    global _changing
    _changing = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


class Home(Protocol):
    """The part of a client's calls that one call uses."""

    def now(self) -> float:
        """Return the time in seconds, by the clock of the deadlines."""

    def wait(self, lock: threading.Lock, seconds: float) -> bool:
        """Acquire a lock that the end of the call releases. Return False after `seconds`."""

    def overtime(self, call: Call) -> None:
        """End a call whose deadline has passed."""

    def cancel(self, call: Call) -> bool:
        """End a call in Cancelled. Return False if it has ended."""

    def wakeup(self) -> Wakeup:
        """Return a wakeup of a task of the running event loop."""

    def future(self, call: Call) -> Future[Any]:
        """Return a future that ends as a call does."""

    def run(self, function: Callable[..., object], *args: Any) -> None:
        """Run a function of the user soon."""

    def requested(self, call: Call, outcome: Outcome, condition: Condition | None) -> None:
        """Take the outcome of a request that ends the call."""


class Call(Generic[T]):
    """A future for the reply: `await` it, wait with `result()`, or get a callback with `add_done_callback()`.

    Any task of any event loop may await it, and any thread may wait for it. If a task is cancelled while it awaits the
    call, the call is cancelled. `future()` returns a `concurrent.futures.Future`.
    """

    __slots__ = (
        "_accepted",
        "_began",
        "_callbacks",
        "_data",
        "_done",
        "_error",
        "_home",
        "_on_error",
        "_on_result",
        "_wakeup",
        "deadline",
        "timeout",
        "topic",
        "uuid",
    )

    _control = ""
    """The topic to which the call is cancelled, empty for that of its service."""
    _waits_for_reply = True
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
        """The id of the request, which its reply repeats."""
        self.topic = topic
        """The topic of the service."""
        self.timeout = timeout
        """The timeout of the call, in seconds."""
        self.deadline = deadline
        """The time at which the timeout is over, in seconds of the clock of the transport."""
        self._began = 0.0
        """The time of the request, in seconds since 1970."""
        self._accepted = False
        """Whether the broker has accepted the request."""
        self._on_result = callback
        self._on_error = on_error
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

    def result(self, timeout: float | None = None) -> T:
        """Wait for the reply and return its data.

        Args:
            timeout: seconds to wait; None waits for the deadline of the call.

        Raises:
            RemoteError, NoResponders, Timeout, ConnectionLost, Cancelled: the error with which the call ended.
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
        return self._data  # type: ignore[no-any-return]

    def exception(self, timeout: float | None = None) -> Exception | None:
        """Wait for the end. Return the error, or None if there is a result.

        Args:
            timeout: seconds to wait; None waits for the deadline of the call.

        Raises:
            TimeoutError: the call has not ended within `timeout` seconds. It goes on.
        """
        if not self._done:
            self._wait(timeout)
        return self._error

    def add_done_callback(self, function: Callable[[Call[T]], object]) -> None:
        """Call `function(call)` where callbacks run when the call ends; call it now if the call has ended.

        Raises:
            TypeError: `function` is not a plain function.
        """
        check_callback(function)
        if not self._at_end(partial(self._home.run, function)):
            function(self)

    def cancel(self) -> bool:
        """End the call in Cancelled, now. Return whether this has ended it: False if it has ended before.

        A reply that comes later is dropped. A message tells the service, best effort.
        """
        return self._home.cancel(self)

    def cancelled(self) -> bool:
        """Return whether the call was cancelled."""
        return isinstance(self._error, Cancelled)

    def future(self) -> Future[T]:
        """Return a `concurrent.futures.Future` that ends as this call does. To cancel it is to cancel the call.

        It works with `concurrent.futures.wait` and `as_completed`, and with `asyncio.wrap_future`.
        """
        return self._home.future(self)

    def __await__(self) -> Generator[Any, None, T]:
        if not self._done:
            work = current.get()
            if work is not None and self._waits_for_reply:
                work.home.about_to_wait(self.topic)
            wakeup = self._home.wakeup()
            if self._at_end(wakeup):
                try:
                    yield from wakeup.__await__()
                finally:
                    if not self._done:  # the task was cancelled, or its coroutine closed
                        self.cancel()
            else:
                wakeup()  # no task waits for it
        return self.result()

    def _wait(self, timeout: float | None) -> None:
        with _changing:
            if self._done:
                return
            wakeup = self._wakeup
            if wakeup is None:
                wakeup = self._wakeup = threading.Lock()
                wakeup.acquire()
        work = current.get()
        if work is not None and self._waits_for_reply:
            work.home.about_to_wait(self.topic)
        home = self._home
        own = max(0.0, self.deadline - home.now()) + GRACE
        if timeout is None or timeout > own:
            if not home.wait(wakeup, own):
                home.overtime(self)
                wakeup.acquire()  # the code that has taken the call out ends it now, in this thread or another
        elif not home.wait(wakeup, max(timeout, 0.0)):
            raise TimeoutError(f"The call of {self.topic!r} has not ended within {timeout:g} s; it goes on.")
        wakeup.release()  # another thread may be waiting too

    # For this package alone. These functions run under the connection's lock, so they are short.

    def _at_end(self, function: Callable[[Call], object]) -> bool:
        """Call `function(call)` in the thread that ends the call. If it has ended, do nothing and return False."""
        with _changing:
            if self._done:
                return False
            if self._callbacks is None:
                self._callbacks = []
            self._callbacks.append(function)
            return True

    @property
    def _tells(self) -> bool:
        """Whether a function of the user is called for a reply."""
        return self._on_result is not None or self._on_error is not None

    def _on_outcome(self, outcome: Outcome, condition: Condition | None) -> None:
        """Take the outcome of the request."""
        if outcome is _ACCEPTED:
            self._accepted = True
        else:
            self._home.requested(self, outcome, condition)

    def _on_reply(self, data: Any, error: Exception | None) -> bool:
        """Take a reply. Return whether the call has ended with this reply."""
        self._end(data, error)
        return True

    def _end(self, data: Any, error: Exception | None) -> None:
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
                function(self)

    def _tell(self, data: Any, error: Exception | None) -> None:
        """Call the user's function for a reply or an error."""
        if error is None:
            if self._on_result is not None:
                self._on_result(data)
        elif self._on_error is not None:
            self._on_error(error)
        elif not isinstance(error, Cancelled):
            log.error("the call of %r failed: %s", self.topic, error)

    def _abandon(self, error: Exception) -> None:
        """End the call in the child of a fork. No function is called, and no thread waits."""
        self._error, self._done, self._callbacks = error, True, None


class Notice(Call[None]):
    """A future for the broker's acceptance of a one-way message. Its result is None."""

    __slots__ = ()

    _waits_for_reply = False

    def _on_outcome(self, outcome: Outcome, condition: Condition | None) -> None:
        self._home.requested(self, outcome, condition)


class TypedCall(Call[T]):
    """A call whose result is converted to a type, where the application takes it and not where the call ends.

    If the result does not fit the type, the call ends in RemoteError with the code MISFIT.
    """

    __slots__ = ("_plain", "_type")

    def __init__(self, wanted: Type | None, *args: Any) -> None:
        super().__init__(*args)
        self._type = wanted
        self._plain = wanted is not None
        """Whether the result has to be converted."""

    def result(self, timeout: float | None = None) -> T:
        self.exception(timeout)
        return super().result()

    def exception(self, timeout: float | None = None) -> Exception | None:
        super().exception(timeout)
        with _changing:
            plain, data = self._plain, self._data
        if plain and self._error is None:
            data, error = self._converted(data)
            with _changing:
                if self._plain:  # another thread may have converted it meanwhile
                    self._plain, self._data, self._error = False, data, error
        return self._error

    def _converted(self, data: Any) -> tuple[Any, Exception | None]:
        """Return data in the type, or the error if it does not fit."""
        if self._type is None:
            return data, None
        try:
            return self._type.from_plain(data), None
        except ValueError as wrong:
            return None, misfit(self._type, wrong, "result", self.topic)

    def _tell(self, data: Any, error: Exception | None) -> None:
        error = self.exception()
        super()._tell(self._data, error)


class Gathering(TypedCall[list[Any]]):
    """A call whose `result()` is the list of all replies.

    The list has the data of each reply, or a RemoteError for an error reply and for data that does not fit the type.
    """

    __slots__ = ("_most", "_replies")

    def __init__(self, most: int, wanted: Type | None, *args: Any) -> None:
        super().__init__(wanted, *args)
        self._most = most
        self._replies: list[Any] = []

    def _on_reply(self, data: Any, error: Exception | None) -> bool:
        self._replies.append(data if error is None else error)
        return False  # the client ends the call after the user's function has got this reply

    def _converted(self, data: Any) -> tuple[Any, Exception | None]:
        pairs = [
            (None, each) if isinstance(each, RemoteError) else super(Gathering, self)._converted(each) for each in data
        ]
        return [value if error is None else error for value, error in pairs], None

    def _tell(self, data: Any, error: Exception | None) -> None:
        if error is None:
            data, error = super()._converted(data)
        Call._tell(self, data, error)


def misfit(wanted: Type, wrong: ValueError, what: str, topic: str) -> RemoteError:
    """Return the error for a result, or part, that does not fit its type."""
    found = wanted.errors(wrong, what) or [{"path": what, "message": str(wrong)}]
    said = f"The {what} of {topic} does not fit {wanted.name}: {told(found)}"
    return RemoteError(MISFIT, said, None, {"errors": found})
