"""The limits of the server's resources that a client could exhaust.

Each limit has its flag beside it. :meth:`Limits.reached` makes the error that names the limit and its flag.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from mqlight.amqp.topics import MAX_BYTES, TopicError, validate_pattern, validate_topic
from mqlight.amqp.types import Condition

FULL, TOO_LARGE = "amqp:resource-limit-exceeded", "amqp:link:message-size-exceeded"
"""The conditions for a full destination or a reached limit, and for a message that is too large (section 2.8.18)."""
MESSAGE_OVERHEAD = 256
"""Bytes of memory that a message costs in addition to its own bytes."""
_MIB = 1024 * 1024


def _limit(default: float, flag: str, unit: str, least: float, what: str, most: float | None = None) -> Any:
    metadata = {"flag": flag, "unit": unit, "least": least, "most": most, "help": what}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Limits:
    """The limits of one server. Sizes are in bytes, times in seconds."""

    queue_messages: int = _limit(
        100_000, "--max-queue-messages", "N", 1, "Let at most N messages wait in one destination."
    )
    queue_bytes: int = _limit(
        256 * _MIB, "--max-queue-bytes", "BYTES", 1024, "Let messages of at most BYTES wait in one destination."
    )
    memory: int = _limit(
        1024 * _MIB, "--max-memory", "BYTES", 65536, "Use at most BYTES for all waiting and unsettled messages."
    )
    message_size: int = _limit(16 * _MIB, "--max-message-size", "BYTES", 1024, "Accept messages of at most BYTES.")
    frame_size: int = _limit(65536, "--max-frame-size", "BYTES", 512, "Accept frames of at most BYTES.", most=16 * _MIB)
    unread: int = _limit(
        16 * _MIB, "--max-unread", "BYTES", 65536, "Keep at most BYTES for a connection that does not read."
    )
    unsettled: int = _limit(10_000, "--max-unsettled", "N", 1, "Let a subscriber hold at most N unsettled messages.")
    connections: int = _limit(2000, "--max-connections", "N", 1, "Accept at most N connections.")
    connections_per_address: int = _limit(
        1000, "--max-connections-per-address", "N", 1, "Accept at most N connections from one address."
    )
    login_time: float = _limit(
        10.0, "--login-timeout", "SECONDS", 0.5, "Close a connection that has not logged in after SECONDS."
    )
    links: int = _limit(1000, "--max-links", "N", 1, "Accept at most N links on one connection.")
    sessions: int = _limit(1000, "--max-sessions", "N", 2, "Accept at most N sessions on one connection.", most=32768)
    destinations: int = _limit(10_000, "--max-destinations", "N", 1, "Keep at most N destinations.")
    destinations_per_user: int = _limit(
        4000, "--max-destinations-per-user", "N", 1, "Keep at most N destinations of one user."
    )
    destinations_per_client: int = _limit(
        1000, "--max-destinations-per-client", "N", 1, "Keep at most N destinations of one client id."
    )
    subscribers: int = _limit(1000, "--max-subscribers", "N", 1, "Accept at most N subscribers of one destination.")
    topic_length: int = _limit(
        MAX_BYTES, "--max-topic-length", "BYTES", 1, "Accept topics and patterns of at most BYTES.", most=MAX_BYTES
    )
    topic_depth: int = _limit(128, "--max-topic-depth", "N", 1, "Accept topics and patterns of at most N levels.")
    name_length: int = _limit(256, "--max-name-length", "N", 1, "Accept client ids and shares of at most N characters.")

    def flag(self, name: str) -> str:
        """Return the flag and the value of a limit, for example ``--max-links 1000``."""
        each = next(each for each in fields(self) if each.name == name)
        value = getattr(self, name)
        return f"{each.metadata['flag']} {value:g}" if isinstance(value, float) else f"{each.metadata['flag']} {value}"

    def reached(self, name: str, what: str) -> Condition:
        """Return the error for a limit that a client has reached. ``what`` says what happened."""
        return Condition(FULL, f"{what} (the server's limit is {self.flag(name)})")

    def check_topic(self, topic: str) -> None:
        """Check a topic of a message.

        Raises:
            TopicError: The topic is invalid or exceeds a limit.
        """
        validate_topic(topic)
        self._check(topic, "topic")

    def check_pattern(self, pattern: str) -> None:
        """Check a topic pattern of a subscription.

        Raises:
            TopicError: The pattern is invalid or exceeds a limit.
        """
        validate_pattern(pattern)
        self._check(pattern, "topic pattern")

    def _check(self, text: str, what: str) -> None:
        levels = text.count("/") + 1
        if levels > self.topic_depth:
            raise TopicError(
                f"the {what} {text[:40]!r}... has {levels} levels (the server's limit is {self.flag('topic_depth')})"
            )
        if len(text) * 4 > self.topic_length and (size := len(text.encode())) > self.topic_length:
            raise TopicError(
                f"the {what} {text[:40]!r}... has {size} bytes (the server's limit is {self.flag('topic_length')})"
            )
