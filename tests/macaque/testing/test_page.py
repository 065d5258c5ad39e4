"""The programs of docs/testing.md run."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

from processes import ROOT

PAGE = (ROOT / "docs/testing.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"(?ms)^<!-- checked: (\S+) -->\n```python\n(.*?)^```$", PAGE))


def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    assert PAGE.count("```python") == len(BLOCKS)
    for name, text in BLOCKS.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "."]
    if not entry_points(group="pytest11", name="macaque"):
        command += ["-p", "macaque.testing.plugin"]
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert "8 passed" in ran.stdout and ran.returncode == 0, ran.stdout + ran.stderr
