"""The pages that teach do what they say: every block of them runs, or says why not (tests/pages.py)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pages import KINDS, Reader, unchecked
from processes import ROOT, Server, Spawn

DOCS = ROOT / "docs"
PAGES = [
    "README.md", "concurrency.md", "deploy.md", "from-mqlight.md", "from-others.md", "monitor.md", "order.md",
    "retry.md", "secure.md", "web-frameworks.md",
]  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_the_page_says_how_it_is_checked(page: str) -> None:
    assert unchecked(DOCS / page, KINDS) == []


@pytest.mark.parametrize("page", PAGES)
def test_the_page_works_from_top_to_bottom(page: str, server: Server, spawn: Spawn, tmp_path: Path) -> None:
    Reader(server.url, spawn, tmp_path).follow(DOCS / page)


def test_the_first_page_leads_to_every_page() -> None:
    first = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = [path.name for path in DOCS.glob("*.md") if path.name != "README.md"]
    assert [name for name in pages if f"]({name})" not in first] == []


def test_every_program_of_every_page_says_how_it_is_checked() -> None:
    for path in DOCS.glob("*.md"):
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            if line == "```python":
                assert re.match(r"<!-- checked: .+ -->", lines[number - 1]), f"{path.name} line {number + 1}"


@pytest.mark.parametrize(
    ("folder", "title"),
    [("macaque", "macaque"), ("mqlight", "mqlight"), ("mqlight/server", "the development server")],
)
def test_each_file_has_one_place_on_the_page_about_the_code(folder: str, title: str) -> None:
    page = (DOCS / "code.md").read_text(encoding="utf-8")
    table = page.partition(f"## The files of {title}\n")[2].partition("\n## ")[0]
    files = sorted(path.name for path in (ROOT / folder).glob("[!_]*.py"))
    assert sorted(re.findall(r"`(\w+\.py)`", table)) == files
