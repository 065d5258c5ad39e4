"""Hold the links of one AMQP connection, and the state that its sessions share."""

from __future__ import annotations

from typing import Final, Protocol

from mqlight.amqp.frames import PeerError
from mqlight.amqp.link import Link, LinkHandler
from mqlight.amqp.output import Output
from mqlight.amqp.sending import SessionState
from mqlight.amqp.types import Condition, Peer

MOST_DISCARDED: Final = 65536
"""The most frames to ended links and sessions before the connection ends. An honest peer has fewer on their way.

The count begins again when the peer answers the end of a link or session: it sends no more to that one."""


class ConnectionHandler(Protocol):
    """The events of a connection. The rules of :class:`LinkHandler` hold."""

    def on_open(self, peer: Peer) -> object:
        """Take the peer's open frame."""

    def on_attach(self, link: Link) -> object:
        """Take a link that the peer attached, to accept or refuse it (``link.local`` is False), or answered."""

    def on_close(self, condition: Condition | None) -> object:
        """Take note that the connection is over: closed by the peer, failed or cut. Links get no on_detach."""


class Handler(ConnectionHandler, LinkHandler, Protocol):
    """The handler of an engine. It also handles each link that has no handler of its own."""


class Connection:
    """The links of a connection, its output, and the limits that both ends have agreed on."""

    __slots__ = (
        "all_links",
        "attached",
        "closed",
        "discarded",
        "handler",
        "max_message_size",
        "out",
        "partial",
        "usual",
        "usual_size",
    )

    def __init__(self, handler: Handler, max_message_size: int) -> None:
        self.handler = handler
        self.max_message_size = max_message_size
        self.closed = False
        """Whether the connection is over."""
        self.out = Output()
        self.all_links: dict[Link, None] = {}
        self.attached: dict[tuple[str, bool], Link] = {}
        """The link by its name and whether this end receives on it (section 2.6.1)."""
        self.usual: dict[bytes, Link] = {}
        """Receiving links by the usual head of the peer's transfers on them (:func:`transfer_head`)."""
        self.usual_size = 0
        """The most bytes of a frame that holds a whole message."""
        self.discarded = 0
        """Frames that came for links and sessions that this end has ended."""
        self.partial = 0
        """Bytes of messages that have begun and not ended."""

    def new_link(self, session: SessionState, name: str, receiver: bool, local: bool) -> Link:
        """Return a link of a session. It has the name from now on, also if another link has that name."""
        link = Link(session, name, receiver, local, self.handler, self.max_message_size)
        self.all_links[link] = None
        self.attached[(name, receiver)] = link
        return link

    def links(self) -> list[Link]:
        """Return the links in the order of their attachment."""
        return list(self.all_links)

    def pending(self) -> int:
        """Return how many bytes of output the socket has not taken."""
        return self.out.size

    def discard(self) -> None:
        """Count a frame that is ignored. Raises PeerError after more than ``MOST_DISCARDED`` of them."""
        self.discarded += 1
        if self.discarded > MOST_DISCARDED:
            reason = f"session window exceeded: {MOST_DISCARDED} frames came for what this end has detached or ended"
            raise PeerError("amqp:resource-limit-exceeded", reason)

    def over(self, condition: Condition | None) -> None:
        """Tell the handler that the connection is over. A second call does nothing."""
        if not self.closed:
            self.closed = True
            for link in self.all_links:
                link.closed = True
            self.handler.on_close(condition)

    def end_of_input(self) -> None:
        """Take note that no more bytes come: the peer closed the socket, or the socket broke."""
        self.over(Condition("amqp:connection:forced", "the peer closed the socket"))
