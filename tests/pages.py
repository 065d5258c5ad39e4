"""Do what a page says, block by block. The comment before a block, `<!-- checked: KIND [NAME] -->`, says how:

- `file NAME`   a file of the reader, under that name
- `change NAME` a line of such a file, which takes the place of the one that sets the same name
- `more NAME`   the next part of that file
- `service`     a Python program that is started, and runs until the end of the page
- `client`      a Python program that runs to its end and succeeds
- `command`     shell lines, each of which succeeds
- `fails`       shell lines, each of which ends with an error
- `background`  shell lines, each of which is started, and runs until the end of the page
- `dev`         a `macaque dev` that is started, on free ports, and runs until the end of the page. Its server is the
                broker of the commands below. It starts the services again whenever a `file` is saved
- `http`        a shell line that starts an HTTP server, on a free port, in place of the one before
- `curl`        a call of curl to that server, which succeeds
- `install`     calls of pip: names and extras that pyproject.toml has (tests/test_packaging.py installs)
- `output`      what the block before it printed; `...` stands for any text
- `shown`       not run: text, or a part of a program

The reader's programs are those of the tests' own Python. Its broker is the tests' own, or that of `macaque dev`.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import macaque
from environments import bare_environ
from processes import ROOT, Process, Spawn, wait_until

COMMAND = [sys.executable, "-c", "import sys; sys.argv[0] = 'macaque'; from macaque.cli import main; sys.exit(main())"]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    kind: str | None
    """The kind that its marker names; None without a marker."""
    name: str | None
    language: str
    text: str

    def commands(self) -> Iterator[list[str]]:
        """The words of each shell line, without its comment."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words

    def __str__(self) -> str:
        return f"{self.page} line {self.line} ({self.kind})"


def blocks(path: Path) -> list[Block]:
    """All fenced blocks of a page."""
    text = path.read_text(encoding="utf-8")
    fenced = re.compile(r"(?ms)(?:^<!-- checked: (\w+)(?: (\S+))? -->\n)?^(```|~~~)(\w*)[^\n]*\n(.*?)^\3\s*$")
    return [
        Block(path.name, text.count("\n", 0, found.start(3)) + 1, found[1], found[2], found[4], found[5])
        for found in fenced.finditer(text)
    ]


def unchecked(path: Path, kinds: set[str]) -> list[str]:
    """The blocks of a page that do not say how they are checked."""
    found = blocks(path)
    text = path.read_text(encoding="utf-8")
    assert len(found) == len(re.findall(r"^(?:```|~~~)", text, re.MULTILINE)) / 2 > 0
    return [str(block) for block in found if block.kind not in kinds]


class Reader:
    """Does what a page says, in a folder of its own, with a broker that is not the reader's own."""

    def __init__(self, broker: str, spawn: Spawn, directory: Path, python: Path | None = None) -> None:
        self.env = {"MACAQUE_BROKER": broker}
        self.spawn, self.directory, self.python = spawn, directory, python
        self.printed = ""
        self.developing: Process | None = None
        self.http_server: Process | None = None
        self.url = ""

    @classmethod
    def kinds(cls) -> set[str]:
        """The kinds of blocks that this reader knows."""
        return KINDS | {name for name in vars(cls) if cls is not Reader and not name.startswith("_")}

    def follow(self, page: Path) -> None:
        """Do what the page says, from top to bottom."""
        for block in blocks(page):
            self.do(block)

    def do(self, block: Block) -> None:
        """Do what one block says."""
        try:
            getattr(self, block.kind or "unmarked")(block)
        except AssertionError as error:
            raise AssertionError(f"{block}: {error}") from error

    def program(self, words: list[str]) -> list[str]:
        """The command of a shell line, run by the reader's Python."""
        name = words[0].removeprefix(".venv/bin/")
        if self.python is not None:
            return [str(self.python.parent / name), *words[1:]]
        assert name in ("python", "macaque", "pytest", "gunicorn"), f"{words[0]} is not a program that this test knows"
        if name == "macaque":
            return [*COMMAND, *words[1:]]
        return [sys.executable, *([] if name == "python" else ["-m", name]), *words[1:]]

    def save(self, block: Block) -> list[str]:
        path = self.directory / f"line_{block.line}.py"
        path.write_text(block.text, encoding="utf-8")
        return self.program(["python", str(path)])

    def start(self, command: list[str]) -> Process:
        base = bare_environ() if self.python else None
        return self.spawn(command=command, env=self.env, cwd=self.directory, base=base)

    def run(self, command: list[str]) -> int:
        """Run to the end, keep what it printed, and return the exit code."""
        process = self.start(command)
        code = process.wait(60)
        self.printed = process.log()
        return code

    def succeed(self, command: list[str]) -> None:
        code = self.run(command)
        assert code == 0, f"{shlex.join(command)} ended with {code}, and printed:\n{self.printed}"

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

    def file(self, block: Block) -> None:
        self.write(block.name, block.text)

    def change(self, block: Block) -> None:
        assert block.name is not None
        text = (self.directory / block.name).read_text(encoding="utf-8")
        variable = block.text.partition(" = ")[0]
        (old,) = re.findall(rf"(?m)^{re.escape(variable)} = .*\n", text)
        self.write(block.name, text.replace(old, block.text))

    def write(self, name: str | None, text: str) -> None:
        """Save a file of the reader, and wait until `macaque dev` has started the services again."""
        assert name is not None
        served = self.developing.log().count(" serves ") if self.developing is not None else 0
        (self.directory / name).write_text(text, encoding="utf-8")
        if self.developing is not None:
            self.developing.expect(rf"(?s)(.* serves ){{{served + 1}}}")

    def more(self, block: Block) -> None:
        assert block.name is not None
        with (self.directory / block.name).open("a", encoding="utf-8") as file:
            file.write(f"{PAUSE}{block.text}")

    def service(self, block: Block) -> None:
        self.start(self.save(block))
        for topic in re.findall(r'@app\.service\("([^"]+)"', block.text):
            wait_until(lambda: self.listened_to(topic), what=f"the start of {topic}")  # noqa: B023 (called at once)

    def client(self, block: Block) -> None:
        self.succeed(self.save(block))

    def command(self, block: Block) -> None:
        for words in block.commands():
            if words[1] == "call":
                wait_until(lambda: self.listened_to(words[2]), what=f"the start of {words[2]}")  # noqa: B023 (as above)
            self.succeed(self.program(words))

    def fails(self, block: Block) -> None:
        for words in block.commands():
            assert self.run(self.program(words)) in (1, 2), self.printed

    def background(self, block: Block) -> None:
        for words in block.commands():
            process = self.start(self.program(words))
            if words[1] == "run" or words[1].endswith(".py"):
                process.expect("serv(es|ing) ")

    def dev(self, block: Block) -> None:
        (words,) = block.commands()
        self.developing = self.start([*self.program(words), "--port", "0", "--console-port", "0"])
        self.developing.expect(r"(?m)^    macaque (.*\n)+\Z")
        log = self.developing.log()
        # The page shows the usual ports, and no lines of the log.
        for kind, port in ("amqp", 5672), ("http", 9180):
            found = re.search(rf"{kind}://127.0.0.1:(\d+)", log)
            assert found is not None
            log = log.replace(f"127.0.0.1:{found[1]}", f"127.0.0.1:{port}")
            if kind == "amqp":
                self.env["MACAQUE_BROKER"] = found[0]
        self.printed = "".join(
            line for line in log.splitlines(keepends=True) if not re.match(r"\d{4}-|    export ", line)
        )

    def http(self, block: Block) -> None:
        if self.http_server is not None:
            assert self.http_server.stop() == 0
        (words,) = block.commands()
        words = [re.sub(r"^127\.0\.0\.1:\d+$", "127.0.0.1:0", word) for word in words]
        self.http_server = self.start([*self.program(words), *(["--port", "0"] if words[0] == "macaque" else [])])
        self.url = self.http_server.expect(ADDRESS)[0]

    def curl(self, block: Block) -> None:
        self.succeed(self.with_curl(block))
        self.printed = self.printed if self.printed.endswith("\n") else f"{self.printed}\n"

    def with_curl(self, block: Block) -> list[str]:
        """The command of a call of curl to the HTTP server. Skips the test where curl is not installed."""
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        (words,) = block.commands()
        url, count = re.subn(ADDRESS, self.url, words[-1])
        assert words[0] == "curl" and count == 1
        return ["curl", "--silent", "--max-time", "20", *words[1:-1], url]

    def output(self, block: Block) -> None:
        pattern = ".*?".join(re.escape(part) for part in block.text.split("..."))
        assert re.fullmatch(pattern, self.printed, re.DOTALL), f"it printed:\n{self.printed}"

    def install(self, block: Block) -> None:
        pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        for program, verb, what in block.commands():
            assert (program, verb) == ("pip", "install")
            name, extra = re.fullmatch(r"(\S+?)\[(\w+)\]", what).groups()  # type: ignore[union-attr]
            assert f'name = "{name}"' in pyproject or name == "../macaque"
            assert re.search(rf"^{extra} = \[", pyproject, re.MULTILINE)

    def shown(self, block: Block) -> None:
        """Not run."""


PAUSE = "\n\n"
"""The lines between two parts of a file."""
ADDRESS = r"http://127\.0\.0\.1:\d+"
"""The HTTP server of a page."""
KINDS = set("file change more service client command fails background dev http curl install output shown".split())
