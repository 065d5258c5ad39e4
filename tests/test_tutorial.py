"""The tutorial, typed in an environment of its own, where a wheel of this checkout is installed and nothing else is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from environments import bare_environ, copy_tree, run
from pages import KINDS, Reader, unchecked
from processes import ROOT, Spawn

PAGE = ROOT / "docs/tutorial.md"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment, with a wheel that was made without a compiler."""
    folder = tmp_path_factory.mktemp("tutorial")
    tree = copy_tree(folder / "tree", ROOT / ".gitignore")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # The packages that make the wheel are those of the tests. Making another environment for them takes longest.
    run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, tree], folder, MACAQUE_PURE="1")
    (wheel,) = folder.glob("*-py3-none-any.whl")
    run([sys.executable, "-m", "venv", "--without-pip", folder / "environment"], folder)
    python = folder / "environment/bin/python"
    run([*pip, "--python", python, "install", f"{wheel}[server]", "pytest"], folder)
    return python


def test_every_block_of_the_tutorial_says_how_it_is_checked() -> None:
    assert unchecked(PAGE, KINDS) == []


def test_the_tutorial_works_from_an_empty_folder(python: Path, spawn: Spawn, tmp_path: Path) -> None:
    server = spawn(command=[str(python), "-m", "mqlight.server", "--port", "0", "--no-console"], base=bare_environ())
    broker = server.expect(r"(amqp://\S+:\d+)$")[1]
    Reader(broker, spawn, tmp_path, python).follow(PAGE)
