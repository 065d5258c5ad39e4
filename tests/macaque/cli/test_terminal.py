from __future__ import annotations

import json
import uuid

import pytest

from macaque.cli.terminal import json_line, mistakes, sendable
from mqlight.errors import InvalidArgumentError


def test_json_on_a_terminal_has_no_commands_for_it_and_stays_json() -> None:
    value = {"a\x9b": "\u202e\x7f魚\n"}
    assert json_line(value) == '{"a\\u009b":"\\u202e\\u007f魚\\n"}'
    assert json.loads(json_line(value)) == value


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InvalidArgumentError("it has no host"), 2, "the URL in --broker cannot be used (it has no host)"),
        (ValueError("The timeout 0 is too short."), 2, "The timeout 0 is too short."),
        (TypeError("The timeout is no number."), 2, "The timeout is no number."),
    ],
)
def test_a_mistake_of_the_user_is_one_line(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, mistakes("amqp://"):
        raise error
    assert ended.value.code == code
    said = capsys.readouterr().err
    assert said.startswith(f"macaque: {line}") and said.count("\n") == 1


def test_data_that_json_cannot_carry_is_shown_as_python_shows_it() -> None:
    assert sendable({"a": uuid.UUID(int=1)}) == {"a": uuid.UUID(int=1)}
    assert sendable({"a": object}) == "{'a': <class 'object'>}"
