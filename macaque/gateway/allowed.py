"""The topics that callers may use: patterns for calls, patterns for subscriptions, and topics that stay private. Pure.

The rules of this file:

* Nothing is allowed that no pattern names.
* The topics of macaque itself and of replies stay private, whatever the patterns say: discovery, control, dead letters,
  and the replies to other callers.
* A subscription to a pattern is allowed if every topic that it matches is allowed. It shows no message of a private
  topic.
"""

from __future__ import annotations

from collections.abc import Iterable

from macaque.http.request import INTERNAL
from mqlight.amqp.covering import covers
from mqlight.amqp.topics import TopicError, matches, validate_pattern

__all__ = ["Allowed", "check_pattern", "is_private"]


def is_private(topic: str) -> bool:
    """Return whether a topic belongs to macaque itself, or to the replies of a caller."""
    return f"{topic}/".startswith(INTERNAL)


def check_pattern(pattern: str) -> None:
    """Raise ValueError, with a sentence for the user, unless a pattern can be allowed."""
    try:
        validate_pattern(pattern)
    except TopicError as error:
        raise ValueError(str(error)) from None
    if is_private(pattern):
        raise ValueError(f"the topics {pattern} are private: macaque uses those of {' and '.join(INTERNAL)} itself")


class Allowed:
    """The topics that callers may use.

    Args:
        calls: patterns of the topics that may be called.
        subscriptions: patterns of the topics whose messages may be read.
    """

    def __init__(self, calls: Iterable[str], subscriptions: Iterable[str]) -> None:
        self._calls = tuple(calls)
        self._subscriptions = tuple(subscriptions)
        self._parts: dict[tuple[str, ...], Allowed] = {}

    def may_call(self, topic: str) -> bool:
        """Return whether a topic may be called."""
        return not is_private(topic) and any(matches(pattern, topic) for pattern in self._calls)

    def may_call_all(self, pattern: str) -> bool:
        """Return whether all topics of a pattern may be called."""
        return not is_private(pattern) and covers(self._calls, pattern)

    def may_subscribe(self, pattern: str) -> bool:
        """Return whether the messages to a topic, or to all topics of a pattern, may be read."""
        return not is_private(pattern) and covers(self._subscriptions, pattern)

    def part(self, patterns: tuple[str, ...]) -> Allowed:
        """Return the part of these topics that `patterns` cover too; all of them without patterns."""
        if not patterns:
            return self
        if patterns not in self._parts:
            self._parts[patterns] = _Part(self, patterns)
        return self._parts[patterns]


class _Part(Allowed):
    """Topics that are allowed by two lists of patterns."""

    def __init__(self, whole: Allowed, patterns: tuple[str, ...]) -> None:
        super().__init__(patterns, patterns)
        self._whole = whole

    def may_call(self, topic: str) -> bool:
        return self._whole.may_call(topic) and super().may_call(topic)

    def may_call_all(self, pattern: str) -> bool:
        return self._whole.may_call_all(pattern) and super().may_call_all(pattern)

    def may_subscribe(self, pattern: str) -> bool:
        return self._whole.may_subscribe(pattern) and super().may_subscribe(pattern)
