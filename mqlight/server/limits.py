"""How much the server takes, of everything that a client could bring too much of.

Every limit has its flag beside it. Who meets one is told what it is and which flag sets it: :meth:`Limits.reached`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from mqlight.amqp.types import Condition
from mqlight.wire.topics import MAX_BYTES, TopicError, validate_pattern, validate_topic

FULL = "amqp:resource-limit-exceeded"
MESSAGE_OVERHEAD = 256
"""Bytes that a message costs beside its own, in memory."""
_MIB = 1024 * 1024


def _limit(default: float, flag: str, unit: str, least: float, what: str, most: float | None = None) -> Any:
    metadata = {"flag": flag, "unit": unit, "least": least, "most": most, "help": what}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Limits:
    """Sizes are in bytes, times in seconds."""

    queue_messages: int = _limit(
        100_000, "--max-queue-messages", "N", 1, "How many messages may wait in one destination."
    )
    queue_bytes: int = _limit(
        256 * _MIB, "--max-queue-bytes", "BYTES", 1024, "How many bytes may wait in one destination."
    )
    memory: int = _limit(
        1024 * _MIB, "--max-memory", "BYTES", 65536, "What all messages together may take, waiting or unsettled."
    )
    message_size: int = _limit(
        16 * _MIB, "--max-message-size", "BYTES", 1024, "The largest message that is taken."
    )
    frame_size: int = _limit(
        65536, "--max-frame-size", "BYTES", 512, "The largest frame that is taken.", most=16 * _MIB
    )
    unread: int = _limit(
        16 * _MIB, "--max-unread", "BYTES", 65536, "What may wait for a client that does not read."
    )
    unsettled: int = _limit(
        10_000, "--max-unsettled", "N", 1, "How many messages a subscriber may hold unsettled."
    )
    connections: int = _limit(2000, "--max-connections", "N", 1, "How many clients may be connected.")
    connections_per_address: int = _limit(
        1000, "--max-connections-per-address", "N", 1, "How many of them may come from one address."
    )
    login_time: float = _limit(
        10.0, "--login-timeout", "SECONDS", 0.5, "How long a client may take until it is logged in."
    )
    links: int = _limit(1000, "--max-links", "N", 1, "How many links one connection may have.")
    sessions: int = _limit(1000, "--max-sessions", "N", 2, "How many sessions one connection may have.", most=32768)
    destinations: int = _limit(10_000, "--max-destinations", "N", 1, "How many destinations there may be.")
    destinations_per_user: int = _limit(
        4000, "--max-destinations-per-user", "N", 1, "How many destinations one user may have made."
    )
    destinations_per_client: int = _limit(
        1000, "--max-destinations-per-client", "N", 1, "How many destinations one client id may have made."
    )
    subscribers: int = _limit(1000, "--max-subscribers", "N", 1, "How many subscribers a destination may have.")
    topic_length: int = _limit(
        MAX_BYTES, "--max-topic-length", "BYTES", 1, "The longest topic or topic pattern.", most=MAX_BYTES
    )
    topic_depth: int = _limit(128, "--max-topic-depth", "N", 1, "How many levels a topic or pattern may have.")
    name_length: int = _limit(256, "--max-name-length", "N", 1, "The longest client id or share, in characters.")

    def flag(self, name: str) -> str:
        """A limit with its value, as it would be set: ``--max-links 1000``."""
        each = next(each for each in fields(self) if each.name == name)
        value = getattr(self, name)
        return f"{each.metadata['flag']} {value:g}" if isinstance(value, float) else f"{each.metadata['flag']} {value}"

    def reached(self, name: str, what: str) -> Condition:
        """The error of who meets a limit: what happened, and the limit."""
        return Condition(FULL, f"{what} (the server's limit is {self.flag(name)})")

    def check_topic(self, topic: str) -> None:
        """Raise TopicError unless messages may be sent to ``topic``."""
        validate_topic(topic)
        self._check(topic, "topic")

    def check_pattern(self, pattern: str) -> None:
        """Raise TopicError unless ``pattern`` may be subscribed to."""
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
