"""The examples of docs/amqp.md run against a real server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from processes import ROOT, Server, Spawn

PAGE = (ROOT / "docs/amqp.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"<!-- checked: (\w+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))


@pytest.mark.parametrize("name", ["sender", "receiver"])
def test_an_example_has_some_forty_lines(name: str) -> None:
    assert len([line for line in BLOCKS[name].splitlines() if line.strip()]) <= 40


def test_the_sender_sends_what_the_receiver_gets(server: Server, spawn: Spawn, tmp_path: Path) -> None:
    for name, text in BLOCKS.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    where = ["127.0.0.1", str(server.port)]
    receiver = spawn([str(tmp_path / "receiver.py"), *where], ready="listening to fish", env={"PYTHONPATH": str(ROOT)})
    command = [sys.executable, str(tmp_path / "sender.py"), *where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    assert (done.stdout, done.stderr) == ("connected to mqlight-server\nmy token ACCEPTED\n", "")
    receiver.expect("got a sentence")
    assert receiver.wait(10) == 0
