"""The README of examples/todo does what it says, in a copy of its folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from pages import KINDS, Reader, unchecked
from processes import Server, Spawn
from todo_service import FOLDER

PAGE = FOLDER / "README.md"


def test_every_block_says_how_it_is_checked() -> None:
    assert unchecked(PAGE, KINDS) == []


def test_the_page_works_from_top_to_bottom(server: Server, spawn: Spawn, tmp_path: Path) -> None:
    folder = tmp_path / "todo"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("todo.db*", "__pycache__"))
    Reader(server.url, spawn, folder).follow(PAGE)


def test_the_first_table_names_every_file() -> None:
    told = PAGE.read_text(encoding="utf-8").partition("## ")[0]
    names = [path.name for path in FOLDER.iterdir() if not path.name.startswith(("README", "__", "todo.db"))]
    assert [name for name in names if f"`{name}" not in told] == []
