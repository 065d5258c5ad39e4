from __future__ import annotations

import json
import logging
import sys

import pytest

from mqlight.log_format import FORMATS, LEVELS, handler, level_of


def line(form: str, message: str, *args: object, error: BaseException | None = None) -> str:
    info = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("tests.lines", logging.WARNING, __file__, 1, message, args, info)
    return handler(form).format(record)


def test_a_line_of_text_has_time_level_logger_and_message() -> None:
    assert line("text", "%s fish", 3).split(" ", 2)[2] == "WARNING tests.lines: 3 fish"


def test_a_line_of_json_has_the_same() -> None:
    said = json.loads(line("json", "%s fish", 3))
    assert (said["level"], said["logger"], said["message"]) == ("warning", "tests.lines", "3 fish")
    assert said["time"].endswith("+00:00") and "exception" not in said


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_from_outside_makes_a_line_of_its_own_or_commands_a_terminal(form: str) -> None:
    shown = line(form, "%s", "one\nWARNING two\x1b[31m")
    assert "\n" not in shown and "\x1b" not in shown and "two" in shown


def test_a_traceback_stands_below_its_line_or_in_its_object() -> None:
    try:
        raise ValueError("no\x1b[31m")
    except ValueError as error:
        text, object_ = (line(form, "failed", error=error) for form in FORMATS)
    assert text.splitlines()[1] == "Traceback (most recent call last):" and "\x1b" not in text
    assert json.loads(object_)["exception"].startswith("Traceback")


def test_it_is_written_to_stderr() -> None:
    assert handler().stream is sys.stderr  # type: ignore[attr-defined]


def test_each_level_has_its_number() -> None:
    assert [level_of(name) for name in LEVELS] == [10, 20, 30, 40]
