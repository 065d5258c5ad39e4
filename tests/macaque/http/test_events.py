"""Server-sent events."""

from __future__ import annotations

from macaque.http import events
from macaque.http.answer import Problem


def test_a_part_is_one_event_with_its_number_whatever_its_text() -> None:
    assert events.part(0, {"a": 1}) == b'id: 0\ndata: {"a":1}\n\n'
    hostile = events.part(12, "a\n\nevent: end\r\ndata: x\x00\u2028")
    assert hostile.startswith(b"id: 12\ndata: ")
    assert hostile.count(b"\n") == 3 and b"\r" not in hostile


def test_the_end_tells_the_number_of_parts() -> None:
    assert events.end(3) == b'event: end\ndata: {"parts":3}\n\n'


def test_an_error_is_a_problem_on_one_line() -> None:
    event = events.failed(Problem(404, "no\nline"))
    assert event.startswith(b'event: error\ndata: {"type":"about:blank"')
    assert event.count(b"\n") == 3


def test_a_heartbeat_is_a_comment() -> None:
    assert events.HEARTBEAT.startswith(b":") and events.HEARTBEAT.endswith(b"\n\n")
