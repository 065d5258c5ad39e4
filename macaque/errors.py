"""The errors of macaque: one root, and one class for each way in which a call can end without its result.

A misuse (an endpoint that is no topic, data that JSON has no place for) is a TypeError or ValueError, raised where it
is made. Everything else that can happen to a call is one of the classes here. Each reads as a sentence, carries the
figures of that sentence as attributes, and survives pickling.
"""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["Abort", "ConnectionLost", "MacaqueError", "NoResponders", "RemoteError", "Timeout", "abort"]


class MacaqueError(Exception):
    """Root of every error that this package raises on its own account."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[MacaqueError], args: tuple[Any, ...], attributes: dict[str, Any]) -> MacaqueError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(attributes)
    return error


class RemoteError(MacaqueError):
    """The service answered with an error, or the server would not take the request.

    Attributes:
        code: what the service gave to `abort`; 500 for an exception in it, 504 when it was not done within its timeout,
            400 when the data could not be decoded, "exit" when it called `exit()`, "undeliverable" when it failed every
            delivery attempt. From the server: 403 not allowed, 413 too large, 503 its queue is full, 502 anything else.
        message: the sentence of the one who failed.
        type: the class of the exception in the service, or the AMQP condition that the server gave; None from `abort`.
        details: what the service added, as JSON has it.
        retryable: whether the same call may succeed later.
        traceback: where the service failed, if it runs with debug=True.
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

    @classmethod
    def refused(cls, condition: str, description: str) -> RemoteError:
        """What the caller gets when the server does not take the request, by the AMQP condition that it gave."""
        code, retryable = _REFUSALS.get(condition, (502, False))
        return cls(code, f"The server did not take the request: {description}", condition, None, retryable)


_REFUSALS = {
    "amqp:resource-limit-exceeded": (503, True),
    "amqp:modified": (503, True),
    "amqp:link:message-size-exceeded": (413, False),
    "amqp:not-allowed": (403, False),
    "amqp:unauthorized-access": (403, False),
}


class NoResponders(MacaqueError):
    """Nobody listens on the topic, so nobody will answer. The caller learns it at once.

    Attributes:
        topic: the endpoint that was called.
    """

    def __init__(self, topic: str) -> None:
        super().__init__(f"Nobody listens on the topic {topic!r}: start its service, or check the spelling.")
        self.topic = topic


class Timeout(MacaqueError, TimeoutError):
    """The request went out, and no answer came by the deadline of the call. The service may have done its work.

    Attributes:
        topic: the endpoint that was called.
        timeout: the seconds that the call had.
    """

    def __init__(self, message: str, *, topic: str | None = None, timeout: float | None = None) -> None:
        super().__init__(message)
        self.topic = topic
        self.timeout = timeout


class ConnectionLost(MacaqueError, ConnectionError):
    """There is no connection to the messaging server, or it ended before the answer came.

    Attributes:
        url: the server, without its password; None where that is not known.
        reason: what happened to the connection.
    """

    def __init__(self, message: str, *, url: str | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.reason = reason


class Abort(MacaqueError):
    """What `abort` raises. The server makes it the error of the reply, and logs a line without a traceback."""

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
        code: a number, by custom one of HTTP's, or a name.
        message: a sentence for people.
        details: data for programs, anything that JSON has.
        retryable: whether the same call may succeed later.
    """
    raise Abort(code, message, details, retryable)
