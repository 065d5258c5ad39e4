"""The checks of the arguments of the MQ Light API.

Each function takes a value from the application and returns it ready for use, or raises an error. Types, ranges and
messages are those of IBM's Python client, so that code written for that client works unchanged. Some values pass the
checks of that client and fail later: a float ttl, an empty client id, a lone surrogate. These checks refuse them at
once.
"""

from __future__ import annotations

import inspect
import operator
import re
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from mqlight.amqp.text import control_in, printable
from mqlight.errors import InvalidArgumentError, RangeError
from mqlight.functions import UNRUN, unrun

__all__ = [
    "MAX_CREDIT",
    "MAX_SEND_TTL",
    "QOS_AT_LEAST_ONCE",
    "QOS_AT_MOST_ONCE",
    "SendOptions",
    "SubscribeOptions",
    "auto_client_id",
    "callback",
    "client_id",
    "data",
    "send_options",
    "share",
    "subscribe_options",
    "topic",
    "topic_pattern",
    "unsubscribe_options",
]

QOS_AT_MOST_ONCE = 0
QOS_AT_LEAST_ONCE = 1

MAX_SEND_TTL = 30 * 24 * 60 * 60 * 1000
"""Milliseconds: MQ Light keeps a message for at most 30 days."""
MAX_SUBSCRIBE_TTL = 0xFFFFFFFF
"""Milliseconds: a larger value counts as this one."""
MAX_CREDIT = 0xFFFFFFFF
"""Messages: AMQP's link-credit is an unsigned 32-bit number."""
MAX_CLIENT_ID = 256

_FOREIGN_CHARACTER = re.compile(r"[^A-Za-z0-9%/._]")


class SendOptions(NamedTuple):
    """The checked options of `send`. `ttl` is in milliseconds; None means the server's default."""

    qos: int
    ttl: int | None


class SubscribeOptions(NamedTuple):
    """The checked options of `subscribe`. `ttl` is in milliseconds, `credit` in messages."""

    qos: int
    auto_confirm: bool
    ttl: int
    credit: int


def auto_client_id(number: int) -> str:
    """Return an id for a client without one: `AUTO_` and the last 7 hexadecimal digits of a random number."""
    return f"AUTO_{number & 0xFFFFFFF:07x}"


def client_id(value: object) -> str:
    """Return a client id: 1 to 256 letters, digits and `% / . _`.

    Raises:
        TypeError: the value is not a str.
        InvalidArgumentError: the id is empty or too long, or has another character.
    """
    if not isinstance(value, str):
        raise TypeError(f"the client id is of type {type(value).__name__}; give a str")
    if not value:
        raise _invalid("client_id", value, f"the client id is empty; give 1 to {MAX_CLIENT_ID} characters")
    if len(value) > MAX_CLIENT_ID:
        size = f"the client id {printable(value, 80)} has {len(value)} characters"
        raise _invalid("client_id", value, f"{size}; give at most {MAX_CLIENT_ID}")
    if foreign := _FOREIGN_CHARACTER.search(value):
        what = f"the client id {printable(value)} has the character {printable(foreign.group())!r}"
        raise _invalid("client_id", value, f"{what}; use letters, digits and % / . _")
    return value


def topic(value: object) -> str:
    """Return a topic to send to: any text that is not empty. Wildcards in it are ordinary characters.

    Raises:
        InvalidArgumentError: the value is no text, has a control character, or cannot be encoded as UTF-8.
    """
    return _address("topic", value)


def topic_pattern(value: object) -> str:
    """Return a topic pattern to subscribe to. The server decides whether its wildcards are valid.

    Raises:
        InvalidArgumentError: the value is no text, or cannot be encoded as UTF-8.
    """
    return _address("topic_pattern", value)


def _address(argument: str, value: object) -> str:
    if not isinstance(value, str):
        raise _invalid(argument, value, f"{argument} is of type {type(value).__name__}; give a str")
    if not value:
        raise _invalid(argument, value, f"{argument} is empty; give at least one character")
    return _encodable(argument, value)


def share(value: object) -> str | None:
    """Return the name of a shared destination, or None for a private one. The empty string also means private.

    Raises:
        InvalidArgumentError: the value is no text, has a colon, or cannot be encoded as UTF-8.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise _invalid("share", value, f"share is of type {type(value).__name__}; give a str or None")
    if ":" in value:
        raise _invalid("share", value, f"share {value!r} has a colon; give a name without one")
    return _encodable("share", value)


def _encodable(argument: str, value: str) -> str:
    if (control := control_in(value)) is not None:
        message = f"{argument} {value!r} has the control character {control}; remove it"
        raise _invalid(argument, value, message)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _invalid(
            argument,
            value,
            f"{argument} {value!r} has half of a surrogate pair at {error.start}; give text that UTF-8 can encode",
        ) from error
    return value


def data(value: object) -> None:
    """Check the data to send: text, bytes, or a value that JSON can carry. JSON values are checked when encoded.

    Raises:
        TypeError: the value is None or a function.
    """
    if value is None:
        raise TypeError("data is None; give text, bytes, or a value that JSON can represent")
    if callable(value):
        raise TypeError("data is a function; give text, bytes, or a value that JSON can represent")


def send_options(value: object, on_sent: object) -> SendOptions:
    """Return the options of `send`: `qos` 0 or 1, `ttl` from 1 ms to 30 days. Other names are ignored.

    Raises:
        TypeError: the value is not a dict.
        RangeError: an option has a value that is not allowed.
        InvalidArgumentError: qos is 1 and there is no `on_sent`.
    """
    options = _options(value)
    qos = _qos(options)
    ttl = options.get("ttl")
    if ttl is not None:
        if not _is_integer(ttl) or not 0 < ttl <= MAX_SEND_TTL:
            raise _range("ttl", ttl, f"a whole number of milliseconds from 1 to {MAX_SEND_TTL}")
        ttl = operator.index(ttl)
    if qos == QOS_AT_LEAST_ONCE and on_sent is None:
        raise _invalid(
            "on_sent", None, "on_sent is None, and options['qos'] is 1; give a function that takes the outcome"
        )
    return SendOptions(qos, ttl)


def subscribe_options(value: object) -> SubscribeOptions:
    """Return the options of `subscribe`: `qos` 0 or 1, `auto_confirm`, `ttl` in milliseconds, `credit` in messages.

    Raises:
        TypeError: the value is not a dict, or `auto_confirm` is not a truth value.
        RangeError: an option has a number that is not allowed.
    """
    options = _options(value)
    qos = _qos(options)
    auto_confirm = options.get("auto_confirm", True)
    if not _is_truth(auto_confirm):
        raise TypeError(f"options['auto_confirm'] is {auto_confirm!r}; give True or False")
    ttl = options.get("ttl", 0)
    if not _is_integer(ttl) or ttl < 0:
        raise _range("ttl", ttl, "a whole number of milliseconds, 0 or more")
    credit = options.get("credit", 1024)
    if not _is_integer(credit) or not 0 <= credit <= MAX_CREDIT:
        raise _range("credit", credit, f"a whole number of messages from 0 to {MAX_CREDIT}")
    ttl = min(operator.index(ttl), MAX_SUBSCRIBE_TTL)
    return SubscribeOptions(qos, bool(auto_confirm), ttl, operator.index(credit))


def unsubscribe_options(value: object) -> int | None:
    """Return the `ttl` of `unsubscribe`: 0 deletes the destination, None leaves it to its own time to live.

    Raises:
        TypeError: the value is not a dict.
        RangeError: the ttl is not 0.
    """
    options = _options(value)
    ttl = options.get("ttl")
    if ttl is None:
        return None
    if not _is_integer(ttl) or ttl != 0:
        raise _range("ttl", ttl, "0, which deletes the destination, or leave it out")
    return 0


def callback(argument: str, value: object, arguments: int) -> Callable[..., object] | None:
    """Return a function of the application that takes ``arguments`` positional arguments, or None.

    Every callable that accepts such a call is valid: with defaults, with `*args`, a bound method, a class, and a
    function written in C that does not tell its parameters.

    Raises:
        TypeError: the value cannot be called with that many arguments.
    """
    if value is None or _takes(value, arguments):
        return value  # type: ignore[return-value]
    if not callable(value):
        raise TypeError(f"{argument} is of type {type(value).__name__}; give a function")
    if (kind := unrun(value)) is not None:
        raise TypeError(f"{argument} is {kind}, so a call would not run it; give a plain function")
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return value
    try:
        signature.bind(*[None] * arguments)
    except TypeError:
        name = getattr(value, "__name__", type(value).__name__)
        raise TypeError(
            f"{argument} is {name}({', '.join(signature.parameters)}); "
            f"give a function that takes {arguments} argument{'' if arguments == 1 else 's'}"
        ) from None
    return value


def _takes(value: object, arguments: int) -> bool:
    """Return whether this is surely a Python function that takes ``arguments`` positional arguments.

    `inspect.signature` would take longer than sending a message.
    """
    if isinstance(value, MethodType):
        value, arguments = value.__func__, arguments + 1
    if not isinstance(value, FunctionType):
        return False
    code, defaults, named = value.__code__, value.__defaults__ or (), value.__kwdefaults__ or ()
    if code.co_flags & UNRUN:
        return False
    if len(named) < code.co_kwonlyargcount or arguments < code.co_argcount - len(defaults):
        return False
    return arguments <= code.co_argcount or bool(code.co_flags & inspect.CO_VARARGS)


def _options(value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError(f"options is of type {type(value).__name__}; give a dict")
    return value


def _qos(options: Mapping[str, Any]) -> int:
    qos = options.get("qos", QOS_AT_MOST_ONCE)
    if not isinstance(qos, int) or qos not in (QOS_AT_MOST_ONCE, QOS_AT_LEAST_ONCE):
        raise _range("qos", qos, "0 (at most once) or 1 (at least once)")
    return int(qos)


def _is_integer(value: object) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _is_truth(value: object) -> bool:
    return isinstance(value, int) and value in (0, 1)


def _invalid(argument: str, value: object, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, argument=argument, value=value)


def _range(option: str, value: object, needed: str) -> RangeError:
    return RangeError(f"options[{option!r}] is {value!r}; give {needed}", argument=option, value=value)
