"""Write and read the open frame: the identity and the limits of each end (section 2.7.1)."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from mqlight.amqp.frames import (
    MIN_FRAME,
    OPEN,
    U16,
    U32,
    Fields,
    GarbledError,
    PeerError,
    few_enough,
    frame,
    performative,
    symbol_array,
)
from mqlight.amqp.types import Peer
from mqlight.amqp.values import Array, Described, Symbol, Uint, Ushort

_NESTED: Final = (list, dict, Array, Described)
"""Values that this end does not keep: a small frame may hold very many of them."""


class Opening(NamedTuple):
    """The content of an open frame. ``idle`` is the idle time-out in milliseconds, 0 for none."""

    peer: Peer
    max_frame_size: int
    channel_max: int
    idle: int


def open_frame(opening: Opening) -> bytes:
    """Return an open frame."""
    me = opening.peer
    properties: Any = {Symbol(key): value for key, value in me.properties.items()} or None
    fields: list[Any] = [
        me.container_id,
        me.hostname,
        Uint(opening.max_frame_size),
        Ushort(opening.channel_max),
        Uint(opening.idle) if opening.idle else None,
        None,
        None,
        symbol_array(me.offered),
        None,
        properties,
    ]
    return frame(0, performative(OPEN, fields))


def read_open(fields: Fields) -> Opening:
    """Return the content of the peer's open frame. Raises PeerError for a frame that breaks a rule."""
    container_id = fields.text(0)
    if container_id is None:
        raise GarbledError("an open frame lacks its mandatory field container-id")
    size, channels, idle = fields.number(2, U32), fields.number(3, U16), fields.number(4, U32)
    if 0 <= size < MIN_FRAME:
        raise PeerError("amqp:invalid-field", f"a max-frame-size of {size} is under {MIN_FRAME}")
    hostname, properties = fields.text(1), fields.map(9) or {}
    few_enough(len(properties))
    peer = Peer(
        container_id=str(container_id),
        hostname=None if hostname is None else str(hostname),
        properties={str(key): value for key, value in properties.items() if not isinstance(value, _NESTED)},
        offered=fields.symbols(7),
        desired=fields.symbols(8),
    )
    return Opening(peer, size if size >= 0 else U32, channels if channels >= 0 else U16, max(0, idle))
