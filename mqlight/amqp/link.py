"""One end of an AMQP link (section 2.6).

The rules of this file:

* Counts of deliveries and credit never wrap here; they are cut to 32 bits where they are written.
* A message without credit, or without room in the session's window, waits in the link's queue.
* A link that is ``closed`` is over for its owner. It is forgotten when the peer has detached it as well.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from mqlight.amqp.codec import encode
from mqlight.amqp.frames import (
    ATTACH,
    DETACH,
    FLOW,
    REJECTED,
    U32,
    Fields,
    described_error,
    frame,
    performative,
)
from mqlight.amqp.output import uint
from mqlight.amqp.termini import SOURCE, TARGET, answered_terminus
from mqlight.amqp.types import Condition, Handle, LinkHandler, Outcome, Terminus
from mqlight.amqp.values import Described, Symbol, Ubyte, Uint, Ulong

if TYPE_CHECKING:
    from mqlight.amqp.session import Session

OVERHEAD: Final = 64
"""Bytes of a transfer frame beside the message in it, at the most."""
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


class Queued:
    """A message that waits for credit or for the peer's window. ``at`` bytes of it are sent."""

    __slots__ = ("at", "key", "message", "number", "settled")

    def __init__(self, message: bytes, key: int, settled: bool) -> None:
        self.message = message
        self.key = key
        self.settled = settled
        self.at = 0
        self.number = -1


class Link:
    """One end of a link. ``context`` is its owner's to use; ``handler`` is told what happens on it."""

    __slots__ = (
        "attached_here",
        "closed",
        "context",
        "count",
        "detached",
        "drain",
        "format",
        "handle",
        "handler",
        "head",
        "held",
        "key",
        "late",
        "limit",
        "local",
        "max_message_size",
        "name",
        "part_number",
        "part_settled",
        "part_size",
        "parts",
        "peer_handle",
        "peer_max_message_size",
        "properties",
        "queue",
        "rcv_mode",
        "receiver",
        "refused",
        "remote_source",
        "remote_target",
        "room",
        "session",
        "snd_mode",
        "source",
        "tags",
        "target",
        "unsettled",
    )

    def __init__(self, session: Session, name: str, receiver: bool, local: bool) -> None:
        self.session = session
        self.name = name
        self.receiver = receiver
        """This end receives."""
        self.local = local
        """This end attached the link."""
        self.handler: LinkHandler = session.connection.handler
        self.context: Any = None
        self.closed = False
        self.refused = False
        self.max_message_size = session.connection.max_message_size
        self.peer_max_message_size = 0
        """The most bytes that the peer takes in one message, 0 when it did not say."""
        self.source = Terminus(None)
        """The source as the peer says that it is; the target likewise."""
        self.target = Terminus(None)
        self.unsettled: dict[int, Any] = {}
        """Of a sending link: the token of each unsettled message, oldest first."""
        self.held: set[Handle] = set()
        """Of a receiving link: what arrived and is not settled."""
        self.handle = -1
        self.peer_handle = -1
        self.attached_here = False
        self.detached = False
        """Our detach is written."""
        self.count = 0
        """Deliveries on this link up to now."""
        self.limit = 0
        """``count`` may become so much: the difference is the credit (section 2.6.7)."""
        self.drain = False
        """A drain is asked for: by the peer on a sending link, and not answered; by this end on a receiving link."""
        self.head = b""
        """What each of our transfers begins with, up to the delivery's number."""
        self.room = -1
        """Bytes of a message that fit into one frame; -1 where this end receives."""
        self.queue: deque[Queued] = deque()
        self.key = 0
        self.late: dict[int, int] = {}
        """The keys in ``unsettled`` of messages that waited, by delivery number."""
        self.parts: list[bytes] | None = None
        """The message that has begun to arrive."""
        self.part_size = 0
        self.part_number = 0
        self.part_settled = False
        self.format = 0
        self.tags: dict[int, bytes] | None = None
        """Delivery tags that are not the delivery's number, where a rejection must name them."""
        self.remote_source: Fields | None = None
        self.remote_target: Fields | None = None
        self.snd_mode = -1
        """The settle mode that the peer asked for, -1 for none (section 2.8.2)."""
        self.rcv_mode = -1
        self.properties: dict[str, bool] | None = None

    @property
    def credit(self) -> int:
        """How many more messages the sending end may send. Messages that wait have used theirs."""
        return 0 if self.closed else max(0, self.limit - self.count - len(self.queue))

    @property
    def settles_at_once(self) -> bool:
        """The peer asked for settled deliveries only: at most once."""
        return self.snd_mode == 1

    # Attaching

    def accept(self) -> None:
        """Answer the peer's attach with ``source`` and ``target``, and with its settle modes.

        They are what the peer asked for or, if their owner has set them, what it is granted. This end settles what it
        receives at once, so a sender's ``rcv-settle-mode`` of ``second`` is answered as ``first`` (section 2.8.3).
        """
        source = answered_terminus(self.source, self.remote_source, SOURCE, not self.receiver)
        target = answered_terminus(self.target, self.remote_target, TARGET, self.receiver)
        if self.receiver and self.rcv_mode == 1:
            self.rcv_mode = 0
        if self.receiver and self.target.address is None and not self.target.coordinator:
            self.tags = {}
        self.write_attach(source, target)

    def refuse(self, condition: Condition) -> None:
        """Answer the peer's attach with a null terminus, then detach (section 2.6.3). Nothing more is heard of it."""
        self.refused = True
        source, target = self.remote_source, self.remote_target
        self.write_attach(
            answered_terminus(self.source, source, SOURCE, False) if self.receiver else None,
            None if self.receiver else answered_terminus(self.target, target, TARGET, False),
        )
        self.detach(True, condition)
        self.closed = True

    def write_attach(self, source: Any, target: Any) -> None:
        """Write our attach (section 2.7.3)."""
        session = self.session
        if self.attached_here or self.closed or session.ended:
            return
        self.attached_here = True
        handle = session.free.pop() if session.free else len(session.handles)
        session.handles[handle] = self
        self.handle = handle
        properties: Any = None
        if self.properties is not None:
            properties = {Symbol(key): value for key, value in self.properties.items()}
        fields: list[Any] = [
            self.name,
            Uint(handle),
            self.receiver,
            _mode(self.snd_mode),
            _mode(self.rcv_mode),
            source,
            target,
            None,
            None,
            None if self.receiver else Uint(0),
            Ulong(self.max_message_size) if self.receiver and self.max_message_size else None,
            None,
            None,
            properties,
        ]
        session.write(frame(session.channel, performative(ATTACH, fields)))
        inner = uint(handle) + b"\x70"
        head = b"\x02\x00" + session.channel.to_bytes(2, "big") + b"\x00\x53\x14\xc0"
        self.head = head + bytes((len(inner) + 4 + 6 + 2 + 1, 5)) + inner
        self.room = -1 if self.receiver else min(session.connection.peer_frame, 1 << 24) - OVERHEAD

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
        """Grant ``credit`` more messages to the peer."""
        if not self.closed:
            self.limit += credit
            self.drain = False
            self.write_flow()

    def stop_flow(self) -> None:
        """Take the credit back: the peer uses it up or gives it up, then ``on_credit`` is told (section 2.6.7)."""
        if not self.closed:
            self.drain = True
            self.write_flow()

    def drain_answered(self) -> None:
        """Give up the credit if the peer asked for it back, and nothing waits to be sent."""
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
        """Send an encoded message. It waits if there is no credit. ``token`` comes back with its outcome unless
        ``settled``.

        Raises:
            ValueError: this end receives on the link.
        """
        session = self.session
        if (
            self.count >= self.limit
            or session.next_out >= session.window
            or len(message) > self.room
            or self.queue
            or session.connection.out.closed
        ):
            self._send_later(message, token, settled)
            return
        session.next_out += 1
        self.count += 1
        delivery = session.delivery
        session.delivery = delivery + 1
        number = (delivery & 0xFFFFFFFF).to_bytes(4, "big")
        head = self.head
        if settled:
            tail = _SETTLED
        else:
            tail = _UNSETTLED
            delivery &= 0xFFFFFFFF
            self.unsettled[delivery] = token
            session.unsettled[delivery] = self
        size = 16 + len(head) + len(message)
        out = session.connection.out
        parts = out.parts
        parts.append(size.to_bytes(4, "big") + head + number + _TAG + number + tail)
        parts.append(message)
        out.size += size

    def _send_later(self, message: bytes, token: Any, settled: bool) -> None:
        if self.receiver:
            raise ValueError(f"the link {self.name!r} receives; a message needs a link of attach_sender()")
        key = 0
        if not settled:  # it has no number yet: its key is below zero, and stays so
            self.key -= 1
            key = self.key
            self.unsettled[key] = token
        if self.closed or self.session.connection.out.closed:
            return  # the owner finds its token in ``unsettled``
        self.queue.append(Queued(message, key, settled))
        self.session.waiting[self] = None
        self.send_queue()

    def send_queue(self) -> None:
        """Send what waits, as far as there are credit and room."""
        session, queue = self.session, self.queue
        if self.detached or session.ended:
            return
        while queue and session.next_out < session.window:
            item = queue[0]
            if item.number < 0:
                if self.count >= self.limit:
                    return
                item.number = session.delivery & U32
                session.delivery += 1
                self.count += 1
                if not item.settled:
                    session.unsettled[item.number] = self
                    self.late[item.number] = item.key
            session.next_out += 1
            number = item.number.to_bytes(4, "big")
            start = item.at
            part = item.message[start : min(start + self.room, len(item.message))]
            item.at += len(part)
            more = item.at < len(item.message)
            state = (_SETTLED if item.settled else _UNSETTLED) + (b"\x41" if more else b"\x42")
            fields = uint(self.handle) + b"\x70" + number + _TAG + number + state
            session.write(frame(session.channel, b"\x00\x53\x14\xc0" + bytes((len(fields) + 1, 6)) + fields + part))
            if not more:
                queue.popleft()
        if not queue:
            session.waiting.pop(self, None)

    # Outcomes out

    def settle(self, handle: Handle, outcome: Outcome, condition: Condition | None = None) -> bool:
        """Settle a received message. Return False when its link is gone, and the peer will deliver it again, or when it
        was settled before.
        """
        if self.closed or handle not in self.held:
            return False
        self.held.remove(handle)
        out = self.session.connection.out
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
        """Tell the sender that work on a received message begins; it stays unsettled (section 3.4.4).

        Return False when its link is gone, or when it was settled before.
        """
        if self.closed or handle not in self.held:
            return False
        self.session.connection.out.add_disposition(self.session.channel, handle, _RECEIVED, False)
        return True

    def tag(self, handle: Handle) -> bytes:
        """Return the delivery tag of a message on a link without target address, while it is unsettled."""
        number = handle.to_bytes(4, "big")
        return number if self.tags is None else self.tags.get(handle, number)

    # The end

    def fail(self, condition: Condition, info: dict[str, Any] | None = None) -> None:
        """Detach because of the peer's fault, and tell the handler at once. What still comes is discarded."""
        if self.closed:
            return
        self.detach(True, condition, info)
        self.closed = True
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
        self.late.clear()
        self.queue.clear()
        self.forget_parts()
        if not already:
            self.handler.on_detach(self, closed, condition)
        self.unsettled.clear()
        self.held.clear()

    def forget_parts(self) -> None:
        """Forget a message that has begun to arrive."""
        self.session.connection.partial -= self.part_size
        self.part_size = 0
        self.parts = None


def _mode(value: int) -> Any:
    return None if value < 0 else Ubyte(value)
