"""The errors of the MQ Light API: one root, and one class for each possible reaction of the caller.

A misuse (wrong argument, wrong state) is raised at once, in the caller's thread. A failure of the connection arrives as
an argument of a callback (`on_state_changed`, `on_sent`, ...) or from `Connection.wait_started`.
Every error reads as a sentence and carries the figures of that sentence as attributes. An attribute is None if its
value is not known where the error is made. No error contains a password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mqlight.amqp.types import Condition

__all__ = [
    "InternalError",
    "InvalidArgumentError",
    "MQLightError",
    "NetworkError",
    "NotPermittedError",
    "RangeError",
    "ReplacedError",
    "SecurityError",
    "StoppedError",
    "SubscribedError",
    "UnsubscribedError",
]


class MQLightError(Exception):
    """The root of every error that this package raises itself."""


class InvalidArgumentError(MQLightError, ValueError):
    """An argument has a value that can never work, such as a client id with a colon in it.

    Attributes:
        argument: name of the argument or option.
        value: the value that was given; None if it is a secret.
    """

    def __init__(self, message: str, *, argument: str | None = None, value: object = None) -> None:
        super().__init__(message)
        self.argument = argument
        self.value = value


class RangeError(MQLightError, ValueError):
    """A number is outside its allowed range: qos, ttl (milliseconds), credit (messages).

    A sender also gets this error when the server refuses one message for its size or its time to live.

    Attributes:
        argument: name of the argument or option.
        value: the value that was given.
    """

    def __init__(self, message: str, *, argument: str | None = None, value: object = None) -> None:
        super().__init__(message)
        self.argument = argument
        self.value = value


class NetworkError(MQLightError, ConnectionError):
    """The server, or the lookup URL that names it, cannot be reached, or the connection was lost. The client retries.

    Attributes:
        url: the address that failed, without its password.
        condition: the AMQP error condition that the server gave, such as `amqp:connection:forced`.
    """

    def __init__(self, message: str, *, url: str | None = None, condition: str | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.condition = condition


class SecurityError(MQLightError):
    """Authentication, authorisation or TLS failed. A new attempt would fail again, so the client stops.

    Attributes:
        url: the address that refused the client, without its password.
        condition: the AMQP error condition that the server gave, if there was one.
    """

    def __init__(self, message: str, *, url: str | None = None, condition: str | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.condition = condition


class ReplacedError(MQLightError):
    """Another client has connected with the same client id and replaced this one. The client stops.

    Attributes:
        client_id: the id of both clients.
    """

    def __init__(self, message: str, *, client_id: str | None = None) -> None:
        super().__init__(message)
        self.client_id = client_id


class NotPermittedError(MQLightError):
    """The server understood the request and refused it, for example a subscription that exceeds its limits.

    Attributes:
        condition: the AMQP error condition that the server gave, such as `amqp:not-allowed`.
        topic: the topic or topic pattern of the request.
    """

    def __init__(self, message: str, *, condition: str | None = None, topic: str | None = None) -> None:
        super().__init__(message)
        self.condition = condition
        self.topic = topic


class StoppedError(MQLightError):
    """The request needs a client that is started, starting or retrying, and this client is stopped or stopping.

    Attributes:
        client_id: the id of the client.
    """

    def __init__(self, message: str, *, client_id: str | None = None) -> None:
        super().__init__(message)
        self.client_id = client_id


class SubscribedError(MQLightError):
    """The client already subscribes to this pattern with this share.

    Attributes:
        topic_pattern: the requested pattern.
        share: the requested share, None when private.
    """

    def __init__(self, message: str, *, topic_pattern: str | None = None, share: str | None = None) -> None:
        super().__init__(message)
        self.topic_pattern = topic_pattern
        self.share = share


class UnsubscribedError(MQLightError):
    """The client does not subscribe to this pattern with this share.

    Attributes:
        topic_pattern: the requested pattern.
        share: the requested share, None when private.
    """

    def __init__(self, message: str, *, topic_pattern: str | None = None, share: str | None = None) -> None:
        super().__init__(message)
        self.topic_pattern = topic_pattern
        self.share = share


class InternalError(MQLightError):
    """A fault in this package. Please report it, with the traceback."""


def error_of(condition: Condition | None) -> MQLightError:
    """Return the error that an AMQP condition means to an application (MQ Light contract, 8)."""
    if condition is None:
        return NetworkError("the server closed the connection")
    name, description = condition
    if name == "amqp:link:stolen" or "_Takeover" in description:
        return ReplacedError(f"another client took this client's id over: {condition}")
    if name == "amqp:unauthorized-access" or any(mark in description for mark in ("sasl ", "SSL ", " 2035 ")):
        return SecurityError(f"the server does not let this client in: {condition}")
    if (
        name in ("amqp:not-allowed", "amqp:precondition-failed", "amqp:not-implemented")
        or "_InvalidSource" in description
    ):
        return NotPermittedError(f"the server does not permit this: {condition}")
    return NetworkError(str(condition))
