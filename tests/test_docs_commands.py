"""Every command in the pages is one that the programs know, with options that they have; every program is Python."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from macaque.cli import main as macaque
from mqlight.server.__main__ import main as server
from pages import blocks
from processes import ROOT

PAGES = [path for pattern in ("*.md", "docs/*.md", "examples/*/README.md") for path in sorted(ROOT.glob(pattern))]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROGRAMS = {("macaque",): macaque, ("python", "-m", "macaque"): macaque, ("python", "-m", "mqlight.server"): server}


def lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The shell lines of a page: its number, and its words without variables and the prompt."""
    fence = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            fence = "" if fence else line.removeprefix("```").strip() or "text"
        elif fence in ("sh", "console", "procfile") or (not fence and re.match(r" {4}\S", line)):
            text = line.removeprefix("$ ").strip().removesuffix("\\").split("&&")[0]
            try:
                words = shlex.split(text, comments=True)
            except ValueError:  # prose, or a line of another language
                continue
            while words and re.match(r"\w+=", words[0]):
                del words[0]
            if words:
                yield number, [words[0].removeprefix(".venv/bin/"), *words[1:]]


def commands() -> Iterator[tuple[str, click.Command, list[str]]]:
    """The lines that start one of our programs: the place, the program, and its arguments."""
    for path in PAGES:
        for number, words in lines(path):
            for start, program in PROGRAMS.items():
                if tuple(words[: len(start)]) == start:
                    yield f"{path.name} line {number}", program, words[len(start) :]


def check(command: click.Command, arguments: list[str]) -> None:
    """Parse the arguments as the program would, down to its subcommands. Raises click's errors."""
    context = click.Context(command, info_name=command.name)
    _, rest, _ = command.make_parser(context).parse_args(list(arguments))
    if isinstance(command, click.Group) and rest:
        found = command.get_command(context, rest[0])
        if found is None:
            raise click.UsageError(f"there is no command {rest[0]}")
        check(found, rest[1:])


@pytest.mark.parametrize(
    ("command", "arguments"),
    [pytest.param(command, words, id=f"{place}: {' '.join(words)}") for place, command, words in commands()],
)
def test_a_command_of_the_pages_exists(command: click.Command, arguments: list[str]) -> None:
    check(command, arguments)


def test_the_pages_have_commands_of_each_program() -> None:
    found = [program for _, program, _ in commands()]
    assert found.count(macaque) > 10 and found.count(server) > 5


def test_a_wrong_option_is_found() -> None:
    with pytest.raises(click.NoSuchOption):
        check(macaque, ["call", "--nonsense", "topic"])


def test_every_target_of_make_in_the_pages_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))
    used = {words[1] for path in PAGES for _, words in lines(path) if words[0] == "make" and len(words) > 1}
    assert used and used <= targets


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_program_in_the_pages_is_python(path: Path) -> None:
    for block in blocks(path):
        if block.language == "python":
            compile(block.text, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
