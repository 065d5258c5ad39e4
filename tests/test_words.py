"""The words of docstrings: each begins with the thing or the action that it is about."""

from __future__ import annotations

import re

from processes import ROOT

FOLDERS = ("backend", "benchmarks", "examples", "frontend", "macaque", "mqlight", "scripts", "tests")
HEADLESS = re.compile(r'"""(?:What|Who|Whoever|Which|Those|How) .*')


def test_no_docstring_begins_without_the_thing_that_it_is_about() -> None:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    found = [
        f"{path.relative_to(ROOT)}: {line}" for path in files for line in HEADLESS.findall(path.read_text("utf-8"))
    ]
    assert found == []
