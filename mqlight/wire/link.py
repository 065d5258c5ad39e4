"""One end of an AMQP link, over Proton's.

Like the engine that it belongs to, it is touched by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from cproton_ffi.lib import pn_link_drain, pn_link_drained, pn_link_get_drain
from proton import Array, Data, symbol
from proton import Condition as ProtonCondition
from proton import Link as ProtonLink
from proton import Terminus as ProtonTerminus

from mqlight.wire.reading import short
from mqlight.wire.terms import Condition, Terminus
from mqlight.wire.transit import Way

if TYPE_CHECKING:
    from mqlight.wire.engine import Engine

Value = TypeVar("Value")
_wrap: Any = ProtonLink.wrap


class GarbledError(ValueError):
    """A frame whose values make no sense, though it is a frame."""


def decoded(read: Callable[[], Value]) -> Value:
    """What ``read`` returns. GarbledError for whatever Proton's Python classes raise where text is not UTF-8, a map has
    a list for a key, or a symbol is due and there is none.
    """
    try:
        return read()
    except Exception as error:
        raise GarbledError(f"a frame makes no sense: {error}") from error


class Link(Way):
    """One end of an AMQP link. ``context`` is its owner's to use."""

    __slots__ = ("engine", "local", "name", "peer_max_message_size", "refused", "source", "target")

    def __init__(self, engine: Engine, link: ProtonLink, local: bool) -> None:
        super().__init__(link._impl, link.is_receiver, engine.max_message_size)
        self.engine = engine
        self.name: str = decoded(lambda: link.name) or ""
        self.local = local
        self.refused = False
        self.peer_max_message_size = 0
        """The most bytes that the peer takes in one message, 0 when it did not say."""
        self.source = self.target = Terminus(None)
        """What the peer says they are."""

    @property
    def proton(self) -> Any:
        """Proton's Python object, made anew each time: one that a garbage collection comes upon together with its
        session and connection, in whatever order, corrupts the process's memory.
        """
        return _wrap(self.c)

    @property
    def session(self) -> Any:
        """What tells the link's session from others of the connection."""
        return self.proton.session._impl

    def attached(self) -> None:
        """The peer's attach is here. Raises GarbledError."""
        self.source = decoded(lambda: terminus_of(self.proton.remote_source))
        self.target = decoded(lambda: terminus_of(self.proton.remote_target))
        self.peer_max_message_size = self.proton.remote_max_message_size

    @property
    def settles_at_once(self) -> bool:
        """The peer asked for pre-settled deliveries only (snd-settle-mode settled: at most once)."""
        return bool(self.proton.remote_snd_settle_mode == ProtonLink.SND_SETTLED)

    def accept(self) -> None:
        """Answer the peer's attach with its own source, target and settle modes (MQ Light clients need the target
        back).
        """
        link = self.proton
        _echo(link.source, link.remote_source, self.source)
        _echo(link.target, link.remote_target, self.target)
        link.snd_settle_mode = link.remote_snd_settle_mode
        link.rcv_settle_mode = link.remote_rcv_settle_mode
        if self.receiver:
            link.max_message_size = self.max_message_size
        link.open()

    def refuse(self, condition: Condition) -> None:
        """Answer the peer's attach with a detach that says why (section 2.6.3). Nothing is heard of the link again."""
        self.refused = True
        self.proton.open()
        self.detach(condition=condition)
        self.closed = True

    def stop_flow(self) -> None:
        """Take the credit of a receiving link back (section 2.6.7): the peer uses it up or gives it up, then on_credit
        tells.
        """
        if not self.closed:
            pn_link_drain(self.c, 0)

    def drain_answered(self) -> None:
        """A sending link with nothing left to send uses up the credit of a peer that asked to drain (section 2.6.7)."""
        if not self.closed and pn_link_get_drain(self.c):
            pn_link_drained(self.c)

    def detach(self, closed: bool = True, condition: Condition | None = None) -> None:
        """End the link. ``closed`` False keeps the terminus for a later attach."""
        if self.closed:
            return
        link = self.proton
        if condition is not None:
            link.condition = ProtonCondition(condition.name, condition.description)
        if closed:
            link.close()
        else:
            link.detach()


def terminus_of(terminus: ProtonTerminus) -> Terminus:
    if terminus.type == ProtonTerminus.UNSPECIFIED:
        return Terminus(None)
    return Terminus(
        address=terminus.address,
        timeout=terminus.timeout,
        dynamic=terminus.dynamic,
        coordinator=terminus.type == ProtonTerminus.COORDINATOR,
        capabilities=symbols(_first(terminus.capabilities)),
    )


def _echo(terminus: ProtonTerminus, remote: ProtonTerminus, understood: Terminus) -> None:
    """Not by Proton's copy: that of a capability or filter which cannot be encoded again crashes the process."""
    fill(terminus, understood)
    terminus.type = remote.type
    terminus.dynamic = understood.dynamic
    terminus.durability = remote.durability
    terminus.expiry_policy = remote.expiry_policy
    terminus.timeout = remote.timeout


def fill(terminus: ProtonTerminus, wanted: Terminus) -> None:
    if wanted.address is not None:
        terminus.address = wanted.address
    else:
        terminus.type = ProtonTerminus.TARGET
    if wanted.timeout:
        terminus.expiry_policy = ProtonTerminus.EXPIRE_WITH_LINK
        terminus.timeout = wanted.timeout
    if wanted.durable:
        terminus.durability = ProtonTerminus.DELIVERIES
        terminus.expiry_policy = ProtonTerminus.EXPIRE_NEVER
    if wanted.capabilities:
        data = terminus.capabilities
        data.put_array(False, Data.SYMBOL)
        data.enter()
        for name in wanted.capabilities:
            data.put_symbol(symbol(name))
        data.exit()


def _first(data: Data) -> object:
    data.rewind()
    return data.get_object() if data.next() is not None else None


def symbols(value: object) -> tuple[str, ...]:
    """A symbol, or an array or list of them, as the specification allows for "multiple" fields (section 1.4).

    Raises ValueError for what could not be sent back as one.
    """
    if value is None:
        return ()
    items = value.elements if isinstance(value, Array) else value if isinstance(value, (list, tuple)) else (value,)
    for item in items:
        if not isinstance(item, str) or not item.isascii():
            raise ValueError(f"{short(item)} stands where a symbol is due")
    return tuple(str(item) for item in items)
