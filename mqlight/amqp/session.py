"""Run one AMQP session (section 2.5): its windows and links, and the peer's frames for them.

The rules of this file:

* A fault of the peer raises :class:`SessionError`, which ends the session, or :class:`GarbledError`, which ends the
  connection. A fault of one link ends that link.
* Numbers of transfers and deliveries never wrap here.
* Our incoming window is always fully open. Credit and the largest message bound the memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from mqlight.amqp.connection import Connection
from mqlight.amqp.frames import (
    BEGIN,
    END,
    FLOW,
    MAX_TAG,
    U32,
    U64,
    Fields,
    GarbledError,
    SessionError,
    behind,
    described_error,
    frame,
    performative,
    transfer_head,
)
from mqlight.amqp.incoming import Incoming
from mqlight.amqp.link import Link
from mqlight.amqp.sending import WINDOW, SendingLink, SessionState
from mqlight.amqp.termini import SOURCE, TARGET, read_terminus
from mqlight.amqp.types import Condition, Outcome
from mqlight.amqp.values import Uint, Ushort

NO_NAME: Final = "sender-xxx"
"""The name that Proton's Messenger gives all its sending links, each on its own session."""


class Session(SessionState):
    """One session."""

    __slots__ = ("attaching", "connection", "peer_channel", "peer_handle_max", "remote")

    def __init__(self, connection: Connection, channel: int) -> None:
        super().__init__(connection.out, channel)
        self.connection = connection
        self.peer_channel = -1
        self.peer_handle_max = U32
        self.remote: dict[int, Link] = {}
        """Links by the peer's handle."""
        self.attaching: dict[tuple[str, bool], Link] = {}
        """Links that this end attached and the peer has not answered yet."""

    def write_begin(self) -> None:
        """Write our begin (section 2.7.2)."""
        peer = Ushort(self.peer_channel) if self.peer_channel >= 0 else None
        fields: list[Any] = [peer, Uint(self.next_out), Uint(WINDOW), Uint(WINDOW)]
        self.write(frame(self.channel, performative(BEGIN, fields)))

    def begin(self, fields: Fields, channel: int) -> None:
        """Take the peer's begin, which came on ``channel``."""
        next_out = fields.needed(1, U32, "next-outgoing-id")
        window = fields.needed(2, U32, "incoming-window")
        fields.needed(3, U32, "outgoing-window")
        handle_max = fields.number(4, U32)
        self.begun = True
        self.peer_channel = channel
        self.peer_handle_max = handle_max if handle_max >= 0 else U32
        self.next_in = next_out
        self.window = self.next_out + window

    def end(self, condition: Condition | None) -> None:
        """Write our end (section 2.7.8). A second call does nothing."""
        if not self.ended:
            error = described_error(condition, self.out.peer_frame)
            self.write(frame(self.channel, performative(END, [error])))
            self.ended = True

    def drop(self, condition: Condition | None) -> None:
        """Forget the links because the session is over."""
        for link in self.connection.links():
            if link.session is self:
                self._forget(link, False, condition)

    def _forget(self, link: Link, closed: bool, condition: Condition | None) -> None:
        """Forget a link, and tell its handler."""
        connection = self.connection
        connection.discarded = 0
        if self.remote.get(link.peer_handle) is link:
            del self.remote[link.peer_handle]
            connection.usual.pop(transfer_head(self.peer_channel, link.peer_handle), None)
        if link.handle >= 0:
            self.handles -= 1
            self.free.append(link.handle)
        key = (link.name, link.receiver)
        if self.attaching.get(key) is link:
            del self.attaching[key]
        if connection.attached.get(key) is link:
            del connection.attached[key]
        connection.all_links.pop(link, None)
        if link.incoming is not None:
            self._data_of(link.incoming)
            link.incoming = None
        link.drop(closed, condition)

    def _link(self, fields: Fields, what: str) -> Link:
        handle = fields.needed(0 if what != "flow" else 4, U32, "handle")
        link = self.remote.get(handle)
        if link is None:
            raise SessionError(
                "amqp:session:unattached-handle", f"a {what} came for handle {handle}, which has no link"
            )
        return link

    # Attach and detach

    def on_attach(self, fields: Fields) -> None:
        """Take an attach (section 2.7.3)."""
        name, handle = fields.text(0), fields.needed(1, U32, "handle")
        if name is None:
            raise GarbledError("an attach lacks its mandatory field name")
        name = str(name)
        receiver = not fields.role(2)
        source, target = fields.described(5), fields.described(6)
        size, snd_mode, rcv_mode = fields.number(10, U64), fields.number(3, 2), fields.number(4, 1)
        count = fields.number(9, U32)
        fields.map(7)  # the peer's unsettled deliveries are unknown here: our answers have no such map (section 2.6.13)
        if receiver and count < 0:
            raise GarbledError("the attach of a sender lacks its mandatory field initial-delivery-count")
        read_source, read_target = read_terminus(source, SOURCE), read_terminus(target, TARGET)
        if handle in self.remote:
            raise SessionError("amqp:session:handle-in-use", f"an attach came for handle {handle}, which is in use")
        connection = self.connection
        key = (name, receiver)
        link = self.attaching.pop(key, None)
        if link is None:
            if self.handles > self.peer_handle_max:
                reason = f"the peer attached more links than its handle-max of {self.peer_handle_max} lets us answer"
                raise SessionError("amqp:not-allowed", reason)
            self._steal(key, read_target.address)
            link = connection.new_link(self, name, receiver, False)
            link.remote_source, link.remote_target = source, target
        link.peer_handle = handle
        if receiver:
            connection.usual[transfer_head(self.peer_channel, handle)] = link
        self.remote[handle] = link
        link.source, link.target = read_source, read_target
        link.snd_mode, link.rcv_mode = snd_mode, rcv_mode
        link.peer_max_message_size = max(0, size)
        if receiver:
            link.limit += count - link.count
            link.count = count
        connection.handler.on_attach(link)

    def _steal(self, key: tuple[str, bool], address: str | None) -> None:
        """End the old link that has the name of a new link, on any session (section 2.6.1)."""
        old = self.connection.attached.get(key)
        if old is None or old.closed or old.detached:
            return
        if old.name == NO_NAME and old.session is not self and old.target.address != address:
            return
        condition = Condition("amqp:link:stolen", f"another attach of the link {old.name:.80} took its place")
        old.detach(True, condition)
        old.closed = True
        old.handler.on_detach(old, False, condition)

    def on_detach(self, fields: Fields) -> None:
        """Take a detach (section 2.7.7).

        Unsettled received messages are released first, so that none settles without a state (section 2.6.13).
        """
        link = self._link(fields, "detach")
        closed, condition = fields.flag(1), fields.condition(2)
        if not link.closed and not link.detached:
            for handle in sorted(link.held):
                link.settle(handle, Outcome.RELEASED)
            link.detach(closed)
        self._forget(link, closed, condition)

    # Flow

    def on_flow(self, fields: Fields) -> None:
        """Take a flow (section 2.7.4)."""
        next_in, window = fields.number(0, U32), fields.needed(1, U32, "incoming-window")
        fields.needed(2, U32, "next-outgoing-id")
        fields.needed(3, U32, "outgoing-window")
        link = self._link(fields, "flow") if fields.number(4, U32) >= 0 else None
        self.window = self.next_out - behind(self.next_out, max(0, next_in)) + window
        if link is not None:
            count, credit = fields.number(5, U32), fields.number(6, U32)
            if link.receiver:
                moved = -behind(link.count, count) if count >= 0 else 0
                if moved > 0:
                    link.count = min(link.count + moved, max(link.limit, link.count))
            else:
                # A count above the messages sent would mean a credit of more than 32 bits.
                used = link.count if count < 0 else max(0, behind(link.count, count))
                if not link.detached and credit >= 0:
                    link.limit = link.count - used + credit
                link.drain = fields.flag(8)
        for waiting in list(self.waiting):
            waiting.send_waiting()
            if waiting is not link and not waiting.queue:
                waiting.on_queue_sent()
        echo = fields.flag(9)
        if link is None:
            if echo:
                self.write(frame(self.channel, performative(FLOW, self.flow_fields())))
        elif not link.closed:
            link.handler.on_credit(link)
            if echo and not link.closed:
                link.write_flow()

    # Transfers

    def on_transfer(self, fields: Fields, payload: bytes) -> None:
        """Take a transfer (section 2.7.5)."""
        link = self._link(fields, "transfer")
        if not link.receiver:
            raise GarbledError("a message came over a link that this end sends on")
        self.next_in += 1
        number, tag, form = fields.number(1, U32), fields.any(2), fields.number(3, U32)
        settled, resumed, aborted = fields.flag(4), fields.flag(8), fields.flag(9)
        over = aborted or not fields.flag(5)
        message = link.incoming
        if message is None:
            tag = self._begin_delivery(link, number, tag)
            message = link.incoming = Incoming(number, tag, form, resumed)
        elif (wrong := message.wrong(number, tag, form)) is not None:
            link.fail(wrong)
        message.settled = message.settled or settled
        if over:
            link.incoming = None
        if link.closed:
            self.connection.discard()
            self._data_of(message)
        elif aborted or message.unwanted:
            self._data_of(message)
            if over:
                link.forget_delivery(message.number)
        else:
            message.add(payload)
            self.connection.partial += len(payload)
            if link.max_message_size and message.size > link.max_message_size:
                self._data_of(message)
                reason = f"the message is larger than the {link.max_message_size} bytes that are allowed"
                link.fail(Condition("amqp:link:message-size-exceeded", f"{reason} (max-message-size)"))
            elif over:
                self.deliver(link, message.number, self._data_of(message), message.settled)

    def _begin_delivery(self, link: Link, number: int, tag: Any) -> bytes:
        """Count a delivery that begins, and return its tag."""
        if number < 0 or (self.expected >= 0 and number != self.expected):
            raise GarbledError(f"the delivery {number} came where {self.expected} was due")
        if not isinstance(tag, bytes):
            raise GarbledError("the first transfer of a delivery lacks its mandatory field delivery-tag")
        if len(tag) > MAX_TAG:
            raise GarbledError(f"a delivery-tag of {len(tag)} bytes came, where there may be up to {MAX_TAG}")
        self.expected = (number + 1) & U32
        if link.count >= link.limit and not link.closed:
            link.fail(Condition("amqp:link:transfer-limit-exceeded", "a message came without link-credit"))
        link.count += 1
        if link.tags is not None and tag != number.to_bytes(4, "big"):
            link.tags[number] = tag
        return tag

    def _data_of(self, message: Incoming) -> bytes:
        """Return the bytes that have arrived of a message. They count as unfinished no more."""
        self.connection.partial -= message.size
        return message.forget()

    def deliver(self, link: Link, number: int, message: bytes, settled: bool) -> None:
        """Give a whole message to the link's handler."""
        if not settled:
            link.held.add(number)
        if link.handler.on_message(link, number, message, settled) is True and not settled:
            link.settle(number, Outcome.ACCEPTED)
        if settled and link.tags:
            link.tags.pop(number, None)

    # Outcomes

    def tell(self, numbers: Iterable[int], outcome: Outcome, condition: Condition | None) -> None:
        """Tell the links the outcome of our unsettled deliveries ``numbers``, until the connection is over.

        Deliveries of one link that follow each other are told together.
        """
        unsettled = self.unsettled
        link: SendingLink | None = None
        together: list[int] = []
        for number in numbers:
            owner = unsettled.pop(number, None)
            if owner is None:
                continue
            if owner is not link:
                if link is not None:
                    link.on_outcomes(together, outcome, condition)
                    if self.connection.closed:
                        return
                link, together = owner, []
            together.append(number)
        if link is not None:
            link.on_outcomes(together, outcome, condition)

    def mark(self, numbers: Iterable[int]) -> None:
        """Tell the links that the peer works on our unsettled deliveries ``numbers`` (section 3.4.1)."""
        for number in numbers:
            link = self.unsettled.get(number)
            if link is not None:
                link.on_received(number)
