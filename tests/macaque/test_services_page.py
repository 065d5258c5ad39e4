"""The programs of docs/services.md run."""

from __future__ import annotations

import re
from pathlib import Path

from macaque.dead_letters import DeadLetters
from processes import ROOT, Server, Spawn, wait_until

PAGE = (ROOT / "docs/services.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"(?ms)^<!-- checked: (\S+) -->\n```python\n(.*?)^```$", PAGE))


def test_every_program_of_the_page_is_checked() -> None:
    assert list(BLOCKS) == ["billing.py", "notify", "repeat", "metrics"]
    assert PAGE.count("```python") == len(BLOCKS)


def test_the_programs_of_the_page_do_what_it_says(server: Server, spawn: Spawn, tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text(BLOCKS["billing.py"])
    env = {"MACAQUE_BROKER": server.url}
    run = ["-m", "macaque", "run", "billing:app", "--health-port", "0", "--drain-timeout", "30"]
    spawn(run, ready="serves invoices/remind", env=env, cwd=tmp_path)
    programs = {name: spawn(["-c", BLOCKS[name]], env=env) for name in ("notify", "repeat", "metrics")}
    assert [program.wait(20) for program in programs.values()] == [0, 0, 0]
    assert programs["repeat"].log() == "{'paid': 7}\n"

    def dead() -> dict[str, int]:
        with DeadLetters(server.url) as box:
            return {letter.reason: letter.count for letter in box.letters}

    expected = {"nobody is no address": 1, "ConnectionError: the mail server is down": 2}
    wait_until(lambda: dead() == expected)
