"""The second tutorial types the files of examples/todo."""

from __future__ import annotations

import pytest

from pages import PAUSE, blocks
from processes import ROOT


@pytest.mark.parametrize("name", ["todo.py", "test_todo.py"])
def test_the_tutorial_types_the_file_of_the_example(name: str) -> None:
    typed = [block.text for block in blocks(ROOT / "docs/tutorial-todo.md") if block.name == name]
    assert PAUSE.join(typed) == (ROOT / "examples/todo" / name).read_text(encoding="utf-8")
