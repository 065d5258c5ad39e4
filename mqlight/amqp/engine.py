"""Run either end of one AMQP 1.0 connection, without any input or output of its own.

The rules of this file:

* Bytes come in by :meth:`Engine.receive` and go out by :meth:`Engine.output`. :meth:`Engine.receive`,
  :meth:`Engine.end_of_input` and :meth:`Engine.tick` call the handlers with the peer's actions.
* One thread at a time uses an engine and its links. Time is an argument.
* Local misuse raises at once. A fault of the peer ends the link, the session or the connection, and never raises.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from mqlight.amqp import dispositions
from mqlight.amqp.channels import Channels
from mqlight.amqp.connection import Connection, Handler
from mqlight.amqp.fast_frames import take_disposition, take_transfer, take_transfers
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
    MIN_FRAME,
    OPEN,
    PLAIN,
    TRANSFER,
    TRANSFER_SIZE,
    Fields,
    FrameError,
    GarbledError,
    PeerError,
    SessionError,
    described_error,
    frame,
    performative,
    read_fields,
    u32,
)
from mqlight.amqp.greeting import Greeting
from mqlight.amqp.heartbeat import Heartbeat
from mqlight.amqp.link import Link
from mqlight.amqp.opening import Opening, open_frame, read_open
from mqlight.amqp.output import CHUNK
from mqlight.amqp.sasl import SaslClient
from mqlight.amqp.session import Session
from mqlight.amqp.types import Condition, Peer, Terminus

if TYPE_CHECKING:
    from mypy_extensions import i64

READ: Final = 8192
"""Bytes to read from a socket at a time: few, so that both ends and the server work on a stream at the same time."""


class Engine(Connection):
    """One AMQP connection.

    Args:
        handler: Gets the events of the connection, and of each link without a handler of its own.
        server: Whether this end is the server: the client begins, and its SASL is over. A client begins with SASL.
        user: The user for PLAIN, with ``password``. Without a user the client logs in as ANONYMOUS or EXTERNAL.
        heartbeat: Seconds of silence of the peer after which the connection counts as broken (0: never).
        max_message_size: The most bytes that this end takes in one message (0: any).
        external: Whether the client showed a certificate. It then uses EXTERNAL if the server offers it.
    """

    __slots__ = (
        "_began", "_bytes_in", "_bytes_out", "_channels", "_greeting", "_have", "_heartbeat", "_last",
        "_max_frame", "_need", "_open_sent", "_opening", "_opened", "_parts", "decoded", "failed",
    )  # fmt: skip

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
        """Whether this end found a fault in the peer's bytes or its silence. The peer itself refused nothing."""
        self.decoded = 0
        """Frames that the decoder read because they were not in their usual form."""
        self._heartbeat = Heartbeat(int(heartbeat * 1000))
        self._max_frame = max(MIN_FRAME, max_frame_size)
        self.usual_size = min(self._max_frame, TRANSFER_SIZE + (max_message_size or self._max_frame))
        self._channels = Channels(self, max_sessions - 1)
        me = Peer(container_id, hostname, dict(properties or {}), tuple(offered), ())
        self._opening = Opening(me, self._max_frame, max_sessions - 1, self._heartbeat.idle_time_out)
        self._greeting = Greeting(server, SaslClient(user, password, external, hostname))
        self._began = False
        """Whether our AMQP header is in the output."""
        self._open_sent = False
        self._opened = False
        self._parts: list[bytes] = []
        """The parts of an incomplete frame: ``_have`` bytes, of the ``_need`` bytes for the next step."""
        self._have = 0
        self._need = 8
        self._last: Session | None = None
        """The session of the last transfer or disposition."""
        self._bytes_in = 0
        self._bytes_out = 0

    # Bytes

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer, and tell the handlers about their events."""
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
        """Return the bytes to send now, at most ``CHUNK``. The caller tells :meth:`sent` how many it sent."""
        return self._greeting.out or (self.out.take() if self._began else b"")

    def sent(self, size: int) -> None:
        """Take note that the caller sent ``size`` bytes of the last :meth:`output`."""
        self._bytes_out += size
        greeting = self._greeting
        if greeting.out:
            greeting.out = greeting.out[min(size, len(greeting.out)) :]
        else:
            self.out.sent(size)

    def unfinished(self) -> int:
        """Return how many bytes are held of messages that have begun to arrive and not ended."""
        return self.partial + self._have

    @property
    def done(self) -> bool:
        """Whether everything is sent and nothing will follow."""
        return (self.closed or self.out.closed) and not self.out.size and not self._greeting.out

    def tick(self, now: float) -> float | None:
        """Send a heartbeat that is due, and end a connection whose peer is silent (section 2.4.5).

        Returns:
            The time of the next call, None for never. Times are seconds on a clock that never goes back.
        """
        if self.closed:
            return None
        at = int(now * 1000) + 1
        beat = self._heartbeat
        if beat.is_missed(at, self._bytes_in):
            reason = f"the peer was silent for {beat.patience / 1000:g} s (idle-time-out)"
            self._fail(Condition("amqp:resource-limit-exceeded", reason))
            return None
        if beat.is_due(at, self._bytes_out) and self._began and not self.out.size and self.out.last < 0:
            self.out.write(EMPTY)
            beat.beats(len(EMPTY))
        return beat.next

    # Requests

    def open(self) -> None:
        """Send our open frame (section 2.7.1)."""
        if not self._open_sent:
            self._open_sent = True
            self.out.write(open_frame(self._opening))

    def close(self, condition: Condition | None = None) -> None:
        """Send a close frame. ``on_close`` is called when the peer answers or the socket ends."""
        if self.out.closed or self.closed:
            return
        self.open()
        self.out.flush()
        self.out.write(frame(0, performative(CLOSE, [described_error(condition, self.out.peer_frame)])))
        self.out.closed = True

    def attach_sender(self, name: str, target: Terminus, *, at_most_once: bool | None = None) -> Link:
        """Attach a link to send on. With a target without address, each message's own address decides.

        Args:
            name: The link's name. A number is added while another link has that name.
            at_most_once: Whether messages are sent settled; None leaves it open.
        """
        mode = -1 if at_most_once is None else int(at_most_once)
        return self._channels.new_link(name, False).attach(mode, Terminus(name), target)

    def attach_receiver(self, name: str, source: Terminus, *, at_most_once: bool) -> Link:
        """Attach a link to receive on. Its target equals its source, as in MQ Light clients."""
        return self._channels.new_link(name, True).attach(int(at_most_once), source, source)

    def attach_pair(self, name: str, address: str) -> tuple[Link, Link]:
        """Attach a link for requests, and one of the same name for their answers (Link Pair 1.0)."""
        node = Terminus(address)
        ends = [self._channels.new_link(name, receiver) for receiver in (False, True)]
        for link in ends:
            link.properties = {"paired": True}
            link.attach(1, node, node)
        return ends[0], ends[1]

    # Frames

    def _begin_output(self) -> None:
        if not self._began:
            self._began = True
            self.out.write_first(AMQP_HEADER)

    def _greet(self, data: bytes) -> int:
        """Take the bytes before the frames, and return how many they are."""
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
        """Take the frames of ``data`` from ``at`` on. Return the offset of the first incomplete frame."""
        end: i64 = len(data)
        most: i64 = self._max_frame
        code: i64 = 0
        channel: i64 = 0
        while end - at >= 8:
            if PLAIN:
                at = take_transfers(self, data, at, end)
                if self.closed or end - at < 8:
                    break
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
        elif code == CLOSE:  # also without an open frame: some peers refuse a connection this way
            condition = fields.condition(0)
            self.close()
            self.over(condition)
        elif not self._opened:
            raise GarbledError("a frame came before the open frame")
        elif code == BEGIN:
            self._channels.begin(fields, channel)
        else:
            self._on_session_frame(code, self._channels.find(channel), fields, payload)

    def _on_session_frame(self, code: int, session: Session, fields: Fields, payload: bytes) -> None:
        if code == END:
            self._channels.remove(session)
            self._end(session, None, fields.condition(0))
            return
        if session.ended:
            self.discard()  # the peer has not seen our end yet (section 2.5.5)
            return
        try:
            if code == TRANSFER:
                self._last = session
                session.on_transfer(fields, payload)
            elif code == DISPOSITION:
                self._last = session
                dispositions.take(session, fields)
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
        theirs = read_open(fields)
        self._opened = True
        self.out.peer_frame = theirs.max_frame_size
        self._channels.peer_most = theirs.channel_max
        self._heartbeat.peer_idle = theirs.idle
        self.handler.on_open(theirs.peer)

    def _end(self, session: Session, ours: Condition | None, theirs: Condition | None = None) -> None:
        """End a session because of our error ``ours``, or because the peer ended it."""
        self._channels.leave(session)  # first: a handler may attach a link again, on a new session
        if self._last is session:
            self._last = None
        session.end(ours)
        session.drop(theirs or ours)

    def _fail(self, condition: Condition) -> None:
        self.failed = True
        self._begin_output()
        self.close(condition)
        self.over(condition)
