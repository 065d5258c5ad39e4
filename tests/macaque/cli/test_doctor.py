from __future__ import annotations

import pytest

from examining import STEPS, examine, run
from processes import Server


def test_json_is_for_programs(server: Server) -> None:
    findings = examine("--broker", server.url)
    assert [finding["step"] for finding in findings] == STEPS
    assert {finding["url"] for finding in findings} == {server.url}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--broker", "ampq://127.0.0.1"), "the URL in --broker cannot be used"),
        (("--broker", ""), "the URL in --broker cannot be used"),
        (("--topic", "a/#"), "'a/#' is a pattern"),
        (("--timeout", "0"), "timeout"),
        (("--role", "king"), "'king'"),
    ],
)
def test_a_mistake_in_the_command_is_status_2(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2 and said in done.stderr and not done.stdout
