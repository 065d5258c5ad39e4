from __future__ import annotations

import pytest

from commands import Command

# call


@pytest.mark.parametrize("arguments", [["call"], ["call", "echo", "1", "2"], ["call", "t", "--timeout", "x"], ["what"]])
def test_a_command_that_is_not_one_has_status_2_and_says_how_it_is_used(arguments: list[str]) -> None:
    done = Command(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Usage: macaque" in done.err


def test_help_names_the_commands() -> None:
    done = Command("--help")
    assert done.code == 0
    assert "call" in done.out and "run" in done.out
