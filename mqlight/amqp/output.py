"""Hold the bytes that wait for the socket, and a range of dispositions that is not written yet."""

from __future__ import annotations

from typing import Final

from mqlight.amqp.frames import MIN_FRAME, frame
from mqlight.amqp.unsent import Unsent

CHUNK: Final = 65536
"""The most bytes that one :meth:`Output.take` returns, and the size of our frames."""


def uint(value: int) -> bytes:
    """Return a uint in its shortest form."""
    if value == 0:
        return b"\x43"
    if value < 256:
        return b"\x52" + value.to_bytes(1, "big")
    return b"\x70" + value.to_bytes(4, "big")


class Output:
    """Frames in their order.

    Dispositions of one state for consecutive deliveries become one frame. It is written before any frame that must
    not overtake it, or when the socket takes bytes.
    """

    __slots__ = (
        "_block", "_block_at", "_listed", "_unsent", "channel", "closed", "first", "last", "parts", "peer_frame",
        "settled", "size", "state", "taken",
    )  # fmt: skip

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        """Bytes that the socket has not taken."""
        self.taken = 0
        """Bytes that the socket has taken."""
        self.peer_frame = MIN_FRAME
        """The largest frame that the peer takes (section 2.7.1)."""
        self.closed = False
        """Whether our close frame is written. Nothing may follow it (section 2.4.6)."""
        self._block = b""
        self._block_at = 0
        self._unsent = Unsent()
        self._listed = 0
        """The number of ``parts`` that ``_unsent`` knows."""
        self.channel = -1
        """The channel of the range that is not written yet. There is no range if ``last`` is below zero."""
        self.first = 0
        self.last = -2
        self.state = b""
        self.settled = True

    def write(self, data: bytes) -> None:
        """Add whole frames."""
        if not self.closed:
            self.parts.append(data)
            self.size += len(data)

    def write_first(self, data: bytes) -> None:
        """Add bytes before everything else."""
        self.parts.insert(0, data)
        self._listed = 0
        self._unsent = Unsent()
        self.size += len(data)

    def take(self) -> bytes:
        """Return the next bytes for the socket, at most ``CHUNK``. The caller tells :meth:`sent` how many it took."""
        if self.last >= 0:
            self.flush()
        if not self._block:
            if not self.parts:
                return b""
            self._block = b"".join(self.parts)
            self.parts.clear()
            self._listed = 0
        at = self._block_at
        return self._block if not at and len(self._block) <= CHUNK else self._block[at : at + CHUNK]

    def sent(self, size: int) -> None:
        """Forget the first ``size`` bytes of the last :meth:`take`."""
        self.size -= size
        self.taken += size
        self._block_at += size
        if self._block_at >= len(self._block):
            self._block = b""
            self._block_at = 0

    def has_left(self, channel: int, number: int) -> bool:
        """Return whether the socket has taken every byte of a delivery that is written."""
        unsent = self._unsent
        unsent.forget(self.taken)
        unsent.add(self.taken - self._block_at, self._block)
        if self._listed < len(self.parts):
            unsent.add(unsent.known, b"".join(self.parts[self._listed :]))
            self._listed = len(self.parts)
        return unsent.end_of(channel, number) <= self.taken

    def add_disposition(self, channel: int, number: int, state: bytes, settled: bool) -> None:
        """Tell the peer the ``state`` of a received delivery."""
        if number == self.last + 1 and state == self.state and channel == self.channel and settled == self.settled:
            self.last = number
            return
        if self.last >= 0:
            self.flush()
        self.channel = channel
        self.first = number
        self.last = number
        self.state = state
        self.settled = settled

    def flush(self) -> None:
        """Write the waiting range of dispositions."""
        if self.last >= 0:
            first, last = self.first, self.last
            self.last = -2
            self.write_disposition(self.channel, True, first, last, self.settled, self.state)

    def write_disposition(
        self, channel: int, receiver: bool, first: int, last: int, settled: bool, state: bytes
    ) -> None:
        """Write a disposition (section 2.7.6). ``receiver`` says that this end received the deliveries."""
        role, over = b"\x41" if receiver else b"\x42", b"\x41" if settled else b"\x42"
        fields = role + uint(first) + (uint(last) if last != first else b"\x40") + over + state
        if len(fields) < 255:
            body = b"\x00\x53\x15\xc0" + bytes((len(fields) + 1, 5)) + fields
        else:
            body = b"\x00\x53\x15\xd0" + (len(fields) + 4).to_bytes(4, "big") + b"\x00\x00\x00\x05" + fields
        self.write(frame(channel, body))
