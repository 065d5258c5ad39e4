"""The errors of macaque: one root, and one class for each way in which a call can end without its result.

A misuse (an endpoint that is not a topic, data that JSON cannot represent) is a TypeError or ValueError, raised at
once. Every other failure of a call is one of the classes here. Each error reads as a sentence, carries the figures of
that sentence as attributes, and survives pickling.
"""

from __future__ import annotations

import sys
from concurrent.futures import CancelledError
from typing import Any, NoReturn

if sys.version_info >= (3, 11):
    _TIMEOUTS: tuple[type[Exception], ...] = (TimeoutError,)
else:  # these became the builtin TimeoutError in Python 3.11
    import asyncio
    import concurrent.futures

    _TIMEOUTS = (TimeoutError, concurrent.futures.TimeoutError, asyncio.TimeoutError)

__all__ = [
    "Abort",
    "Cancelled",
    "ConnectionLost",
    "MacaqueError",
    "NoResponders",
    "RemoteError",
    "StreamBroken",
    "Timeout",
    "abort",
    "lost",
    "refusal",
]


class MacaqueError(Exception):
    """The root of every error that this package raises itself."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[MacaqueError], args: tuple[Any, ...], attributes: dict[str, Any]) -> MacaqueError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(attributes)
    return error


class RemoteError(MacaqueError):
    """The service replied with an error, or the broker did not accept the request.

    Attributes:
        code: the code that the service gave to `abort`; 500 for an exception in the service, 504 if it exceeded its
            timeout, 400 if the data could not be decoded, "exit" if it called `exit()`, "undeliverable" if it failed
            every delivery attempt. From the broker: 403 not allowed, 413 too large, 503 queue full, 502 anything else.
            From the caller's own end: "misfit" if the result does not fit the type that it wants, "unreadable" if the
            reply cannot be decoded.
        message: the error message of the service or the broker.
        type: the class of the exception in the service, or the AMQP condition that the broker gave; None from `abort`.
        details: the JSON value that the service added.
        retryable: whether the same call may succeed later.
        traceback: the traceback of the exception in the service, if the service runs with debug=True.
    """

    def __init__(
        self,
        code: int | str,
        message: str,
        type: str | None = None,
        details: Any = None,
        retryable: bool = False,
        traceback: str | None = None,
    ) -> None:
        said = message or "the service gave no reason"
        super().__init__(f"{said} (code {code})" if type is None else f"{type}: {said} (code {code})")
        self.code = code
        self.message = message
        self.type = type
        self.details = details
        self.retryable = retryable
        self.traceback = traceback
        if traceback is not None:  # Python 3.11 and later print it below the error
            self.__notes__ = [f"In the service:\n{traceback}"]


_REFUSALS = {
    "amqp:resource-limit-exceeded": (503, True),
    "amqp:modified": (503, True),
    "amqp:link:message-size-exceeded": (413, False),
    "amqp:not-allowed": (403, False),
    "amqp:unauthorized-access": (403, False),
}


def refusal(condition: str, description: str) -> RemoteError:
    """Return the error for a request that the broker did not accept, by its AMQP `condition` and `description`."""
    code, retryable = _REFUSALS.get(condition, (502, False))
    return RemoteError(code, f"The broker did not accept the request: {description}", condition, None, retryable)


class NoResponders(MacaqueError):
    """No service is subscribed to the topic, so there will be no reply. The caller gets this error at once.

    Attributes:
        topic: the topic that was called.
    """

    def __init__(self, topic: str) -> None:
        super().__init__(f"No service listens on the topic {topic!r}: start it, or check the spelling.")
        self.topic = topic


class Timeout(MacaqueError, *_TIMEOUTS):  # type: ignore[misc]  # the bases are known when the program runs
    """No reply came by the deadline of the call. The service may have done its work.

    It is a `TimeoutError`, and on Python 3.10 also the `TimeoutError` of `asyncio` and of `concurrent.futures`.

    Attributes:
        topic: the topic that was called.
        timeout: the timeout of the call, in seconds.
    """

    def __init__(self, message: str, *, topic: str | None = None, timeout: float | None = None) -> None:
        super().__init__(message)
        self.topic = topic
        self.timeout = timeout


class Cancelled(MacaqueError, CancelledError):
    """The call was cancelled, by `cancel()` or because the task that awaited it was cancelled.

    It is a `concurrent.futures.CancelledError`. The cancelled task itself gets its `asyncio.CancelledError`.

    Attributes:
        topic: the topic that was called.
    """

    def __init__(self, topic: str) -> None:
        super().__init__(f"The call of {topic!r} was cancelled.")
        self.topic = topic


class StreamBroken(MacaqueError):
    """Parts of a stream are missing: its worker or connection was lost. The parts before were given out.

    Attributes:
        topic: the topic of the service.
        received: the number of parts that came.
    """

    def __init__(self, message: str, *, topic: str | None = None, received: int = 0) -> None:
        super().__init__(message)
        self.topic = topic
        self.received = received


class ConnectionLost(MacaqueError, ConnectionError):
    """There is no connection to the broker, or it ended before the reply came.

    Attributes:
        url: the broker, without the password; None if it is not known.
        reason: the cause of the failure.
    """

    def __init__(self, message: str, *, url: str | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.reason = reason


def lost(error: Exception | None, url: str | None = None) -> ConnectionLost:
    """Return the error of an application for an error of its connection; None if the broker does not answer.

    Args:
        url: the address of the broker, if the error does not name it.
    """
    reason = "it does not answer" if error is None else str(error)
    url = getattr(error, "url", None) or url
    return ConnectionLost(f"No connection to the broker: {reason}", url=url, reason=reason)


class Abort(MacaqueError):
    """The exception of `abort`. It becomes the error of the reply, and is logged on one line without a traceback."""

    def __init__(self, code: int | str, message: str, details: Any = None, retryable: bool = False) -> None:
        if isinstance(code, bool) or not isinstance(code, (int, str)):
            raise TypeError(f"The code of abort is {code!r}; give an int such as 404, or a str.")
        if not isinstance(message, str):
            raise TypeError(f"The message of abort is {message!r}; give a sentence, and put data into details.")
        super().__init__(f"{message} (code {code})")
        self.code = code
        self.message = message
        self.details = details
        self.retryable = bool(retryable)


def abort(code: int | str, message: str, details: Any = None, retryable: bool = False) -> NoReturn:
    """End a service's function with an error that its caller gets as RemoteError: `abort(404, "no such task")`.

    Args:
        code: a number, usually one of HTTP's, or a name.
        message: a sentence for people.
        details: data for programs, any value that JSON can carry.
        retryable: whether the same call may succeed later.
    """
    raise Abort(code, message, details, retryable)
