"""Every code block of the README runs. The comment before a block, `<!-- checked: KIND -->`, says how:

- `service`     a Python program that is started, and runs until the end of the README
- `client`      a Python program that runs to its end and succeeds
- `command`     shell lines, each of which succeeds
- `background`  shell lines, each of which is started, and runs until the end of the README
- `output`      what the block before it printed, to the letter
- `install`     calls of pip: names and extras that pyproject.toml has (tests/test_packaging.py installs)
- `make`        calls of make: targets and variables that the Makefile has
- `cf`          calls of cf: names that the manifest has, and credentials that connect

In shell lines `.venv/bin/` is where the tests' own Python is.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import macaque
from mqlight.addresses import Addresses, from_environment
from processes import ROOT, Server, Spawn, wait_until

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
COMMAND = [sys.executable, "-c", "import sys; sys.argv[0] = 'macaque'; from macaque.cli import main; sys.exit(main())"]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    line: int
    kind: str | None
    """What its marker says; None without one."""
    language: str
    text: str

    def commands(self) -> Iterator[list[str]]:
        """The words of each shell line, without its comment."""
        for line in self.text.splitlines():
            if words := shlex.split(line, comments=True):
                yield words

    def __str__(self) -> str:
        return f"README.md line {self.line} ({self.kind})"


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a page."""
    fenced = re.compile(r"(?ms)(?:^<!-- checked: (\w+) -->\n)?^(```|~~~)(\w*)[^\n]*\n(.*?)^\2\s*$")
    return [
        Block(text.count("\n", 0, found.start(2)) + 1, found[1], found[3], found[4]) for found in fenced.finditer(text)
    ]


def as_program(words: list[str]) -> list[str]:
    """The command of a shell line, run by the Python that runs the tests."""
    assert words[0] in (".venv/bin/python", ".venv/bin/macaque"), f"{words[0]} is not a program that this test knows"
    return [*(COMMAND if words[0].endswith("macaque") else [sys.executable]), *words[1:]]


class Reader:
    """Does what the README says, block by block, with a server that is not the reader's own."""

    def __init__(self, server: Server, spawn: Spawn, directory: Path) -> None:
        self.env = {"MACAQUE_BROKER": server.url}
        self.spawn, self.directory, self.printed = spawn, directory, ""

    def follow(self, block: Block) -> None:
        getattr(self, block.kind or "unmarked")(block)

    def save(self, block: Block) -> list[str]:
        path = self.directory / f"line_{block.line}.py"
        path.write_text(block.text, encoding="utf-8")
        return [sys.executable, str(path)]

    def run(self, command: list[str], what: str) -> None:
        """Run to a good end, and keep what it printed."""
        process = self.spawn(command=command, env=self.env)
        code = process.wait(20)
        self.printed = process.log()
        assert code == 0, f"{what} ended with {code}, and printed:\n{self.printed}"

    def listened_to(self, topic: str) -> bool:
        """Whether somebody answers calls of a topic, if only to say that they are wrong."""
        with macaque.Client(broker=self.env["MACAQUE_BROKER"]) as client:
            try:
                client.call(topic, "", timeout=5).result()
            except macaque.NoResponders:
                return False
            except macaque.RemoteError:
                pass
        return True

    def service(self, block: Block) -> None:
        self.spawn(command=self.save(block), env=self.env)
        for topic in re.findall(r'@app\.service\("([^"]+)"', block.text):
            wait_until(lambda: self.listened_to(topic), 10, f"the start of {topic}")  # noqa: B023 (called at once)

    def client(self, block: Block) -> None:
        self.run(self.save(block), str(block))

    def command(self, block: Block) -> None:
        for words in block.commands():
            if words[1] == "call":
                wait_until(lambda: self.listened_to(words[2]), 10, f"the start of {words[2]}")  # noqa: B023 (as above)
            self.run(as_program(words), shlex.join(words))

    def background(self, block: Block) -> None:
        for words in block.commands():
            self.spawn(command=as_program(words), env=self.env)

    def output(self, block: Block) -> None:
        assert self.printed == block.text

    def make(self, block: Block) -> None:
        targets = set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))
        variables = set(re.findall(r"^(\w+) \?=", MAKEFILE, re.MULTILINE))
        for program, target, *settings in block.commands():
            assert program == "make" and target in targets
            assert {setting.partition("=")[0] for setting in settings} <= variables

    def install(self, block: Block) -> None:
        pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        for program, verb, what in block.commands():
            assert (program, verb) == ("pip", "install")
            name, extra = re.fullmatch(r"(\S+?)\[(\w+)\]", what).groups()  # type: ignore[union-attr]
            assert f'name = "{name}"' in pyproject or name == "../macaque"
            assert re.search(rf"^{extra} = \[", pyproject, re.MULTILINE)

    def cf(self, block: Block) -> None:
        apps = yaml.safe_load((ROOT / "manifest.yml").read_text(encoding="utf-8"))["applications"]
        verbs = []
        for program, verb, *rest in block.commands():
            assert program == "cf"
            verbs.append(verb)
            if verb == "create-user-provided-service":
                name, option, credentials = rest
                assert option == "-p" and all(app["services"] == [name] for app in apps)
                bound = {"user-provided": [{"name": name, "credentials": json.loads(credentials)}]}
                found = from_environment({"VCAP_SERVICES": json.dumps(bound)})
                assert found and [each.scheme for each in Addresses.of(*found).urls()] == ["amqps"]
                assert set(found[1]) == {"user", "password"}
            elif verb == "scale":
                assert rest[0] in {app["name"] for app in apps}
        assert verbs == ["create-user-provided-service", "push", "scale"]


KINDS = {name for name in vars(Reader) if not name.startswith("_")} - {"follow", "save", "run", "listened_to"}


def test_every_block_says_how_it_is_checked() -> None:
    assert len(blocks(README)) == len(re.findall(r"^(?:```|~~~)", README, re.MULTILINE)) / 2 > 0
    assert [str(block) for block in blocks(README) if block.kind not in KINDS] == []
    assert not re.search(r"^(?: {4}|\t)\S", re.sub(r"(?ms)^```.*?^```", "", README)), "an indented block is not checked"


def test_the_readme_works_from_top_to_bottom(server: Server, spawn: Spawn, tmp_path: Path) -> None:
    reader = Reader(server, spawn, tmp_path)
    for block in blocks(README):
        try:
            reader.follow(block)
        except AssertionError as error:
            raise AssertionError(f"{block}: {error}") from error


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("*/*.md")), ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(path: Path) -> None:
    if path.parts[len(ROOT.parts)].startswith("."):
        return
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
