from __future__ import annotations

import json

from macaque.cli.terminal import json_line


def test_json_on_a_terminal_has_no_commands_for_it_and_stays_json() -> None:
    value = {"a\x9b": "\u202e\x7f魚\n"}
    assert json_line(value) == '{"a\\u009b":"\\u202e\\u007f魚\\n"}'
    assert json.loads(json_line(value)) == value
