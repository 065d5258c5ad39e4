"""The programs of docs/types.md and docs/requests.md do what the pages say."""

from __future__ import annotations

from pathlib import Path

import pytest

from pages import KINDS, Reader, unchecked
from processes import ROOT, Server, Spawn

PAGES = [ROOT / "docs/types.md", ROOT / "docs/requests.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_block_of_the_page_says_how_it_is_checked(page: Path) -> None:
    assert unchecked(page, KINDS) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_page_works_from_top_to_bottom(page: Path, server: Server, spawn: Spawn, tmp_path: Path) -> None:
    Reader(server.url, spawn, tmp_path).follow(page)
