"""The Containerfile, read as far as that goes without a container engine: none of its images was built here."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from dockerfile_parse import DockerfileParser

from mqlight.server.__main__ import main as server
from processes import ROOT

with (ROOT / "Containerfile").open("rb") as file:
    INSTRUCTIONS: list[tuple[str, str]] = [
        (each["instruction"], each["value"]) for each in DockerfileParser(fileobj=file).structure
    ]
PROGRAMS = {"server": "mqlight.server", "backend": "backend", "frontend": "frontend"}


def stages() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """The image that each stage begins with, and its instructions."""
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    for instruction, value in INSTRUCTIONS:
        if instruction == "FROM":
            image, name = re.fullmatch(r"(\S+) AS (\S+)", value).groups()  # type: ignore[union-attr]
            found[name] = (image, [])
        elif found:
            found[name][1].append((instruction, value))
    return found


STAGES = stages()


def values(stage: str, instruction: str) -> list[str]:
    """What a stage says to an instruction, after what the stages say that it begins with."""
    image, instructions = STAGES[stage]
    before = values(image, instruction) if image in STAGES else []
    return before + [value for name, value in instructions if name == instruction]


def test_there_is_a_stage_for_each_process_type() -> None:
    assert set(STAGES) == {"build", "base", *PROGRAMS}


def test_the_images_that_it_begins_with_have_a_name_and_a_version() -> None:
    (version,) = [value for instruction, value in INSTRUCTIONS if instruction == "ARG"]
    assert re.fullmatch(r"PYTHON=3\.\d+-slim-\w+", version)
    assert {image for image, _ in STAGES.values()} - set(STAGES) == {"docker.io/library/python:${PYTHON}"}


@pytest.mark.parametrize(("stage", "program"), PROGRAMS.items())
def test_it_starts_the_program_as_itself_so_that_signals_reach_it(stage: str, program: str) -> None:
    command: Any = json.loads(values(stage, "CMD")[-1])
    assert command[:3] == ["python", "-m", program]
    assert (ROOT / program.replace(".", "/") / "__main__.py").exists()
    assert values(stage, "ENTRYPOINT") == []


@pytest.mark.parametrize("stage", PROGRAMS)
def test_nobody_is_root(stage: str) -> None:
    assert values(stage, "USER")[-1] == "10001"
    assert not any("build-essential" in value for value in values(stage, "RUN"))


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_copied_exists_and_is_sent_to_the_builder(stage: str) -> None:
    allowed = {line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")}
    for value in values(stage, "COPY"):
        if not value.startswith("--from"):
            for source in value.split()[:-1]:
                assert (ROOT / source).exists() and source in allowed


def test_the_front_end_listens_where_the_image_says() -> None:
    assert values("frontend", "ENV")[-1] == "HOST=0.0.0.0 PORT=8000"
    assert values("frontend", "EXPOSE") == ["8000"]


def test_the_server_has_the_options_that_it_is_started_with() -> None:
    command = json.loads(values("server", "CMD")[-1])
    known = {option for parameter in server.params for option in parameter.opts}
    assert {word for word in command if word.startswith("--")} <= known
