"""The programs of docs/streams.md run."""

from __future__ import annotations

import re
from pathlib import Path

from processes import ROOT, Server, Spawn, wait_until

PAGE = (ROOT / "docs/streams.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"(?ms)^<!-- checked: (.+?) -->\n```python\n(.*?)^```$", PAGE))


def test_every_program_of_the_page_is_checked() -> None:
    assert list(BLOCKS) == ["words.py", "map", "async map", "stream", "async stream", "prices.py", "gather"]
    assert PAGE.count("```python") == len(BLOCKS)


def test_the_programs_of_the_page_do_what_it_says(server: Server, spawn: Spawn, tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text(BLOCKS.pop("words.py"))
    env = {"MACAQUE_BROKER": server.url}
    worker = spawn(["-m", "macaque", "run", "words:app"], ready="serves words/count", env=env, cwd=tmp_path)
    programs = {name: spawn(["-c", BLOCKS[name]], env=env) for name in ("map", "async map", "stream", "async stream")}
    assert [program.wait(20) for program in programs.values()] == [0] * 4
    assert programs["map"].log().startswith("['FISH', 'ALIVE']\none of many: FISH ")
    assert programs["async map"].log() == "FISH\nALIVE\n"
    assert programs["stream"].log() == programs["async stream"].log() == "fish 0\nfish 1\nfish 2\n"
    wait_until(lambda: worker.log().count("counted to") == 2, what="the ends of the generators")


def test_the_replies_of_all_services_are_gathered(server: Server, spawn: Spawn, tmp_path: Path) -> None:
    (tmp_path / "prices.py").write_text(BLOCKS["prices.py"])
    env = {"MACAQUE_BROKER": server.url}
    spawn(["-m", "macaque", "run", "prices:app"], ready="by vowels", env=env, cwd=tmp_path)
    program = spawn(["-c", BLOCKS["gather"]], env=env)
    assert program.wait(20) == 0 and program.log() == "[3, 5]\n" and "It prints `[3, 5]`" in PAGE
