"""docs/command.md names every command and every option of `macaque run`, and its completion works."""

from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest

from macaque.cli import main
from macaque.cli.run import run
from processes import ROOT

PAGE = (ROOT / "docs/command.md").read_text(encoding="utf-8")


def commands(group: click.Group) -> list[click.Command]:
    """Return the commands of a group, and of the groups in it."""
    return [
        each for one in group.commands.values() for each in (commands(one) if isinstance(one, click.Group) else [one])
    ]


def test_the_page_names_every_command_and_no_other() -> None:
    table = PAGE.split("| command |", 1)[1].split("\n\n", 1)[0]
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"(?m)^\|([^|]*)\|", table)))
    assert sorted(named) == sorted(main.commands)


def test_the_page_names_every_option_of_run() -> None:
    options = {
        option for each in run.params for option in each.opts if isinstance(each, click.Option) and not each.hidden
    }
    assert {option for option in options if f"`{option}" not in PAGE} == set()


@pytest.mark.parametrize("command", commands(main), ids=lambda command: str(command.name))
def test_the_help_is_whole_sentences(command: click.Command) -> None:
    assert command.help and all(part.rstrip().endswith(".") for part in command.help.strip().split("\n\n"))
    for each in command.params:
        if isinstance(each, click.Option) and not each.hidden:
            said = re.sub(r" \[default: .*\]$", "", each.help or "")
            assert said.endswith("."), f"{command.name} {each.name}: {each.help!r}"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_each_shell_is_printed(shell: str) -> None:
    assert f"_MACAQUE_COMPLETE={shell}_source macaque" in PAGE
    if shell == "bash":
        pytest.importorskip("click.shell_completion")
    program = "from macaque.cli import main; main(prog_name='macaque')"
    env = {"_MACAQUE_COMPLETE": f"{shell}_source", "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and "_macaque_completion" in done.stdout, done.stderr
