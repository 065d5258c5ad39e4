"""The words of a connection that both ends and every layer above share: what was said, asked and answered.

They carry no Proton, so that what decides by them needs none.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from mqlight.wire.link import Link

Handle = Any
"""Proton's pointer to a delivery: opaque outside this file, hashable, valid while its link is open."""


class Outcome(enum.IntEnum):
    """What became of a delivery (AMQP 1.0 section 3.4); the value is the descriptor."""

    ACCEPTED = 0x24
    REJECTED = 0x25
    RELEASED = 0x26
    MODIFIED = 0x27


class Condition(NamedTuple):
    """An AMQP error (section 2.8.14): a symbol such as ``amqp:not-allowed``, and a sentence."""

    name: str
    description: str = ""

    def __str__(self) -> str:
        return f"{self.description or 'no description'} ({self.name})"


@dataclass(frozen=True)
class Terminus:
    """A source or target (sections 3.5.3, 3.5.4). ``timeout`` is in seconds; an ``address`` of None is a null one.

    ``durable`` asks that it outlive its link, with what it holds, until it is detached for good.
    """

    address: str | None
    timeout: int = 0
    dynamic: bool = False
    coordinator: bool = False
    """It takes transactions, not messages (section 4.5.1)."""
    capabilities: tuple[str, ...] = ()
    durable: bool = False


@dataclass(frozen=True)
class Peer:
    """What the other end said of itself in its open frame (section 2.7.1)."""

    container_id: str
    hostname: str | None
    properties: dict[str, object]
    offered: tuple[str, ...]
    desired: tuple[str, ...]


class Handler(Protocol):
    """Who hears what the peer did. No method may block, and an exception in one ends the connection."""

    def on_open(self, peer: Peer) -> None:
        """The peer's open frame is here."""

    def on_attach(self, link: Link) -> None:
        """The peer attached a link (``link.local`` is False: accept or refuse it), or answered our attach."""

    def on_detach(self, link: Link, closed: bool, condition: Condition | None) -> None:
        """The link is gone, its handles are void; ``link.unsettled`` still has the tokens of what was not settled."""

    def on_credit(self, link: Link) -> None:
        """The peer sent a flow for the link: a sending one may have credit now, a receiving one may be drained."""

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        """A whole message arrived. Unless ``settled`` it waits for :meth:`Engine.settle`."""

    def on_outcome(self, link: Link, token: Any, outcome: Outcome, condition: Condition | None) -> None:
        """The peer settled what :meth:`Engine.send` was given ``token`` for."""

    def on_close(self, condition: Condition | None) -> None:
        """The connection is over, said once: closed by the peer, broken by an error, or cut. Links get no on_detach."""
