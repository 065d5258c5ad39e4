"""The words of an AMQP 1.0 connection that both ends share: what is asked, answered and told.

Times are in seconds and sizes in bytes unless a name says otherwise.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from mqlight.amqp.link import Link

Handle = int
"""The number of a received delivery. It is valid while its link is attached."""


class Outcome(enum.IntEnum):
    """What became of a delivery (section 3.4). The value is the descriptor; the last one shares that of MODIFIED."""

    ACCEPTED = 0x24
    REJECTED = 0x25
    RELEASED = 0x26
    MODIFIED = 0x27
    """The attempt failed (``delivery-failed``)."""
    UNDELIVERABLE = 0x127
    """Modified with ``undeliverable-here``: it must not come back over the same link (section 3.4.5)."""


class Condition(NamedTuple):
    """An AMQP error (section 2.8.14): a symbol such as ``amqp:not-allowed``, and a sentence."""

    name: str
    description: str = ""

    def __str__(self) -> str:
        return f"{self.description or 'no description'} ({self.name})"


@dataclass(frozen=True)
class Terminus:
    """A source or target (sections 3.5.3, 3.5.4). ``timeout`` is in seconds; an ``address`` of None is a null one.

    ``durable`` asks that it outlive its link, with what it holds, until it is detached for good; ``never`` that it does
    not expire. ``copy`` asks for the distribution mode copy. ``filters`` are the names of the filters.
    """

    address: str | None
    timeout: int = 0
    dynamic: bool = False
    coordinator: bool = False
    """It takes transactions, not messages (section 4.5.1)."""
    capabilities: tuple[str, ...] = ()
    durable: bool = False
    never: bool = False
    copy: bool = False
    filters: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Peer:
    """What the other end said of itself in its open frame (section 2.7.1)."""

    container_id: str
    hostname: str | None
    properties: dict[str, object]
    offered: tuple[str, ...]
    desired: tuple[str, ...]


class LinkHandler(Protocol):
    """Is told what happens on a link. No method may block; an exception comes out of ``Engine.receive``."""

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        """A whole message arrived. Unless it is ``settled``, it waits for ``Link.settle``."""

    def on_outcome(self, link: Link, token: Any, outcome: Outcome, condition: Condition | None) -> None:
        """The peer settled the message that ``Link.send`` was given ``token`` for."""

    def on_received(self, link: Link, token: Any) -> None:
        """The peer said that it has begun with a message, and did not settle it (section 3.4.4)."""

    def on_credit(self, link: Link) -> None:
        """The peer sent a flow for the link: a sending link may have credit now, a receiving one may be drained."""

    def on_detach(self, link: Link, closed: bool, condition: Condition | None) -> None:
        """The link is gone and its handles are void. ``link.unsettled`` still has the tokens of unsettled messages."""


class ConnectionHandler(Protocol):
    """Is told what happens to the connection. The rules of :class:`LinkHandler` hold."""

    def on_open(self, peer: Peer) -> None:
        """The peer's open frame is here."""

    def on_attach(self, link: Link) -> None:
        """The peer attached a link (``link.local`` is False: accept or refuse it), or answered our attach."""

    def on_close(self, condition: Condition | None) -> None:
        """The connection is over: closed by the peer, broken by an error, or cut. Links hear no on_detach."""


class Handler(ConnectionHandler, LinkHandler, Protocol):
    """An engine's handler is also the handler of each link that is not given one of its own."""
