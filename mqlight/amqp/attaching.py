"""Write the attach frame of a link (section 2.7.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mqlight.amqp.frames import ATTACH, frame, performative, transfer_head
from mqlight.amqp.termini import SOURCE, TARGET, wanted_terminus
from mqlight.amqp.types import Terminus
from mqlight.amqp.values import Symbol, Ubyte, Uint, Ulong

if TYPE_CHECKING:
    from mqlight.amqp.link import Link

OVERHEAD: Final = 64
"""The most bytes that a transfer frame adds to the message in it."""


def attach(link: Link, mode: int, source: Terminus, target: Terminus) -> Link:
    """Ask the peer for a link with these termini. ``mode`` is the snd-settle-mode (section 2.8.2), -1 for none."""
    link.snd_mode = mode
    write_attach(link, wanted_terminus(source, SOURCE), wanted_terminus(target, TARGET))
    link.snd_mode = -1
    return link


def write_attach(link: Link, source: Any, target: Any) -> None:
    """Give the link a handle and write our attach. A second call does nothing."""
    session = link.session
    if link.attached_here or link.closed or session.ended:
        return
    link.attached_here = True
    handle = session.free.pop() if session.free else len(session.handles)
    session.handles[handle] = link
    link.handle = handle
    properties: Any = None
    if link.properties is not None:
        properties = {Symbol(key): value for key, value in link.properties.items()}
    most = Ulong(link.max_message_size) if link.receiver and link.max_message_size else None
    fields: list[Any] = [
        link.name,
        Uint(handle),
        link.receiver,
        _mode(link.snd_mode),
        _mode(link.rcv_mode),
        source,
        target,
        None,  # an earlier link of this name has left no unsettled deliveries (section 2.6.13)
        None,
        None if link.receiver else Uint(0),
        most,
        None,
        None,
        properties,
    ]
    session.write(frame(session.channel, performative(ATTACH, fields)))
    link.head = transfer_head(session.channel, handle)
    link.room = -1 if link.receiver else min(session.connection.peer_frame, 1 << 24) - OVERHEAD


def _mode(value: int) -> Any:
    return None if value < 0 else Ubyte(value)
