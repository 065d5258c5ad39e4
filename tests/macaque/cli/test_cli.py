from __future__ import annotations

import signal
from pathlib import Path

import pytest

from commands import Command
from processes import Spawn

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


def test_ctrl_c_is_one_line_and_status_130_also_while_a_module_is_imported(spawn: Spawn, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import threading\nprint('begins', flush=True)\nthreading.Event().wait(60)\n")
    process = spawn(["-m", "macaque", "docs", "slow"], cwd=tmp_path)
    process.expect("begins")
    process.signal(signal.SIGINT)
    assert process.wait() == 130
    assert process.log() == "begins\nmacaque: interrupted\n"
