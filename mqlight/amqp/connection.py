"""What the sessions and links of one AMQP connection share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mqlight.amqp.frames import PeerError
from mqlight.amqp.output import Output
from mqlight.amqp.types import Condition, Handler

if TYPE_CHECKING:
    from mqlight.amqp.link import Link

MOST_DISCARDED: Final = 65536
"""Frames that a peer may send for what is over before the connection ends: more than honest peers have on their way."""


class Connection:
    """The links of a connection, its output, and what both ends have agreed on."""

    __slots__ = (
        "all_links",
        "attached",
        "closed",
        "discarded",
        "handler",
        "max_message_size",
        "out",
        "partial",
        "peer_frame",
    )

    def __init__(self, handler: Handler, max_message_size: int) -> None:
        self.handler = handler
        self.max_message_size = max_message_size
        self.closed = False
        """The connection is over."""
        self.out = Output()
        self.peer_frame = 512
        """The largest frame that the peer takes (section 2.7.1)."""
        self.all_links: dict[Link, None] = {}
        self.attached: dict[tuple[str, bool], Link] = {}
        """The link of each name, and whether this end receives on it (section 2.6.1)."""
        self.discarded = 0
        """Frames that came for links and sessions that this end has ended."""
        self.partial = 0
        """Bytes of messages that have begun and not ended."""

    def discard(self) -> None:
        """Take note of a frame that is not looked at. Raises PeerError when a peer goes on without end."""
        self.discarded += 1
        if self.discarded > MOST_DISCARDED:
            reason = f"session window exceeded: {MOST_DISCARDED} frames came for what this end has detached or ended"
            raise PeerError("amqp:resource-limit-exceeded", reason)

    def over(self, condition: Condition | None) -> None:
        """Tell the handler, once, that the connection is over."""
        if not self.closed:
            self.closed = True
            for link in self.all_links:
                link.closed = True
            self.handler.on_close(condition)
