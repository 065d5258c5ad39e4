"""Run one end of an AMQP link (section 2.6).

The rules of this file:

* Counts of deliveries and credit never wrap here. They are cut to 32 bits when they are written.
* A message without credit, or without room in the session's window, waits in the link's queue.
* A ``closed`` link is over for its owner. It is forgotten when the peer has detached it too.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from mqlight.amqp.attaching import write_attach
from mqlight.amqp.codec import encode
from mqlight.amqp.frames import (
    DETACH,
    FLOW,
    PLAIN,
    REJECTED,
    SETTLED,
    TAG,
    TRANSFER_SIZE,
    U32,
    UNSETTLED,
    Fields,
    described_error,
    frame,
    pack_transfer,
    performative,
)
from mqlight.amqp.handlers import LinkHandler
from mqlight.amqp.incoming import Incoming
from mqlight.amqp.termini import SOURCE, TARGET, answered_terminus
from mqlight.amqp.types import Condition, Handle, Outcome, Terminus
from mqlight.amqp.values import Described, Uint, Ulong
from mqlight.amqp.waiting import Queued, send_later, unsent

if TYPE_CHECKING:
    from mqlight.amqp.session import Session

_STATES: Final[dict[Outcome, bytes]] = {
    Outcome.ACCEPTED: b"\x00\x53\x24\x45",
    Outcome.REJECTED: b"\x00\x53\x25\x45",
    Outcome.RELEASED: b"\x00\x53\x26\x45",
    Outcome.MODIFIED: b"\x00\x53\x27\xc0\x02\x01\x41",
    Outcome.UNDELIVERABLE: b"\x00\x53\x27\xc0\x03\x02\x41\x41",
}
_ACCEPTED: Final = b"\x00\x53\x24\x45"
_RECEIVED: Final = b"\x00\x53\x23\xc0\x03\x02\x43\x44"
_TAG: Final = b"\xa0\x04"
_SETTLED: Final = b"\x43\x41"  # after the message format
_UNSETTLED: Final = b"\x43\x42"
_accepted: Final = Outcome.ACCEPTED


class Link:
    """One end of a link. ``handler`` gets its events. ``context`` is free for the link's owner."""

    __slots__ = (
        "attached_here", "closed", "context", "count", "detached", "drain", "fault", "handle", "handler", "head",
        "held", "incoming", "key", "late", "limit", "local", "max_message_size", "name", "out", "peer_handle",
        "peer_max_message_size", "properties", "queue", "rcv_mode", "receiver", "refused", "remote_source",
        "remote_target", "room", "session", "snd_mode", "source", "tags", "target", "unsettled",
    )  # fmt: skip

    def __init__(self, session: Session, name: str, receiver: bool, local: bool) -> None:
        self.session = session
        self.name = name
        self.receiver = receiver
        """Whether this end receives."""
        self.local = local
        """Whether this end attached the link first."""
        self.out = session.connection.out
        self.handler: LinkHandler = session.connection.handler
        self.context: Any = None
        self.closed = False
        self.fault: Condition | None = None
        """The peer's fault for which this end has ended the link."""
        self.refused = False
        self.max_message_size = session.connection.max_message_size
        self.peer_max_message_size = 0
        """The most bytes that the peer takes in one message, 0 if the peer named no limit."""
        self.source = Terminus(None)
        """The source in the peer's attach. ``target`` likewise."""
        self.target = Terminus(None)
        self.unsettled: dict[int, Any] = {}
        """The token of each unsettled message of a sending link, oldest first."""
        self.held: set[Handle] = set()
        """The received messages of a receiving link that are not settled."""
        self.handle = -1
        self.peer_handle = -1
        self.attached_here = False
        self.detached = False
        """Whether our detach is written."""
        self.count = 0
        """The number of deliveries on this link so far."""
        self.limit = 0
        """The highest ``count`` that is allowed. The difference is the credit (section 2.6.7)."""
        self.drain = False
        """Whether a drain is open: the peer asked a sending link for it, or this end as the receiver asked."""
        self.head = b""
        """The :func:`transfer_head` of a sending link."""
        self.room = -1
        """Bytes of a message that fit into one frame, -1 on a receiving link."""
        self.queue: deque[Queued] = deque()
        self.key = 0
        self.late: dict[int, int] = {}
        """The keys in ``unsettled`` of sent messages that waited before, by delivery number."""
        self.incoming: Incoming | None = None
        """The message that has begun to arrive."""
        self.tags: dict[int, bytes] | None = None
        """Delivery tags that differ from the delivery's number, on a link whose rejections must name the tag."""
        self.remote_source: Fields | None = None
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
        write_attach(self, source, target)

    def refuse(self, condition: Condition) -> None:
        """Answer the peer's attach with a null terminus, then detach (section 2.6.3). The handler is not called."""
        self.refused = True
        source, target = self.remote_source, self.remote_target
        write_attach(
            self,
            answered_terminus(self.source, source, SOURCE, False) if self.receiver else None,
            None if self.receiver else answered_terminus(self.target, target, TARGET, False),
        )
        self.detach(True, condition)
        self.closed = True

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
        error = described_error(condition, info)
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

    def come_to_nothing(self, number: int) -> None:
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

    # Messages out

    def send(self, message: bytes, token: Any = None, settled: bool = False) -> None:
        """Send an encoded message. Without credit it waits.

        Args:
            message: The encoded message.
            token: Any object. The handler gets it back with the message's outcome, unless ``settled``.
            settled: Whether to send the message settled (at most once).

        Raises:
            ValueError: this end receives on the link.
        """
        session, out, size = self.session, self.out, len(message)
        if self.count >= self.limit or session.next_out >= session.window or size > self.room or out.closed:
            send_later(self, message, token, settled)
            return
        session.next_out += 1
        self.count += 1
        delivery = session.delivery
        session.delivery = delivery + 1
        number = delivery & 0xFFFFFFFF
        if not settled:
            self.unsettled[number] = token
            session.unsettled[number] = self
        size += TRANSFER_SIZE
        parts = out.parts
        if PLAIN:
            parts.append(pack_transfer(size, self.head, number, TAG, number, SETTLED if settled else UNSETTLED))
        else:
            raw = number.to_bytes(4, "big")
            parts.append(size.to_bytes(4, "big") + self.head + raw + _TAG + raw + (_SETTLED if settled else _UNSETTLED))
        parts.append(message)
        out.size += size

    # Outcomes out

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
            if handle == out.last + 1 and out.state is _ACCEPTED and out.channel == self.session.channel:
                out.last = handle
            else:
                out.add_disposition(self.session.channel, handle, _ACCEPTED, True)
            return True
        state = _STATES[outcome]
        info: dict[str, Any] | None = None
        if self.tags is not None:
            tag = self.tag(handle)
            self.tags.pop(handle, None)
            info = {"delivery-tag": tag}
        if outcome == Outcome.REJECTED and condition is not None and (condition.name or condition.description):
            state = encode(Described(Ulong(REJECTED), [described_error(condition, info)]))
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
        """Forget the link, which voids its handles, and tell the handler."""
        session = self.session
        already = self.closed
        self.closed = True
        self.limit = self.count
        session.forget(self)
        for key in self.unsettled:
            session.unsettled.pop(key, None)
        for number in self.late:
            session.unsettled.pop(number, None)
        if self.incoming is not None:
            self.incoming.forget()
            self.incoming = None
        if not already:
            self.handler.on_detach(self, closed, condition)
        self.late.clear()
        self.queue.clear()
        self.unsettled.clear()
        self.held.clear()

    def unsent(self) -> list[Any]:
        """Return the tokens of the unsettled messages that the socket has not taken completely."""
        return unsent(self)
