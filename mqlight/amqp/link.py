"""Run one end of an AMQP link (section 2.6).

The rules of this file:

* Counts of deliveries and credit never wrap here. They are cut to 32 bits when they are written.
* A ``closed`` link is over for its owner. It is forgotten when the peer has detached it too.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from mqlight.amqp.codec import encode
from mqlight.amqp.frames import (
    ACCEPTED_STATE,
    ATTACH,
    DETACH,
    FLOW,
    REJECTED,
    U32,
    Fields,
    described_error,
    frame,
    performative,
    transfer_head,
)
from mqlight.amqp.incoming import Incoming
from mqlight.amqp.sending import SendingLink, SessionState
from mqlight.amqp.termini import SOURCE, TARGET, answered_terminus, wanted_terminus
from mqlight.amqp.types import Condition, Handle, Outcome, Terminus
from mqlight.amqp.values import Described, Symbol, Ubyte, Uint, Ulong

OVERHEAD: Final = 64
"""The most bytes that a transfer frame adds to the message in it."""
STATES: Final[dict[Outcome, bytes]] = {
    Outcome.ACCEPTED: ACCEPTED_STATE,
    Outcome.REJECTED: b"\x00\x53\x25\x45",
    Outcome.RELEASED: b"\x00\x53\x26\x45",
    Outcome.MODIFIED: b"\x00\x53\x27\xc0\x02\x01\x41",
    Outcome.UNDELIVERABLE: b"\x00\x53\x27\xc0\x03\x02\x41\x41",
}
"""The encoded states of the outcomes (section 3.4)."""
_RECEIVED: Final = b"\x00\x53\x23\xc0\x03\x02\x43\x44"
_accepted: Final = Outcome.ACCEPTED
_missing: Final = object()


class LinkHandler(Protocol):
    """The events of a link. No method may block, and all results but the True of ``on_message`` are ignored.

    ``Engine.receive`` passes on an exception of a method.
    """

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> object:
        """Take a whole message that arrived.

        Unless it is ``settled``, return True to accept it now, or call ``Link.settle`` now or later. A message that is
        settled already stays so.
        """

    def on_outcomes(self, link: Link, tokens: list[Any], outcome: Outcome, condition: Condition | None) -> object:
        """Take the outcome of messages that the peer settled together, in order.

        ``Link.send`` got one of the ``tokens`` with each message.
        """

    def on_received(self, link: Link, token: Any) -> object:
        """Take note that the peer works on a message and has not settled it (section 3.4.1)."""

    def on_credit(self, link: Link) -> object:
        """Take note of a flow for the link: a sending link may have credit now, a receiving link may be drained."""

    def on_detach(self, link: Link, closed: bool, condition: Condition | None) -> object:
        """Take note that the link is gone. Its handles are void; ``link.unsettled`` has the tokens not settled."""


class Link(SendingLink):
    """One end of a link. ``handler`` gets its events. ``context`` is free for the link's owner."""

    __slots__ = (
        "attached_here", "context", "drain", "fault", "handler", "held", "incoming", "local", "max_message_size",
        "peer_handle", "peer_max_message_size", "properties", "rcv_mode", "refused", "remote_source", "remote_target",
        "snd_mode", "source", "tags", "target",
    )  # fmt: skip

    def __init__(
        self,
        session: SessionState,
        name: str,
        receiver: bool,
        local: bool,
        handler: LinkHandler,
        max_message_size: int,
    ) -> None:
        super().__init__(session, name, receiver)
        self.local = local
        """Whether this end attached the link first."""
        self.handler = handler
        self.context: Any = None
        self.fault: Condition | None = None
        """The peer's fault for which this end has ended the link."""
        self.refused = False
        self.max_message_size = max_message_size
        self.peer_max_message_size = 0
        """The most bytes that the peer takes in one message, 0 if the peer named no limit."""
        self.source = Terminus(None)
        """The source in the peer's attach. ``target`` likewise."""
        self.target = Terminus(None)
        self.held: set[Handle] = set()
        """The received messages of a receiving link that are not settled."""
        self.peer_handle = -1
        self.attached_here = False
        self.drain = False
        """Whether a drain is open: the peer asked a sending link for it, or this end as the receiver asked."""
        self.incoming: Incoming | None = None
        """The message that has begun to arrive."""
        self.tags: dict[int, bytes] | None = None
        """Delivery tags that differ from the delivery's number, on a link whose rejections must name the tag."""
        self.remote_source: Fields | None = None
        """The source that the peer gave, until this end has answered. ``remote_target`` likewise."""
        self.remote_target: Fields | None = None
        self.snd_mode = -1
        """The settle mode that the peer asked for, -1 for none (section 2.8.2)."""
        self.rcv_mode = -1
        self.properties: dict[str, bool] | None = None

    @property
    def credit(self) -> int:
        """The number of further messages that the sending end may send. Messages that wait have used their credit."""
        return 0 if self.closed else max(0, self.limit - self.count - len(self.queue))

    @property
    def settles_at_once(self) -> bool:
        """Whether the peer asked for settled deliveries only (at most once)."""
        return self.snd_mode == 1

    # Attaching

    def attach(self, mode: int, source: Terminus, target: Terminus) -> Link:
        """Ask the peer for the link. ``mode`` is the snd-settle-mode (section 2.8.2), -1 for none. Return the link."""
        self.snd_mode = mode
        self._write_attach(wanted_terminus(source, SOURCE), wanted_terminus(target, TARGET))
        self.snd_mode = -1
        return self

    def accept(self) -> None:
        """Answer the peer's attach with ``source`` and ``target``, and with its settle modes.

        ``source`` and ``target`` are the peer's own, or those that the link's owner set instead. This end settles
        received messages at once, so a sender's ``rcv-settle-mode`` ``second`` is answered with ``first`` (section
        2.8.3).
        """
        source = answered_terminus(self.source, self.remote_source, SOURCE, not self.receiver)
        target = answered_terminus(self.target, self.remote_target, TARGET, self.receiver)
        if self.receiver and self.rcv_mode == 1:
            self.rcv_mode = 0
        if self.receiver and self.target.address is None and not self.target.coordinator:
            self.tags = {}
        self._write_attach(source, target)

    def refuse(self, condition: Condition) -> None:
        """Answer the peer's attach with a null terminus, then detach (section 2.6.3). The handler is not called."""
        self.refused = True
        source, target = self.remote_source, self.remote_target
        self._write_attach(
            answered_terminus(self.source, source, SOURCE, False) if self.receiver else None,
            None if self.receiver else answered_terminus(self.target, target, TARGET, False),
        )
        self.detach(True, condition)
        self.closed = True

    def _write_attach(self, source: Any, target: Any) -> None:
        """Take a handle and write our attach (section 2.7.3). A second call does nothing."""
        session = self.session
        if self.attached_here or self.closed or session.ended:
            return
        self.attached_here = True
        self.handle = session.take_handle()
        properties: Any = None
        if self.properties is not None:
            properties = {Symbol(key): value for key, value in self.properties.items()}
        most = Ulong(self.max_message_size) if self.receiver and self.max_message_size else None
        fields: list[Any] = [
            self.name,
            Uint(self.handle),
            self.receiver,
            _mode(self.snd_mode),
            _mode(self.rcv_mode),
            source,
            target,
            None,  # an earlier link of this name has left no unsettled deliveries (section 2.6.13)
            None,
            None if self.receiver else Uint(0),
            most,
            None,
            None,
            properties,
        ]
        session.write(frame(session.channel, performative(ATTACH, fields)))
        self.remote_source = self.remote_target = None
        self.head = transfer_head(session.channel, self.handle)
        self.room = -1 if self.receiver else min(self.out.peer_frame, 1 << 24) - OVERHEAD

    def detach(
        self, closed: bool = True, condition: Condition | None = None, info: dict[str, Any] | None = None
    ) -> None:
        """End the link. ``closed`` False keeps the terminus for a later attach. A second call does nothing."""
        session = self.session
        if self.closed or self.detached or self.handle < 0 or session.ended:
            return
        self.detached = True
        if not self.receiver:
            self.limit = self.count
        error = described_error(condition, self.out.peer_frame, info)
        session.write(
            frame(session.channel, performative(DETACH, [Uint(self.handle), True if closed else None, error]))
        )

    # Credit

    def flow(self, credit: int) -> None:
        """Grant ``credit`` more messages to the peer.

        Raises:
            ValueError: the link-credit would be below 0 or not below 2**32 (section 2.6.7).
        """
        if not self.closed:
            granted = max(0, self.limit - self.count) + credit
            if credit < 0 or granted > U32:
                raise ValueError(f"a link-credit of {granted} cannot be granted: it is from 0 to {U32}")
            self.limit += credit
            self.drain = False
            self.write_flow()

    def stop_flow(self) -> None:
        """Take the credit back. The peer uses it or gives it up; then ``on_credit`` is called (section 2.6.7)."""
        if not self.closed:
            self.drain = True
            self.write_flow()

    def forget_delivery(self, number: int) -> None:
        """Forget a received delivery that was aborted or ignored, and give the peer its credit back."""
        if self.tags:
            self.tags.pop(number, None)
        if not self.closed and not self.drain:
            self.flow(1)

    def drain_answered(self) -> None:
        """Give up the credit if the peer asked for a drain and no message waits."""
        if not self.closed and self.drain and not self.queue:
            self.count = max(self.count, self.limit)
            self.write_flow()
            self.drain = False

    def on_queue_sent(self) -> None:
        """Tell the handler, so that it answers a drain that had to wait for the queue."""
        if self.drain and not self.closed:
            self.handler.on_credit(self)

    def write_flow(self) -> None:
        """Write the state of the link (section 2.7.4)."""
        session = self.session
        if self.handle < 0 or self.detached or session.ended:
            return
        known = not self.receiver or self.peer_handle >= 0
        fields: list[Any] = session.flow_fields()
        fields += [
            Uint(self.handle),
            Uint(self.count & U32) if known else None,
            Uint(max(0, self.limit - self.count)),
            None if self.receiver else Uint(len(self.queue)),
            True if self.drain else None,
        ]
        session.write(frame(session.channel, performative(FLOW, fields)))

    # Outcomes

    def on_outcomes(self, numbers: list[int], outcome: Outcome, condition: Condition | None) -> None:
        unsettled, late = self.unsettled, self.late
        keys = [late.pop(number, number) for number in numbers] if late else numbers
        tokens = [unsettled.pop(key) for key in keys if key in unsettled]
        if tokens and not self.closed:
            self.handler.on_outcomes(self, tokens, outcome, condition)

    def on_received(self, number: int) -> None:
        """Tell the handler that the peer works on a message (section 3.4.1)."""
        token = self.unsettled.get(self.late.get(number, number), _missing)
        if token is not _missing and not self.closed:
            self.handler.on_received(self, token)

    def settle(self, handle: Handle, outcome: Outcome, condition: Condition | None = None) -> bool:
        """Settle a received message.

        Returns:
            False if the link is gone, so the peer will deliver the message again, or if the message was settled before.
        """
        if self.closed:
            return False
        try:
            self.held.remove(handle)
        except KeyError:
            return False
        out = self.out
        if outcome is _accepted:
            if self.tags:
                self.tags.pop(handle, None)
            if handle == out.last + 1 and out.state is ACCEPTED_STATE and out.channel == self.session.channel:
                out.last = handle
            else:
                out.add_disposition(self.session.channel, handle, ACCEPTED_STATE, True)
            return True
        state = STATES[outcome]
        info: dict[str, Any] | None = None
        if self.tags is not None:
            tag = self.tag(handle)
            self.tags.pop(handle, None)
            info = {"delivery-tag": tag}
        if outcome == Outcome.REJECTED and condition is not None and (condition.name or condition.description):
            error = described_error(condition, out.peer_frame, info)
            state = encode(Described(Ulong(REJECTED), [error]))
        out.add_disposition(self.session.channel, handle, state, True)
        return True

    def mark_received(self, handle: Handle) -> bool:
        """Tell the sender that work on a received message begins; it stays unsettled (section 3.4.1).

        Return False if the link is gone, or if the message was settled before.
        """
        if self.closed or handle not in self.held:
            return False
        self.out.add_disposition(self.session.channel, handle, _RECEIVED, False)
        return True

    def tag(self, handle: Handle) -> bytes:
        """Return the delivery tag of an unsettled message, on a link without target address."""
        number = handle.to_bytes(4, "big")
        return number if self.tags is None else self.tags.get(handle, number)

    # The end

    def fail(self, condition: Condition, info: dict[str, Any] | None = None) -> None:
        """Detach because of the peer's fault, and tell the handler at once. Later frames of the link are discarded."""
        if self.closed:
            return
        self.detach(True, condition, info)
        self.closed = True
        self.fault = condition
        self.handler.on_detach(self, True, None)

    def drop(self, closed: bool, condition: Condition | None) -> None:
        """End the link, which voids its handles, and tell the handler."""
        session = self.session
        already = self.closed
        self.closed = True
        self.limit = self.count
        session.waiting.pop(self, None)
        for key in self.unsettled:
            session.unsettled.pop(key, None)
        for number in self.late:
            session.unsettled.pop(number, None)
        if not already:
            self.handler.on_detach(self, closed, condition)
        self.late.clear()
        self.queue.clear()
        self.unsettled.clear()
        self.held.clear()


def _mode(value: int) -> Any:
    return None if value < 0 else Ubyte(value)
