from __future__ import annotations

import pytest

from mqlight.amqp.text import control_in, media_type, nearest, printable, trace_id_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("fish/1", "fish/1"),
        ("größe 魚 \\n", "größe 魚 \\n"),
        ("a\nERROR b\r", "a\\nERROR b\\r"),
        ("\x1b[31m\x9b0m\x00\x7f", "\\x1b[31m\\x9b0m\\x00\\x7f"),
        ("\u202egnp.exe\u2066\u2028\u200b", "\\u202egnp.exe\\u2066\\u2028\\u200b"),
        ("\ud800", "\\ud800"),
        (7, "7"),
    ],
)
def test_text_from_outside_is_one_line_without_commands_for_a_terminal(text: object, shown: str) -> None:
    assert printable(text) == shown


def test_a_long_text_is_cut() -> None:
    assert printable("x" * 100, 10) == "xxxxxxx..."


def test_a_control_character_is_named_with_its_place() -> None:
    assert control_in("a\0b") == "U+0000 at 1"
    assert control_in("ab\x85") == "U+0085 at 2"
    assert control_in("größe 魚\u202e") is None


def test_the_nearest_name_is_found_whatever_its_case() -> None:
    assert nearest("hartbeat", ["heartbeat", "vhost"]) == "heartbeat"
    assert nearest("VHOST", ["heartbeat", "vhost"]) == "vhost"
    assert nearest("zzz", ["heartbeat", "vhost"]) is None


def test_a_content_type_is_compared_without_case_and_parameters() -> None:
    assert media_type('Application/JSON ; charset="utf-8"') == "application/json"
    assert media_type(None) == ""


@pytest.mark.parametrize(
    ("key", "trace"),
    [
        ("179d6f7d-c299-4861-b3a7-000000000001", "179d6f7dc2994861b3a7000000000001"),
        ("pay-1", "0da3174c441a36c80c2ecf4b09fc7fa4"),
        ("00000000-0000-0000-0000-000000000000", None),
        ("\ud800", None),
        ("", None),
    ],
)
def test_a_request_without_a_trace_has_the_trace_id_of_its_uuid(key: str, trace: str | None) -> None:
    found = trace_id_of(key)
    assert len(found) == 32 and set(found) <= set("0123456789abcdef") and found.strip("0")
    assert trace is None or found == trace
