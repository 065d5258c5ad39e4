"""docs/gateway.md does what it says: its commands run, and its calls of curl print what it shows."""

from __future__ import annotations

import re
from pathlib import Path

from pages import KINDS, Block, Reader, unchecked
from processes import ROOT, Process, Server, Spawn

PAGE = ROOT / "docs/gateway.md"


class Listener(Reader):
    """A reader who listens with curl while other commands run."""

    listening: Process

    def listen(self, block: Block) -> None:
        self.listening = self.start(self.with_curl(block))
        self.listening.expect(r"^:$")

    def heard(self, block: Block) -> None:
        self.listening.expect(re.escape(block.text))


def test_the_page_works_from_top_to_bottom(server: Server, spawn: Spawn, tmp_path: Path) -> None:
    Listener(server.url, spawn, tmp_path).follow(PAGE)


def test_every_block_says_how_it_is_checked() -> None:
    assert unchecked(PAGE, KINDS | {"listen", "heard"}) == []
