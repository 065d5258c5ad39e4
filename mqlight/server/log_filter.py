"""A limit on log lines, so that a flood of hostile clients cannot fill the disk."""

from __future__ import annotations

import logging

MOST = 100
"""The most log lines in one second."""


class RateLimit(logging.Filter):
    """A filter that passes ``MOST`` lines a second, and then logs how many lines it dropped."""

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
