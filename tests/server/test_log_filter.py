"""A flood of lines does not fill the disk."""

from __future__ import annotations

import logging

from mqlight.server.log_filter import MOST, RateLimit


def test_a_flood_of_lines_is_cut_and_counted() -> None:
    scarce = RateLimit()

    def log(second: float) -> str | None:
        record = logging.makeLogRecord({"msg": "line of %s", "args": ("somebody",), "created": second})
        return record.getMessage() if scarce.filter(record) else None

    first = [log(1.5) for _ in range(MOST + 50)]
    assert first == ["line of somebody"] * MOST + [None] * 50
    assert log(2.0) == "(50 lines were left out) line of somebody"
    assert log(2.1) == "line of somebody"
