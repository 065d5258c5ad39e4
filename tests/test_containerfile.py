"""The Containerfile and compose.yaml, read as far as that goes without a container engine: no image was built here."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
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
    """Return the values of an instruction in a stage, after those of the stages that it begins with."""
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
    assert command(stage)[:3] == ["python", "-m", program]
    assert (ROOT / program.replace(".", "/") / "__main__.py").exists()


def command(stage: str) -> list[str]:
    """The words that a container of this stage runs when it is given none."""
    given = values(stage, "ENTRYPOINT")[-1:] + values(stage, "CMD")[-1:]
    return [word for text in given for word in json.loads(text)]


@pytest.mark.parametrize("stage", PROGRAMS)
def test_nobody_is_root(stage: str) -> None:
    assert values(stage, "USER")[-1] == "10001"
    assert not any("build-essential" in value for value in values(stage, "RUN"))


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_copied_exists_and_is_sent_to_the_builder(stage: str) -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for value in values(stage, "COPY"):
        if not value.startswith("--from"):
            for source in value.split()[:-1]:
                assert (ROOT / source).exists() and source in allowed


def test_the_front_end_listens_where_the_image_says() -> None:
    assert values("frontend", "ENV")[-1] == "HOST=0.0.0.0 PORT=8000"
    assert values("frontend", "EXPOSE") == ["8000"]


def test_docker_and_podman_leave_out_the_same_files() -> None:
    assert (ROOT / ".containerignore").read_text() == (ROOT / ".dockerignore").read_text()


COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


def server_options() -> dict[str, list[str]]:
    """The options of the server of compose.yaml, with what each is given."""
    words = [*command("server")[3:], *COMPOSE["services"]["server"]["command"]]
    found: dict[str, list[str]] = {}
    for option, value in zip(words[::2], words[1::2], strict=True):
        found.setdefault(option, []).append(value)
    return found


def test_the_server_has_the_options_that_it_is_started_with() -> None:
    assert set(server_options()) <= {option for parameter in server.params for option in parameter.opts}


def test_compose_has_a_service_for_each_image_and_all_of_them_on_one_network() -> None:
    services = COMPOSE["services"]
    assert set(services) == set(PROGRAMS)
    for name, service in services.items():
        assert service["build"] == {"context": ".", "dockerfile": "Containerfile", "target": name}
        assert service["networks"] == list(COMPOSE["networks"])
    assert services["backend"]["scale"] == 2


def test_the_server_of_compose_trusts_its_network_and_no_other_and_publishes_no_port() -> None:
    (network,) = COMPOSE["networks"].values()
    assert server_options()["--trusted-network"] == [each["subnet"] for each in network["ipam"]["config"]]
    assert "ports" not in COMPOSE["services"]["server"]
    port = values("server", "EXPOSE")
    for name in ("backend", "frontend"):
        assert COMPOSE["services"][name]["environment"] == {"MACAQUE_BROKER": f"amqp://server:{port[0]}"}


def test_compose_shows_the_page_to_its_own_machine() -> None:
    (port,) = values("frontend", "EXPOSE")
    assert COMPOSE["services"]["frontend"]["ports"] == [f"127.0.0.1:8000:{port}"]


def test_what_the_server_keeps_is_on_a_volume_that_it_may_write_to() -> None:
    assert COMPOSE["services"]["server"]["volumes"] == [f"data:{folder}" for folder in server_options()["--data"]]
    assert values("server", "VOLUME") == server_options()["--data"]
    assert f"install --directory --owner macaque {values('server', 'VOLUME')[0]}" in values("base", "RUN")[-1]
