"""Define the handlers that an engine calls: one for the connection, and one for each link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from mqlight.amqp.types import Condition, Handle, Outcome, Peer

if TYPE_CHECKING:
    from mqlight.amqp.link import Link


class LinkHandler(Protocol):
    """The events of a link. No method may block. ``Engine.receive`` passes on an exception of a method."""

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        """Take a whole message that arrived. Unless it is ``settled``, it waits for ``Link.settle``."""

    def on_outcome(self, link: Link, token: Any, outcome: Outcome, condition: Condition | None) -> None:
        """Take the outcome of a message that the peer settled. ``Link.send`` got ``token`` with that message."""

    def on_received(self, link: Link, token: Any) -> None:
        """Take note that the peer works on a message and has not settled it (section 3.4.1)."""

    def on_credit(self, link: Link) -> None:
        """Take note of a flow for the link: a sending link may have credit now, a receiving link may be drained."""

    def on_detach(self, link: Link, closed: bool, condition: Condition | None) -> None:
        """Take note that the link is gone. Its handles are void; ``link.unsettled`` has the tokens not settled."""


class ConnectionHandler(Protocol):
    """The events of a connection. The rules of :class:`LinkHandler` hold."""

    def on_open(self, peer: Peer) -> None:
        """Take the peer's open frame."""

    def on_attach(self, link: Link) -> None:
        """Take a link that the peer attached, to accept or refuse it (``link.local`` is False), or answered."""

    def on_close(self, condition: Condition | None) -> None:
        """Take note that the connection is over: closed by the peer, failed or cut. Links get no on_detach."""


class Handler(ConnectionHandler, LinkHandler, Protocol):
    """The handler of an engine. It also handles each link that has no handler of its own."""
