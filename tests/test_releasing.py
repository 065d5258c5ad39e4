"""docs/releasing.md and the forms for issues agree with pyproject.toml and with the packages that are installed."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, metadata

import pytest
import yaml

from pages import KINDS, unchecked
from processes import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGE = ROOT / "docs/releasing.md"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
ROWS = re.findall(r"^\| `([\w-]+)` \| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
OURS = {"test", "docs"}
"""Extras for those who work on macaque."""


def needed() -> dict[str, set[str]]:
    """Each package that a user's install may bring, with what needs it."""
    found: dict[str, set[str]] = {}
    extras = {name: wanted for name, wanted in PROJECT["optional-dependencies"].items() if name not in OURS}
    for extra, wanted in {"everything": PROJECT["dependencies"], **extras}.items():
        for requirement in wanted:
            found.setdefault(re.match(r"[\w-]+", requirement)[0], set()).add(extra)  # type: ignore[index]
    found.pop(PROJECT["name"], None)  # an extra that is made of others
    return found


def test_every_dependency_is_listed_with_what_needs_it() -> None:
    assert {name: set(re.findall(r"\w+", by.partition(", on")[0])) for name, by, _ in ROWS} == needed()


def test_the_readme_tells_what_each_extra_adds() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \| ", readme, re.MULTILINE)) == set(PROJECT["optional-dependencies"]) - OURS


@pytest.mark.parametrize(("name", "licence"), [(name, licence) for name, _, licence in ROWS])
def test_the_licence_is_what_the_package_says(name: str, licence: str) -> None:
    try:
        said = metadata(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed here")
    words = [said.get("License-Expression") or "", said.get("License") or "", *said.get_all("Classifier", [])]
    family = re.match(r"[A-Za-z]+", licence)[0]  # type: ignore[index]
    assert any(re.search(rf"\b{family}", each) for each in words if "License" in each or each in words[:2]), words


def test_the_classifiers_name_the_pythons_that_wheels_are_built_for() -> None:
    named = set(re.findall(r"Python :: 3\.(\d+)", "\n".join(PROJECT["classifiers"])))
    assert set(re.findall(r"cp3(\d+)-", PYPROJECT["tool"]["cibuildwheel"]["build"])) == named
    assert PROJECT["requires-python"] == f">=3.{min(map(int, named))}"


def test_every_url_is_of_the_same_repository() -> None:
    source = PROJECT["urls"]["Source"]
    assert all(url.startswith(source) for url in PROJECT["urls"].values())
    configuration = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert configuration["extra"]["source"] == source
    assert f'SOURCE = "{source}"' in (ROOT / "setup.py").read_text(encoding="utf-8")
    assert source in (ROOT / ".github/ISSUE_TEMPLATE/config.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.name)
def test_the_forms_for_issues_are_complete(path: object) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))  # type: ignore[attr-defined]
    if "body" in form:
        assert {"name", "description"} <= set(form)
        ids = [part["id"] for part in form["body"]]
        assert len(ids) == len(set(ids)) and all(part["attributes"]["label"] for part in form["body"])


def test_every_block_of_the_page_is_there_to_be_read() -> None:
    assert unchecked(PAGE, KINDS) == []
