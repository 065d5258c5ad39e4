"""The pages of reference list what the code has: each error, AMQP condition and environment variable, and no other."""

from __future__ import annotations

import importlib
import re
from dataclasses import fields
from pathlib import Path

import pytest

from frontend.settings import PREFIX, Settings
from mqlight.amqp import types
from processes import ROOT

SOURCES = [path for folder in ("macaque", "mqlight", "frontend", "backend") for path in (ROOT / folder).rglob("*.py")]
PROGRAMS = [*SOURCES, ROOT / "setup.py", ROOT / "Procfile", *(ROOT / "scripts").iterdir()]
PROGRAMS += [ROOT / "tests/real_brokers.py", *(ROOT / "tests/brokers").glob("*.py")]
OTHERS = re.compile(
    r"CC|PATH|HOME|MAKEFLAGS|PYTHON\w+|KUBERNETES_SERVICE_HOST|MACAQUE_|"
    r"(HTTP|REMOTE|REQUEST|PATH|CONTENT|QUERY|RAW)_\w+"
)
"""Variables of the system, and members of WSGI's environ."""


def read(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def first_cells(page: str) -> set[str]:
    """The code words in the first cells of a page's tables."""
    rows = re.findall(r"^\| (`[^|]*?) \|", read(page), re.MULTILINE)
    return {word for cell in rows for word in re.findall(r"`([^`]+)`", cell)}


@pytest.mark.parametrize("package", ["macaque", "mqlight"])
def test_every_error_has_its_cause_and_its_cure(package: str) -> None:
    module = importlib.import_module(package)
    public = {name: getattr(module, name) for name in module.__all__}
    errors = {name for name, value in public.items() if isinstance(value, type) and issubclass(value, Exception)}
    assert errors and errors <= first_cells("errors.md")


def test_every_condition_has_its_cause_and_its_cure() -> None:
    descriptors = {value for value in vars(types).values() if isinstance(value, str)}
    used = {
        name
        for path in SOURCES
        for name in re.findall(r'"(amqp:[a-z]+(?:[:-][a-z]+)*)"', path.read_text(encoding="utf-8"))
        if not name.endswith((":list", ":map", ":binary"))
    }
    listed = {name for name in first_cells("errors.md") if name.startswith("amqp:")}
    assert listed == used - descriptors


def test_every_code_that_the_broker_causes_is_listed() -> None:
    from macaque.errors import _REFUSALS

    codes = re.findall(r"^\| ([45]\d\d) \|", read("errors.md"), re.MULTILINE)
    assert {str(code) for code, _ in _REFUSALS.values()} | {"400", "500", "502", "504"} == set(codes)


def variables(path: Path) -> set[str]:
    """The environment variables that a file reads."""
    text = path.read_text(encoding="utf-8")
    quoted = r'(?:environ(?:\.get\(|\[)|getenv\(|envvar=)f?"(\w+)"|"(\w+)" (?:not )?in (?:os\.)?environ'
    found = {name for pair in re.findall(quoted, text) for name in pair if name}
    if path.name == "Procfile":
        found |= set(re.findall(r"\$\{([A-Z_]+)", text))
    return found | set(re.findall(r"\bMACAQUE_[A-Z_]+\b(?<!_)", text))


def test_every_environment_variable_is_listed() -> None:
    read_by_code = {name for path in PROGRAMS if path.is_file() for name in variables(path)}
    read_by_code |= {PREFIX + field.name.upper() for field in fields(Settings)}
    listed = first_cells("settings.md")
    assert sorted(name for name in read_by_code - listed if not OTHERS.fullmatch(name)) == []
    everything = "".join(path.read_text(encoding="utf-8") for path in [*PROGRAMS, ROOT / "Makefile"] if path.is_file())
    made = {PREFIX + field.name.upper() for field in fields(Settings)}
    assert sorted(name for name in listed - made if not re.search(rf"\b{name}\b", everything)) == []


def test_the_words_of_the_glossary_are_in_order() -> None:
    words = [
        word.casefold() for word in re.findall(r"^\| (?!word \|)([^|-][^|]*?) \|", read("glossary.md"), re.MULTILINE)
    ]
    assert len(words) > 30 and words == sorted(words)
