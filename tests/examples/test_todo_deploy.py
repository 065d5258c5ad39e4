"""The Containerfile, compose.yaml and manifest.yml of examples/todo, read without a container engine and a cloud."""

from __future__ import annotations

import re
import shlex
from typing import Any

import click
import pytest
import yaml
from dockerfile_parse import DockerfileParser

from macaque.cli import main as macaque
from mqlight.server.__main__ import main as server
from processes import ROOT
from todo_service import FOLDER

with (FOLDER / "Containerfile").open("rb") as file:
    IMAGE: list[tuple[str, str]] = [
        (each["instruction"], each["value"]) for each in DockerfileParser(fileobj=file).structure
    ]
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
MANIFEST: dict[str, Any] = yaml.safe_load((FOLDER / "manifest.yml").read_text(encoding="utf-8"))
APPS: dict[str, dict[str, Any]] = {app["name"]: app for app in MANIFEST["applications"]}
PROGRAMS = {("macaque",): macaque, ("python", "-m", "mqlight.server"): server}


def values(instruction: str) -> list[str]:
    """The values of an instruction of the Containerfile."""
    return [value for name, value in IMAGE if name == instruction]


def options(words: list[str]) -> dict[str, Any]:
    """Parse a command as its program would, and return its options. Fails if the program does not know one of them."""
    start = next(start for start in PROGRAMS if tuple(words[: len(start)]) == start)
    return parsed(PROGRAMS[start], words[len(start) :])


def parsed(command: click.Command, words: list[str]) -> dict[str, Any]:
    """Parse the options of a command and of its subcommand."""
    context = click.Context(command)
    found, rest, _ = command.make_parser(context).parse_args(list(words))
    if isinstance(command, click.Group) and rest:
        inner = command.get_command(context, rest[0])
        assert inner is not None, f"{command.name} has no {rest[0]}"
        found |= parsed(inner, rest[1:])
    return found


def test_the_image_has_a_version_no_compiler_and_no_root() -> None:
    (image,) = values("FROM")
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-\w+", image)
    assert values("USER") == ["10001"]
    assert "--uid 10001" in values("RUN")[0] and "--owner todo /data" in values("RUN")[0]
    assert values("VOLUME") == ["/data"]


def test_all_that_is_copied_exists_and_is_sent_to_the_builder() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for value in values("COPY"):
        for source in value.split()[:-1]:
            assert (ROOT / source).exists() and source in allowed


def test_the_extras_of_the_image_exist() -> None:
    (extras,) = re.findall(r"'\.\[(.*)\]'", " ".join(values("RUN")))
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert [each for each in extras.split(",") if not re.search(rf"(?m)^{each} = \[", pyproject)] == []


def test_compose_starts_a_server_two_workers_and_a_gateway_from_one_image() -> None:
    assert set(SERVICES) == {"server", "worker", "gateway"}
    assert SERVICES["worker"]["scale"] == 2
    for service in SERVICES.values():
        assert service["build"] == {"context": "../..", "dockerfile": "examples/todo/Containerfile"}
        assert (FOLDER / service["build"]["context"]).samefile(ROOT)
        assert (ROOT / service["build"]["dockerfile"]).is_file()
        assert service["networks"] == list(COMPOSE["networks"])
        assert service["image"] == "macaque-todo"


def test_the_programs_of_compose_know_their_options() -> None:
    found = {name: options(service["command"]) for name, service in SERVICES.items()}
    assert "todo:app" in found["worker"].values()
    assert list(found["gateway"]["allow"]) == ["todo/#"]
    assert (FOLDER / found["gateway"]["page"] / "index.html").is_file()
    (network,) = COMPOSE["networks"].values()
    assert list(found["server"]["trusted_network"]) == [each["subnet"] for each in network["ipam"]["config"]]


def test_only_the_page_can_be_reached_and_only_from_this_machine() -> None:
    assert SERVICES["gateway"]["ports"] == ["127.0.0.1:8000:8000"]
    gateway = options(SERVICES["gateway"]["command"])
    assert (gateway["port"], list(gateway["hostnames"])) == ("8000", ["localhost"])
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["gateway"]
    for name in ("worker", "gateway"):
        assert SERVICES[name]["environment"]["MACAQUE_BROKER"] == "amqp://server:5672"


def test_the_workers_share_a_database_on_a_volume_that_they_may_write_to() -> None:
    assert SERVICES["worker"]["environment"]["TODO_DB"] == "/data/todo.db"
    for name in ("server", "worker"):
        (volume,) = SERVICES[name]["volumes"]
        source, folder = volume.split(":")
        assert source in COMPOSE["volumes"] and [folder] == values("VOLUME")


def test_the_manifest_pushes_one_worker_and_a_gateway_that_asks_for_a_token() -> None:
    assert set(APPS) == {"todo-worker", "todo-gateway"}
    for app in APPS.values():
        assert (FOLDER / app["path"]).samefile(ROOT) and app["services"] == ["todo-broker"]
    worker, gateway = APPS["todo-worker"], APPS["todo-gateway"]
    assert (worker["instances"], worker["no-route"], worker["health-check-type"]) == (1, True, "process")
    assert (gateway["random-route"], gateway["health-check-http-endpoint"]) == (True, "/")
    assert gateway["env"] == {"MACAQUE_GATEWAY_TOKEN": "((token))"}


@pytest.mark.parametrize("name", APPS)
def test_the_programs_of_the_manifest_know_their_options(name: str) -> None:
    enter, separator, start, *words = re.split(r" (&&) (exec) ", APPS[name]["command"])
    assert (enter, separator, start) == ("cd examples/todo", "&&", "exec")
    options(shlex.split(*words))
