"""The errors of the MQ Light API: one root, and one class for each thing the caller can do about it.

A misuse (wrong argument, wrong state) is raised at once, in the caller's thread. What goes wrong on the
wire arrives as an argument of a callback (`on_state_changed`, `on_sent`, ...) or from `Connection.wait_started`.
Every error reads as a sentence and carries the figures of that sentence as attributes; an attribute that the
place of the error does not know is None. None of them ever holds a password.
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
    """Root of every error that this package raises on its own account."""


class InvalidArgumentError(MQLightError, ValueError):
    """An argument has a value that can never work, such as a client id with a colon in it.

    Attributes:
        argument: name of the argument or option.
        value: what was given; None where the value is a secret.
    """

    def __init__(self, message: str, *, argument: str | None = None, value: object = None) -> None:
        super().__init__(message)
        self.argument = argument
        self.value = value


class RangeError(MQLightError, ValueError):
    """A number is outside the range that it may have: qos, ttl (milliseconds), credit (messages).

    Also what a sender gets when the server refuses one message by its size or its time to live.

    Attributes:
        argument: name of the argument or option.
        value: what was given.
    """

    def __init__(self, message: str, *, argument: str | None = None, value: object = None) -> None:
        super().__init__(message)
        self.argument = argument
        self.value = value


class NetworkError(MQLightError, ConnectionError):
    """The server, or the lookup URL that names it, could not be reached, or was lost. The client tries again by itself.

    Attributes:
        url: the address that failed, without its password.
        condition: the AMQP error condition that the server gave, such as `amqp:connection:forced`.
    """

    def __init__(self, message: str, *, url: str | None = None, condition: str | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.condition = condition


class SecurityError(MQLightError):
    """Authentication, authorisation or TLS failed. Trying again would fail again, so the client stops.

    Attributes:
        url: the address that refused, without its password.
        condition: the AMQP error condition that the server gave, if it came that far.
    """

    def __init__(self, message: str, *, url: str | None = None, condition: str | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.condition = condition


class ReplacedError(MQLightError):
    """Another client has connected with the same client id and taken this one's place. The client stops.

    Attributes:
        client_id: the id that both use.
    """

    def __init__(self, message: str, *, client_id: str | None = None) -> None:
        super().__init__(message)
        self.client_id = client_id


class NotPermittedError(MQLightError):
    """The server understood the request and refuses it, for example a subscription that breaks its limits.

    Attributes:
        condition: the AMQP error condition that the server gave, such as `amqp:not-allowed`.
        topic: the topic or topic pattern that the request was about.
    """

    def __init__(self, message: str, *, condition: str | None = None, topic: str | None = None) -> None:
        super().__init__(message)
        self.condition = condition
        self.topic = topic


class StoppedError(MQLightError):
    """The request needs a client that is started or about to be, and this one is stopped or stopping.

    Attributes:
        client_id: the id of the client.
    """

    def __init__(self, message: str, *, client_id: str | None = None) -> None:
        super().__init__(message)
        self.client_id = client_id


class SubscribedError(MQLightError):
    """The client already subscribes to this pattern with this share.

    Attributes:
        topic_pattern: the pattern that was asked for.
        share: its share, None when private.
    """

    def __init__(self, message: str, *, topic_pattern: str | None = None, share: str | None = None) -> None:
        super().__init__(message)
        self.topic_pattern = topic_pattern
        self.share = share


class UnsubscribedError(MQLightError):
    """The client does not subscribe to this pattern with this share.

    Attributes:
        topic_pattern: the pattern that was named.
        share: its share, None when private.
    """

    def __init__(self, message: str, *, topic_pattern: str | None = None, share: str | None = None) -> None:
        super().__init__(message)
        self.topic_pattern = topic_pattern
        self.share = share


class InternalError(MQLightError):
    """A fault in this package. Please report it, with the traceback."""


def error_of(condition: Condition | None) -> MQLightError:
    """What an AMQP condition means to an application (wire contract 1.8)."""
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
