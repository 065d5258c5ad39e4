"""The tutorials, typed in an environment of their own, where a wheel of this checkout is installed and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from environments import copy_tree, install, make_environment, run
from pages import KINDS, Reader, unchecked
from processes import ROOT, Server, Spawn

FIRST, SECOND = ROOT / "docs/tutorial.md", ROOT / "docs/tutorial-todo.md"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment, with a wheel that was made without a compiler."""
    folder = tmp_path_factory.mktemp("tutorial")
    tree = copy_tree(folder / "tree", ROOT / ".gitignore")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # The packages that make the wheel are those of the tests. Making another environment for them takes longest.
    run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, tree], folder, MACAQUE_PURE="1")
    (wheel,) = folder.glob("*-py3-none-any.whl")
    python = make_environment(folder / "environment")
    install(python, f"{wheel}[dev,gateway]", "pytest", cwd=folder)
    return python


@pytest.mark.parametrize("page", [FIRST, SECOND])
def test_every_block_of_a_tutorial_says_how_it_is_checked(page: Path) -> None:
    assert unchecked(page, KINDS) == []


def test_the_first_tutorial_works_from_an_empty_folder(python: Path, spawn: Spawn, tmp_path: Path) -> None:
    Reader("", spawn, tmp_path, python).follow(FIRST)


def test_the_second_tutorial_works_from_an_empty_folder(
    python: Path, server: Server, spawn: Spawn, tmp_path: Path
) -> None:
    Reader(server.url, spawn, tmp_path, python).follow(SECOND)
