"""A log that a flood of hostile clients does not fill the disk with."""

from __future__ import annotations

import logging

MOST = 100
"""Lines in a second."""


class Scarce(logging.Filter):
    """Lets MOST lines a second through, and then says how many it kept.

    """

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._lines = 0

    def filter(self, record: logging.LogRecord) -> bool:
        second = int(record.created)
        if second != self._second:
            kept, self._second, self._lines = self._lines - MOST, second, 0
            if kept > 0:
                record.msg = f"({kept} lines were left out) {record.getMessage()}"
                record.args = ()
        self._lines += 1
        return self._lines <= MOST
