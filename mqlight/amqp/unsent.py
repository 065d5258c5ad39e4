"""Find the messages that the socket has not taken completely. Only a query reads the output; sending costs no more."""

from __future__ import annotations

from typing import Final

from mqlight.amqp.frames import AMQP_HEADER, TRANSFER, u32

_HANDLE_AT: Final = 14
"""The offset of the handle in a transfer of ours: behind the frame header, the descriptor and the list's head."""


class Unsent:
    """The ends of the transfers in an output, as offsets in the stream of all bytes of the output."""

    __slots__ = ("_ends", "known")

    def __init__(self) -> None:
        self._ends: dict[tuple[int, int], int] = {}
        self.known = 0
        """The offset up to which the transfers are known."""

    def add(self, start: int, data: bytes) -> None:
        """Take note of the frames ``data``, which begin at the offset ``start``. Known frames are skipped."""
        at = max(0, self.known - start)
        while at < len(data):
            if data[at] == AMQP_HEADER[0]:
                at += len(AMQP_HEADER)
                continue
            size = int(u32(data, at))
            if size > _HANDLE_AT and data[at + 10] == TRANSFER:
                code = data[at + _HANDLE_AT]
                number_at = at + _HANDLE_AT + (2 if code == 0x43 else 3 if code == 0x52 else 6)
                channel = (data[at + 6] << 8) | data[at + 7]
                self._ends[channel, int(u32(data, number_at))] = start + at + size
            at += size
        self.known = max(self.known, start + len(data))

    def end_of(self, channel: int, number: int) -> int:
        """Return the offset behind the last frame of a delivery, 0 if the delivery is not known."""
        return self._ends.get((channel, number), 0)

    def forget(self, taken: int) -> None:
        """Forget all transfers if all of them end before the offset ``taken``."""
        if self.known <= taken:
            self._ends.clear()
