"""The types in which both ends of an AMQP 1.0 connection ask, answer and tell of events.

Times are in seconds and sizes in bytes unless a name says otherwise.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

Handle = int
"""The number of a received delivery. It is valid while its link is attached."""


class Outcome(enum.IntEnum):
    """The outcome of a delivery (section 3.4). The value is the descriptor; UNDELIVERABLE shares MODIFIED's."""

    ACCEPTED = 0x24
    REJECTED = 0x25
    RELEASED = 0x26
    MODIFIED = 0x27
    """The delivery attempt failed (``delivery-failed``)."""
    UNDELIVERABLE = 0x127
    """Modified with ``undeliverable-here``: the message must not come back over the same link (section 3.4.5)."""


class Condition(NamedTuple):
    """An AMQP error (section 2.8.14): a symbol such as ``amqp:not-allowed``, and a sentence."""

    name: str
    description: str = ""

    def __str__(self) -> str:
        return f"{self.description or 'no description'} ({self.name})"


@dataclass(frozen=True)
class Terminus:
    """A source or target (sections 3.5.3, 3.5.4). ``timeout`` is in seconds; an ``address`` of None is a null one.

    ``durable`` asks that the terminus and its messages outlive the link until the link is closed. ``never`` asks that
    it does not expire. ``copy`` asks for the distribution mode copy. ``filters`` are the names of the filters.
    """

    address: str | None
    timeout: int = 0
    dynamic: bool = False
    coordinator: bool = False
    """Whether the target takes transactions instead of messages (section 4.5.1)."""
    capabilities: tuple[str, ...] = ()
    durable: bool = False
    never: bool = False
    copy: bool = False
    filters: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Peer:
    """The description that an end gives of itself in its open frame (section 2.7.1).

    ``container_id`` is the client id of a client. ``hostname`` is the host that a client asks for. ``properties`` name
    the product and its version. ``offered`` and ``desired`` are capabilities.
    """

    container_id: str
    hostname: str | None
    properties: dict[str, object]
    offered: tuple[str, ...]
    desired: tuple[str, ...]
