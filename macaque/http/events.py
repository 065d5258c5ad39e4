"""A stream as server-sent events (HTML, section 9.2): its parts, its end or error, and signs of life.

Each part has its number as the id. JSON on one line is the data. Pure.
"""

from __future__ import annotations

from typing import Any

from macaque.http.answer import Header, Problem
from mqlight.json_text import encode_json

__all__ = ["HEADERS", "HEARTBEAT", "PAUSE", "end", "failed", "part"]

HEADERS: tuple[Header, ...] = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-store"),
    ("X-Accel-Buffering", "no"),  # nginx would hold the events back
)
HEARTBEAT = b":\n\n"
"""A comment. It shows a server that its caller is gone, and keeps proxies from closing a quiet stream."""
PAUSE = 15.0
"""Seconds without a part after which a heartbeat is sent."""


def part(number: int, data: Any) -> bytes:
    """Return the event of a part. `number` counts from 0."""
    return b"id: %d\ndata: %b\n\n" % (number, encode_json(data))


def end(parts: int) -> bytes:
    """Return the event after the last part, with the number of parts."""
    return b'event: end\ndata: {"parts":%d}\n\n' % parts


def failed(problem: Problem) -> bytes:
    """Return the event of an error, which is the last one."""
    return b"event: error\ndata: %b\n\n" % problem.body
