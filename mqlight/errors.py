"""The errors of the MQ Light API: one root, and one class for each possible reaction of the caller.

A misuse (wrong argument, wrong state) is raised at once, in the caller's thread. A failure of the connection arrives as
an argument of a callback (`on_state_changed`, `on_sent`, ...) or from `Connection.wait_started`.
Every error reads as a sentence and carries the figures of that sentence as attributes. An attribute is None if its
value is not known where the error is made. No error contains a password.
"""

from __future__ import annotations

from mqlight.amqp.types import Condition, Outcome

__all__ = [
    "InternalError",
    "InvalidArgumentError",
    "MQLightError",
    "NetworkError",
    "NoRoomError",
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


class NoRoomError(MQLightError, TimeoutError):
    """There was no room to send a message in time. No other TimeoutError means that, least of all one that a signal's
    handler raises while a message is sent.
    """


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


# The error for a condition (MQ Light contract, 8), and the error if the condition is about one message.
_KINDS: dict[str, type[SecurityError] | type[NotPermittedError]] = {
    "amqp:unauthorized-access": SecurityError,
    "amqp:not-allowed": NotPermittedError,
    "amqp:precondition-failed": NotPermittedError,
    "amqp:not-implemented": NotPermittedError,
}
_KINDS_OF_MESSAGES = _KINDS | {
    "amqp:resource-limit-exceeded": NotPermittedError,
    "amqp:link:message-size-exceeded": NotPermittedError,
}


def error_of(condition: Condition | None) -> MQLightError:
    """Return the error for a condition that ended a connection or a subscription."""
    if condition is None:
        return NetworkError("the server closed the connection")
    name, description = condition
    if name == "amqp:link:stolen" or "_Takeover" in description:
        return ReplacedError(f"another client connected with the same client id: {condition}")
    kind = _KINDS.get(name)
    if kind is SecurityError or any(mark in description for mark in ("sasl ", "SSL ", " 2035 ")):
        return SecurityError(f"the server refused this client: {condition}")
    if kind is NotPermittedError or "_InvalidSource" in description:
        return NotPermittedError(f"the server refused the request: {condition}")
    return NetworkError(str(condition))


def error_of_message(outcome: Outcome, condition: Condition | None) -> MQLightError | None:
    """Return the error for the outcome of a message, None if it was accepted.

    In MQ Light a rejection's description is the text of the error.
    """
    if outcome is Outcome.ACCEPTED:
        return None
    said = f"the server {outcome.name.lower()} the message"
    if condition is None:
        return MQLightError(said)
    name, description = condition
    if name == "amqp:connection:forced":
        return StoppedError(f"the message was not sent: {description}")
    text, kind = description or f"{said}: {name}", _KINDS_OF_MESSAGES.get(name)
    return MQLightError(text) if kind is None else kind(text, condition=name)
