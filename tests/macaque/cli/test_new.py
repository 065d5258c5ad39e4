"""`macaque new`: the project that it writes works, and it writes a whole project or nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from commands import Command
from macaque.broker import from_environment
from macaque.cli.new import LONGEST
from mqlight.addresses import Addresses
from processes import ROOT, Spawn

FILES = {
    ".cfignore", ".gitignore", "Containerfile", "Procfile", "README.md", "manifest.yml", "pyproject.toml",
    "requirements-dev.txt", "requirements.txt", "shop.py", "test_shop.py",
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A new project with the name shop."""
    assert Command("new", "shop", cwd=tmp_path).code == 0
    return tmp_path / "shop"


def readme(project: Path) -> list[list[str]]:
    """Return the words of each shell line of the project's README."""
    text = (project / "README.md").read_text(encoding="utf-8")
    return [shlex.split(line) for block in re.findall(r"(?s)```sh\n(.*?)```", text) for line in block.splitlines()]


def run(project: Path, *arguments: str) -> str:
    """Run a module of the tests' Python in the project, and return its output."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_command_says_how_to_go_on(tmp_path: Path) -> None:
    done = Command("new", "shop", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[1:] == ["    cd shop", "    macaque dev", "    pytest"]
    assert {path.name for path in (tmp_path / "shop").iterdir()} == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]
    assert [path for path in (tmp_path / "shop").iterdir() if "greeter" in path.read_text(encoding="utf-8")] == []


def test_the_project_passes_its_own_tests(project: Path) -> None:
    assert "4 passed" in run(project, "pytest", "-q", "-p", "no:cacheprovider")


@pytest.mark.parametrize("name", ["a", "x" * LONGEST])
def test_the_project_is_formatted_and_without_faults_whatever_its_name(tmp_path: Path, name: str) -> None:
    assert Command("new", name, cwd=tmp_path).code == 0
    run(tmp_path / name, "ruff", "check", "--no-cache", ".")
    run(tmp_path / name, "ruff", "format", "--no-cache", "--check", ".")


def test_the_project_runs_with_dev_and_answers_as_its_readme_says(project: Path, spawn: Spawn) -> None:
    process = spawn(["-m", "macaque", "dev", "--port", "0", "--console-port", "0"], cwd=project)
    url = process.expect(r"ready at (amqp://\S+)$")[1]
    process.expect(r"""    macaque call shop/greet '{"name": "text", "language": "en"}'$""")
    (call,) = [words for words in readme(project) if words[:2] == ["macaque", "call"]]
    assert Command(*call[1:], broker=url).out == '"Hello, Ann!"\n'
    assert process.stop() == 0


def test_each_way_of_deploying_runs_the_same_app(project: Path) -> None:
    with (project / "Containerfile").open("rb") as file:
        image = [(each["instruction"], each["value"]) for each in DockerfileParser(fileobj=file).structure]
    copied = [value.split()[0] for instruction, value in image if instruction == "COPY"]
    assert all((project / name).exists() for name in copied)
    (words,) = [json.loads(value) for instruction, value in image if instruction == "CMD"]
    (ports,) = [value for instruction, value in image if instruction == "EXPOSE"]
    assert words[:3] == ["macaque", "run", "shop:app"] and words[words.index("--health-port") + 1] == ports
    assert [value for instruction, value in image if instruction == "USER"] == ["10001"]
    (app,) = yaml.safe_load((project / "manifest.yml").read_text(encoding="utf-8"))["applications"]
    procfile = yaml.safe_load((project / "Procfile").read_text(encoding="utf-8"))
    assert app["command"] == procfile["worker"] == "macaque run shop:app"
    assert app["name"] == "shop" and app["no-route"] and app["health-check-type"] == "process"


def test_a_word_of_yaml_is_a_name_as_well(tmp_path: Path) -> None:
    assert Command("new", "null", cwd=tmp_path).code == 0
    (app,) = yaml.safe_load((tmp_path / "null/manifest.yml").read_text(encoding="utf-8"))["applications"]
    assert app["name"] == "null"


def test_the_service_that_the_readme_creates_is_the_one_that_the_manifest_binds(project: Path) -> None:
    (app,) = yaml.safe_load((project / "manifest.yml").read_text(encoding="utf-8"))["applications"]
    (create,) = [words for words in readme(project) if words[:2] == ["cf", "create-user-provided-service"]]
    assert [create[2]] == app["services"]
    bound = {"user-provided": [{"name": create[2], "credentials": json.loads(create[4])}]}
    found = from_environment({"VCAP_SERVICES": json.dumps(bound)})
    assert found is not None and [each.scheme for each in Addresses.of(*found).urls()] == ["amqps"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my-shop", "my-shop is no name for a module"),
        ("my-shop", "did you mean my_shop?"),
        ("Shop", "did you mean shop?"),
        ("class", "class is a keyword of Python"),
        ("test_shop", "test_shop is a name for tests"),
        ("1st", "1st is no name for a module"),
        ("../shop", "did you mean shop?"),
        ("", "is no name for a module"),
        ("größe", "größe is no name for a module"),
        ("x" * (LONGEST + 1), f"{LONGEST} at most"),
        ("queue", "there is a module queue already"),
        ("macaque", "there is a module macaque already"),
    ],
)
def test_a_name_that_no_module_can_have_is_refused(tmp_path: Path, name: str, said: str) -> None:
    assert said in Command("new", name, cwd=tmp_path).failed(2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_nothing_is_overwritten(tmp_path: Path, kind: str) -> None:
    there = tmp_path / "shop"
    if kind == "folder":
        there.mkdir()
    elif kind == "file":
        there.write_text("precious")
    else:
        there.symlink_to("nowhere")
    assert "shop exists already; choose another name" in Command("new", "shop", cwd=tmp_path).failed(2)
    assert list(tmp_path.iterdir()) == [there]


def test_a_project_that_cannot_be_written_whole_is_not_there_at_all(tmp_path: Path, spawn: Spawn) -> None:
    program = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
sys.argv[0] = "macaque"
from macaque.cli import main
main()
"""
    process = spawn(["-B", "-c", program, "new", "shop"], cwd=tmp_path)
    assert process.wait() == 2
    assert process.log() == "macaque: shop cannot be written: File too large\n"
    assert list(tmp_path.iterdir()) == []
