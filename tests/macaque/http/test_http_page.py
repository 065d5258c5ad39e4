"""docs/http.md does what it says: its servers run, and its calls of curl print what it shows."""

from __future__ import annotations

from pathlib import Path

from pages import KINDS, Reader, unchecked
from processes import ROOT, Server, Spawn

PAGE = ROOT / "docs/http.md"


def test_the_page_works_from_top_to_bottom(shared_server: Server, spawn: Spawn, tmp_path: Path) -> None:
    Reader(shared_server.url, spawn, tmp_path).follow(PAGE)


def test_every_block_says_how_it_is_checked() -> None:
    assert unchecked(PAGE, KINDS) == []
