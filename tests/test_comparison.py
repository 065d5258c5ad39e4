"""docs/comparison.md has a source for each claim: a test of ours that exists, or somebody's documentation."""

from __future__ import annotations

import re

import pytest

from processes import ROOT

PAGE = (ROOT / "docs/comparison.md").read_text(encoding="utf-8")
SOURCES = {found[1]: (found[2], found[3]) for found in re.finditer(r'(?m)^\[([\w-]+)\]: (\S+)(?: "(\w+)")?$', PAGE)}
TABLES = [table.splitlines() for table in re.findall(r"(?m)(?:^\|.*\n)+", PAGE)]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for table in TABLES for line in table[2:]]


@pytest.mark.parametrize("name", [name for name in SOURCES if name.startswith("t-")])
def test_a_claim_about_macaque_leads_to_a_test(name: str) -> None:
    path, test = SOURCES[name]
    text = (ROOT / "docs" / path).resolve().read_text(encoding="utf-8")
    assert re.search(rf"^(async )?def {test}\(", text, re.MULTILINE), f"{path} has no {test}"


def test_every_feature_of_macaque_has_its_test() -> None:
    for feature, ours, *_ in ROWS:
        assert ours in ("no", "not yet") or "[t-" in ours, feature


def test_every_claim_has_its_source_and_every_source_its_claim() -> None:
    used = set(re.findall(r"\]\[([\w-]+)\]", PAGE))
    assert used == set(SOURCES)
    assert all(target.startswith(("../tests/", "https://")) for target, _ in SOURCES.values())


def test_every_cell_says_something() -> None:
    assert len(TABLES) == 3 and len(ROWS) > 20
    assert [row[0] for row in ROWS if len(row) != 9 or not all(row)] == []
