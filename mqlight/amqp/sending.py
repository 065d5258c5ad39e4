"""Send messages on a link (sections 2.5.6 and 2.6.7), and hold the part of a session that its links use.

The rules of this file:

* A message without credit, or without room in the session's window, waits in the link's queue.
* A waiting message has no delivery number yet. Its key in ``SendingLink.unsettled`` is below zero, and stays so.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from mqlight.amqp.frames import PLAIN, SETTLED, TAG, TRANSFER_SIZE, U32, UNSETTLED, frame, pack_transfer
from mqlight.amqp.output import Output, uint
from mqlight.amqp.types import Condition, Outcome
from mqlight.amqp.values import Uint

WINDOW: Final = 2**31 - 1
_TAG: Final = b"\xa0\x04"
_SETTLED: Final = b"\x43\x41"  # after the message format
_UNSETTLED: Final = b"\x43\x42"


class SessionState:
    """The state of a session that its links use: the numbers of transfers and deliveries, the windows and the handles.

    ``begun`` says that the peer's begin has come, ``ended`` that our end is written.
    """

    __slots__ = (
        "begun",
        "channel",
        "delivery",
        "ended",
        "expected",
        "free",
        "handles",
        "next_in",
        "next_out",
        "out",
        "unsettled",
        "waiting",
        "window",
    )

    def __init__(self, out: Output, channel: int) -> None:
        self.out = out
        self.channel = channel
        self.begun = False
        self.ended = False
        self.next_out = 0
        """The number of our next transfer."""
        self.window = 0
        """The first transfer number that the peer has no room for (section 2.5.6)."""
        self.delivery = 0
        """The number of our next delivery."""
        self.next_in = 0
        self.expected = -1
        """The number of the peer's next delivery, -1 for any."""
        self.handles = 0
        """The number of our handles in use."""
        self.free: list[int] = []
        """Handles that were in use before."""
        self.unsettled: dict[int, SendingLink] = {}
        """The links of our unsettled deliveries, by delivery number."""
        self.waiting: dict[SendingLink, None] = {}
        """Links with waiting messages."""

    def write(self, data: bytes) -> None:
        """Write a frame after the dispositions that wait."""
        out = self.out
        if out.last >= 0:
            out.flush()
        out.write(data)

    def flow_fields(self) -> list[Any]:
        """Return the session's part of a flow (section 2.7.4)."""
        next_in = Uint(self.next_in & U32) if self.begun else None
        return [next_in, Uint(WINDOW), Uint(self.next_out & U32), Uint(WINDOW)]

    def take_handle(self) -> int:
        """Return a handle that no link of ours has."""
        handle = self.free.pop() if self.free else self.handles
        self.handles += 1
        return handle


class Queued:
    """A waiting message. ``at`` bytes of it are sent."""

    __slots__ = ("at", "key", "message", "number", "settled")

    def __init__(self, message: bytes, key: int, settled: bool) -> None:
        self.message = message
        self.key = key
        self.settled = settled
        self.at = 0
        self.number = -1


class SendingLink:
    """The part of a link that sends messages. A receiving link does not use it."""

    __slots__ = (
        "closed", "count", "detached", "handle", "head", "key", "late", "limit", "name", "out", "queue", "receiver",
        "room", "session", "unsettled",
    )  # fmt: skip

    def __init__(self, session: SessionState, name: str, receiver: bool) -> None:
        self.session = session
        self.out = session.out
        self.name = name
        self.receiver = receiver
        """Whether this end receives."""
        self.closed = False
        self.detached = False
        """Whether our detach is written."""
        self.handle = -1
        self.head = b""
        """The :func:`transfer_head` of a sending link."""
        self.room = -1
        """Bytes of a message that fit into one frame, -1 on a receiving link."""
        self.count = 0
        """The number of deliveries on this link so far."""
        self.limit = 0
        """The highest ``count`` that is allowed. The difference is the credit (section 2.6.7)."""
        self.unsettled: dict[int, Any] = {}
        """The token of each unsettled message of a sending link, oldest first."""
        self.queue: deque[Queued] = deque()
        self.key = 0
        """The key of the last message that waited."""
        self.late: dict[int, int] = {}
        """The keys in ``unsettled`` of sent messages that waited before, by delivery number."""

    def on_outcomes(self, numbers: list[int], outcome: Outcome, condition: Condition | None) -> None:
        """Take the outcome of the deliveries ``numbers``, which the peer has settled together."""
        raise NotImplementedError

    def on_received(self, number: int) -> None:
        """Take note that the peer works on the delivery ``number`` (section 3.4.1)."""
        raise NotImplementedError

    def on_queue_sent(self) -> None:
        """Take note that the peer's window has let all waiting messages go."""
        raise NotImplementedError

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
            self._send_later(message, token, settled)
            return
        session.next_out += 1
        self.count += 1
        delivery = session.delivery
        session.delivery = delivery + 1
        number = delivery & 0xFFFFFFFF
        state = SETTLED
        if not settled:
            state = UNSETTLED
            self.unsettled[number] = token
            session.unsettled[number] = self
        size += TRANSFER_SIZE
        parts = out.parts
        if PLAIN:
            parts.append(pack_transfer(size, self.head, number, TAG, number, state))
        else:
            raw = number.to_bytes(4, "big")
            parts.append(size.to_bytes(4, "big") + self.head + raw + _TAG + raw + (_SETTLED if settled else _UNSETTLED))
        parts.append(message)
        out.size += size

    def _send_later(self, message: bytes, token: Any, settled: bool) -> None:
        """Queue a message, and send the waiting messages that can be sent."""
        if self.receiver:
            raise ValueError(f"the link {self.name!r} receives; a message needs a link of attach_sender()")
        key = 0
        if not settled:
            self.key -= 1
            key = self.key
            self.unsettled[key] = token
        if self.closed or self.out.closed:
            return  # the owner finds its token in ``unsettled``
        self.queue.append(Queued(message, key, settled))
        self.session.waiting[self] = None
        self.send_waiting()

    def send_waiting(self) -> None:
        """Send waiting messages while there are credit and room. A message of several frames stops without room."""
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

    def unsent(self) -> list[Any]:
        """Return the tokens of the unsettled messages that the socket has not taken completely."""
        out, channel = self.out, self.session.channel
        begun = {item.key for item in self.queue if not item.settled}
        numbers = {key: number for number, key in self.late.items()}
        found: list[Any] = []
        for key, token in self.unsettled.items():
            number = numbers.get(key, key)
            if number < 0 or key in begun or not out.has_left(channel, number):
                found.append(token)
        return found
