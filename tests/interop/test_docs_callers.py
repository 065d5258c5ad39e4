"""The programs of docs/other-languages.md call a service, and print what the page says."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

import foreign
from pages import Block, Reader, blocks, unchecked
from processes import ROOT, Server, Spawn

PAGE = ROOT / "docs/other-languages.md"
SERVICE = ROOT / "docs/web-frameworks.md"


class Caller(Reader):
    """Runs the programs of other languages."""

    def node(self, block: Block) -> None:
        path = self.directory / "buy.js"
        path.write_text(block.text, encoding="utf-8")
        foreign.node(foreign.INTEROP, "rhea_call.js")  # installs rhea
        self.env["NODE_PATH"] = str(foreign.INTEROP / "node_modules")
        self.succeed(["node", str(path)])

    def java(self, block: Block) -> None:
        path = self.directory / "Buy.java"
        path.write_text(block.text, encoding="utf-8")
        foreign.java_backend()  # its libraries are Qpid JMS's
        self.succeed(["java", "-cp", str(foreign.JAVA_BACKEND / "target/lib/*"), str(path)])
        # Java's libraries log to stderr, as they please.
        self.printed = "".join(line for line in self.printed.splitlines(True) if "SLF4J" not in line)


def test_every_block_of_the_page_says_how_it_is_checked() -> None:
    assert unchecked(PAGE, Caller.kinds()) == []


@pytest.mark.parametrize("language", ["node", "java"])
def test_a_program_in_another_language_calls_a_service(
    language: str, server: Server, spawn: Spawn, tmp_path: Path
) -> None:
    caller = Caller(server.url, spawn, tmp_path)
    caller.service(next(block for block in blocks(SERVICE) if block.kind == "service"))
    program, output = next(pair for pair in pairwise(blocks(PAGE)) if pair[0].kind == language)
    caller.do(program)
    caller.do(output)
