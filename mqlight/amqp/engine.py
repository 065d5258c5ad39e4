"""One AMQP 1.0 connection, either end, without any input or output of its own.

The rules of this file:

* Bytes come in by :meth:`Engine.receive` and go out by :meth:`Engine.output`. What the peer did is told to the handlers
  from inside :meth:`Engine.receive`, :meth:`Engine.end_of_input` and :meth:`Engine.tick`.
* One thread at a time touches an engine and its links. Time is an argument.
* Local misuse raises at once. A fault of the peer ends the link, the session or the connection, and never raises.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from mqlight.amqp.connection import Connection
from mqlight.amqp.frames import (
    AMQP_HEADER,
    ATTACH,
    BEGIN,
    CLOSE,
    DETACH,
    DISPOSITION,
    EMPTY,
    END,
    FLOW,
    OPEN,
    TRANSFER,
    U16,
    U32,
    Fields,
    FrameError,
    GarbledError,
    PeerError,
    SessionError,
    described_error,
    frame,
    performative,
    read_fields,
    symbol_array,
    u32,
)
from mqlight.amqp.greeting import Greeting
from mqlight.amqp.link import Link
from mqlight.amqp.output import CHUNK
from mqlight.amqp.sasl import SaslClient
from mqlight.amqp.session import Session
from mqlight.amqp.termini import SOURCE, TARGET, wanted_terminus
from mqlight.amqp.types import Condition, Handler, Peer, Terminus
from mqlight.amqp.usual_frames import take_disposition, take_transfer
from mqlight.amqp.values import Symbol, Uint, Ushort

if TYPE_CHECKING:
    from mypy_extensions import i64

READ: Final = 8192
"""Bytes to take from a socket at a time: so few that both ends and the server work at once on a stream of messages."""
MIN_FRAME: Final = 512
"""The least max-frame-size that a peer may have (section 2.7.1)."""


class Engine(Connection):
    """One AMQP connection. ``handler`` is told of it, and of each link that is not given a handler of its own.

    Args:
        server: The peer begins, and its SASL is over; else this end begins, with SASL.
        user: The user for PLAIN, with ``password``; without it the client is anonymous, or EXTERNAL where the server
            offers it and ``external`` says that a certificate was shown.
        heartbeat: Seconds that the peer may be silent before the connection counts as broken (0: for ever).
        max_message_size: The most bytes that this end takes in one message (0: any).
    """

    __slots__ = (
        "_beat_at",
        "_began",
        "_bytes_in",
        "_bytes_out",
        "_channels",
        "_close_sent",
        "_container_id",
        "_dead_at",
        "_greeting",
        "_have",
        "_heartbeat",
        "_hostname",
        "_last",
        "_max_channel",
        "_max_frame",
        "_need",
        "_offered",
        "_open_sent",
        "_opened",
        "_parts",
        "_peer_channel_max",
        "_peer_idle",
        "_peers",
        "_properties",
        "_seen_in",
        "_seen_out",
        "_session",
        "decoded",
        "failed",
    )

    def __init__(
        self,
        handler: Handler,
        *,
        server: bool,
        container_id: str,
        hostname: str | None = None,
        user: str | None = None,
        password: str | None = None,
        heartbeat: float = 0.0,
        max_frame_size: int = CHUNK,
        max_message_size: int = 0,
        max_sessions: int = 32768,
        external: bool = False,
        properties: dict[str, str] | None = None,
        offered: Iterable[str] = (),
    ) -> None:
        super().__init__(handler, max_message_size)
        self.failed = False
        """This end found a fault in the peer's bytes, or has waited for them in vain; the peer refused nothing."""
        self.decoded = 0
        """Frames that were not in their usual form."""
        self._container_id = container_id
        self._hostname = hostname
        self._properties = properties or {}
        self._offered = tuple(offered)
        self._heartbeat = int(heartbeat * 1000)
        self._max_frame = max(MIN_FRAME, max_frame_size)
        self._max_channel = max_sessions - 1
        self._peer_channel_max = U16
        self._greeting = Greeting(server, SaslClient(user, password, external, hostname))
        self._began = False
        """Our AMQP header is in the output."""
        self._open_sent = False
        self._close_sent = False
        self._opened = False
        self._parts: list[bytes] = []
        """Of a frame that is not whole: ``_have`` bytes of the ``_need`` that it takes to go on."""
        self._have = 0
        self._need = 8
        self._session: Session | None = None
        self._channels: dict[int, Session] = {}
        self._peers: dict[int, Session] = {}
        """Sessions by the peer's channel."""
        self._last: Session | None = None
        """The session of the last transfer or disposition."""
        self._peer_idle = 0
        self._bytes_in = 0
        self._bytes_out = 0
        self._seen_in = -1
        self._seen_out = -1
        self._dead_at = 0
        self._beat_at = 0

    # Bytes

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer, and tell the handlers what they mean."""
        if self.closed:
            return
        self._bytes_in += len(data)
        if self._have:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
            self._parts = []
            self._have = 0
        try:
            at = 0 if self._greeting.done else self._greet(data)
            if self._greeting.done and not self.closed:
                at = self._frames(data, at)
        except PeerError as error:
            self._fail(error.condition)
            return
        if at < len(data) and not self.closed:
            self._parts.append(data[at:] if at else data)
            self._have = len(data) - at

    def output(self) -> bytes:
        """Return the bytes to send now, at most ``CHUNK``. The caller says with :meth:`sent` how many it could send."""
        if self._greeting.out:
            return self._greeting.out
        return self.out.take() if self._began else b""

    def sent(self, size: int) -> None:
        """Take note that ``size`` bytes of the last :meth:`output` are on their way."""
        self._bytes_out += size
        greeting = self._greeting
        if greeting.out:
            greeting.out = greeting.out[min(size, len(greeting.out)) :]
        else:
            self.out.sent(size)

    def pending(self) -> int:
        """Return how many bytes of output the socket has not taken."""
        return self.out.size

    def unfinished(self) -> int:
        """Return how many bytes there are of received messages that have begun and not ended."""
        return self.partial + self._have

    @property
    def done(self) -> bool:
        """Whether there will never be anything to send again."""
        return (self.closed or self._close_sent) and not self.out.size and not self._greeting.out

    def end_of_input(self) -> None:
        """Take note that no more bytes come: the peer closed the socket, or it broke."""
        self.over(Condition("amqp:connection:forced", "the peer closed the socket"))

    def tick(self, now: float) -> float | None:
        """Let time pass: send a heartbeat that is due, end a connection whose peer is silent (section 2.4.5).

        Returns:
            When to call again, None for never. Times are seconds on a clock that never goes back.
        """
        if self.closed:
            return None
        at = int(now * 1000) + 1
        due = 0
        if self._heartbeat:
            if self._seen_in != self._bytes_in:
                self._seen_in = self._bytes_in
                self._dead_at = at + self._heartbeat
            elif self._dead_at <= at:
                reason = f"the peer was silent for {self._heartbeat / 1000:g} s (idle-time-out)"
                self._fail(Condition("amqp:resource-limit-exceeded", reason))
                return None
            due = self._dead_at
        if self._peer_idle:
            if self._seen_out != self._bytes_out:
                self._seen_out = self._bytes_out
                self._beat_at = at + max(1, self._peer_idle // 2)
            elif self._beat_at <= at:
                self._beat_at = at + max(1, self._peer_idle // 2)
                if self._began and not self.out.size and self.out.last < 0:
                    self.out.write(EMPTY)
            due = min(due, self._beat_at) if due else self._beat_at
        return due / 1000 if due else None

    # Requests

    def links(self) -> list[Link]:
        """Return the links in the order of their attachment."""
        return list(self.all_links)

    def open(self) -> None:
        """Send our open frame (section 2.7.1)."""
        if self._open_sent:
            return
        self._open_sent = True
        properties: Any = {Symbol(key): value for key, value in self._properties.items()} or None
        fields: list[Any] = [
            self._container_id,
            self._hostname,
            Uint(self._max_frame),
            Ushort(self._max_channel),
            Uint(max(1, self._heartbeat // 2)) if self._heartbeat else None,
            None,
            None,
            symbol_array(self._offered),
            None,
            properties,
        ]
        self.out.write(frame(0, performative(OPEN, fields)))

    def close(self, condition: Condition | None = None) -> None:
        """Send a close frame. ``on_close`` is told when the peer answers or the socket ends."""
        if self._close_sent or self.closed:
            return
        self.open()
        self.out.flush()
        self.out.write(frame(0, performative(CLOSE, [described_error(condition)])))
        self.out.closed = True
        self._close_sent = True

    def attach_sender(self, name: str, target: Terminus, *, at_most_once: bool | None = None) -> Link:
        """Attach a link to send on. A target without address takes messages for the address in each of them.

        Args:
            name: The link's name; another is made of it while a link of that name is there.
            at_most_once: Whether messages are sent settled; None says nothing about it.
        """
        modes = -1 if at_most_once is None else int(at_most_once)
        return self._attach(self._new_link(name, False), modes, Terminus(name), target, None)

    def attach_receiver(self, name: str, source: Terminus, *, at_most_once: bool) -> Link:
        """Attach a link to receive on. Its target is given as its source is, as MQ Light clients do."""
        return self._attach(self._new_link(name, True), int(at_most_once), source, source, None)

    def attach_pair(self, name: str, address: str) -> tuple[Link, Link]:
        """Attach a link to send requests on, and one of the same name for their answers (Link Pair 1.0)."""
        node = Terminus(address)
        paired = {"paired": True}
        sender, receiver = self._new_link(name, False), self._new_link(name, True)
        return self._attach(sender, 1, node, node, paired), self._attach(receiver, 1, node, node, paired)

    def _new_link(self, name: str, receiver: bool) -> Link:
        free, number = name, 1
        while (free, receiver) in self.attached:
            number += 1
            free = f"{name}~{number}"
        session = self._session
        if session is None or (
            len(session.handles) > session.peer_handle_max and self._free_channel() <= self._peer_channel_max
        ):
            session = self._session = self._new_session()
            session.write_begin()
        link = Link(session, free, receiver, True)
        self.attached[(free, receiver)] = link
        session.attaching[(free, receiver)] = link
        self.all_links[link] = None
        return link

    def _attach(
        self, link: Link, modes: int, source: Terminus, target: Terminus, properties: dict[str, bool] | None
    ) -> Link:
        link.snd_mode = modes
        link.properties = properties
        link.write_attach(wanted_terminus(source, SOURCE), wanted_terminus(target, TARGET))
        link.snd_mode = -1
        return link

    def _free_channel(self) -> int:
        channel = 0
        while channel in self._channels:
            channel += 1
        return channel

    def _new_session(self) -> Session:
        channel = self._free_channel()
        session = self._channels[channel] = Session(self, channel)
        return session

    # Frames

    def _begin_output(self) -> None:
        if not self._began:
            self._began = True
            self.out.write_first(AMQP_HEADER)

    def _greet(self, data: bytes) -> int:
        """Take what comes before the frames; return how many bytes that were."""
        greeting = self._greeting
        at = greeting.take(data)
        self._need = greeting.need
        if greeting.ready:
            self._begin_output()
        if greeting.refused is not None:
            self.failed = greeting.failed
            self.over(greeting.refused)
        return at

    def _frames(self, data: bytes, at: i64) -> i64:
        """Take the frames of ``data`` from ``at`` on; return where the first begins that is not whole."""
        end: i64 = len(data)
        most: i64 = self._max_frame
        code: i64 = 0
        channel: i64 = 0
        while end - at >= 8:
            size = u32(data, at)
            stop = at + size
            if size < 8 or size > most:
                raise FrameError(f"a frame of {size} bytes came, where there may be 8 to {most} (max-frame-size)")
            if stop > end:
                self._need = int(size)
                return at
            channel = (data[at + 6] << 8) | data[at + 7]
            session = self._last
            if (
                session is not None
                and session.peer_channel == channel
                and size >= 20
                and data[at + 4] == 2
                and data[at + 5] == 0
                and data[at + 8] == 0
                and data[at + 9] == 0x53
                and not session.ended
            ):
                code = data[at + 10]
                if (code == TRANSFER and take_transfer(session, data, at + 11, stop)) or (
                    code == DISPOSITION and take_disposition(session, data, at + 11, stop)
                ):
                    at = stop
                    if self.closed:
                        return at
                    continue
            start = at + 4 * data[at + 4]
            if data[at + 4] < 2 or start > stop or data[at + 5] != 0:
                raise FrameError(f"a frame is malformed: it begins with {data[at : at + 8].hex()}")
            at = stop
            if start < stop:
                self.decoded += 1
                fields, payload = read_fields(data, start, stop)
                self._on_frame(fields, channel, data[payload:stop])
                if self.closed:
                    return at
        self._need = 8
        return at

    def _on_frame(self, fields: Fields, channel: int, payload: bytes) -> None:
        code = fields.code
        if code == OPEN:
            self._on_open(fields)
            return
        if code == CLOSE:  # also without an open frame: some peers refuse a connection so
            condition = fields.condition(0)
            self.close()
            self.over(condition)
            return
        if not self._opened:
            raise GarbledError("a frame came before the open frame")
        if code == BEGIN:
            self._on_begin(fields, channel)
            return
        session = self._peers.get(channel)
        if session is None:
            raise GarbledError(f"a frame came on channel {channel}, which has no session")
        if code == END:
            self._on_end(session, fields)
            return
        if session.ended:
            self.discard()  # the peer has not heard of it yet (section 2.5.5)
            return
        try:
            if code == TRANSFER:
                self._last = session
                session.on_transfer(fields, payload)
            elif code == DISPOSITION:
                self._last = session
                session.on_disposition(fields)
            elif code == FLOW:
                session.on_flow(fields)
            elif code == ATTACH:
                session.on_attach(fields)
            elif code == DETACH:
                session.on_detach(fields)
            else:
                raise GarbledError(f"a frame of the unknown kind {code:#x} came")
        except SessionError as error:
            self._end(session, error.condition)

    def _on_open(self, fields: Fields) -> None:
        if self._opened:
            raise GarbledError("a second open frame came")
        container_id = fields.text(0)
        if container_id is None:
            raise GarbledError("an open frame lacks its mandatory field container-id")
        size, channels, idle = fields.number(2, U32), fields.number(3, U16), fields.number(4, U32)
        if 0 <= size < MIN_FRAME:
            raise PeerError("amqp:invalid-field", f"a max-frame-size of {size} is under {MIN_FRAME}")
        hostname, properties = fields.text(1), fields.map(9) or {}
        peer = Peer(
            container_id=str(container_id),
            hostname=None if hostname is None else str(hostname),
            properties={str(key): value for key, value in properties.items()},
            offered=fields.symbols(7),
            desired=fields.symbols(8),
        )
        self._opened = True
        self.peer_frame = size if size >= 0 else U32
        self._peer_channel_max = channels if channels >= 0 else U16
        self._peer_idle = max(0, idle)
        self.handler.on_open(peer)

    def _on_begin(self, fields: Fields, channel: int) -> None:
        if channel > self._max_channel:
            raise FrameError(f"a session began on channel {channel}, and channel-max is {self._max_channel}")
        answered = fields.number(0, U16)
        if channel in self._peers:
            raise GarbledError("a session began twice")
        if answered >= 0:
            known = self._channels.get(answered)
            if known is None or known.begun:
                raise GarbledError("a session began twice")
            known.begin(fields, channel)
            self._peers[channel] = known
            return
        if self._free_channel() > self._peer_channel_max:
            raise FrameError(f"the peer began more sessions than its channel-max of {self._peer_channel_max} allows")
        session = self._new_session()
        session.begin(fields, channel)
        self._peers[channel] = session
        session.write_begin()

    def _on_end(self, session: Session, fields: Fields) -> None:
        condition = fields.condition(0)
        self._peers.pop(session.peer_channel, None)
        self._channels.pop(session.channel, None)
        self._end(session, None, condition)

    def _end(self, session: Session, ours: Condition | None, theirs: Condition | None = None) -> None:
        """End a session, because of ``ours``, or because the peer did."""
        if self._session is session:
            self._session = None  # first: a handler may attach a link again, on a new session
        if self._last is session:
            self._last = None
        session.end(ours)
        session.drop(theirs or ours)

    def _fail(self, condition: Condition) -> None:
        self.failed = True
        self._begin_output()
        self.close(condition)
        self.over(condition)
