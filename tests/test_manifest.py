"""The start of the application: the Procfile, Cloud Foundry's manifest and the Makefile agree."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from honcho.environ import parse_procfile

from processes import ROOT

MANIFEST: dict[str, Any] = yaml.safe_load((ROOT / "manifest.yml").read_text(encoding="utf-8"))
APPS: dict[str, dict[str, Any]] = {app["name"]: app for app in MANIFEST["applications"]}
PROCFILE: dict[str, str] = dict(parse_procfile((ROOT / "Procfile").read_text(encoding="utf-8")).processes)

# The attributes that the Cloud Foundry documentation lists, as far as they are used; it ignores what it does not know.
ATTRIBUTES = {
    "name", "command", "buildpacks", "memory", "instances", "random-route", "no-route", "health-check-type",
    "health-check-http-endpoint", "services", "env",
}  # fmt: skip


def started_module(command: str) -> str:
    """The package in `[exec] [env NAME=VALUE] python -m PACKAGE [OPTIONS]`."""
    found = re.fullmatch(r"(?:exec )?(?:env \S+ )?python -m (\S+)(?: .*)?", command)
    assert found, f"{command!r} does not start a module"
    return found[1]


def requirement_lines(text: str) -> set[str]:
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return {line for line in lines if line}


def test_there_are_two_apps_from_the_root_with_one_service() -> None:
    assert set(APPS) == {"fishalive-frontend", "fishalive-backend"}
    for app in APPS.values():
        assert set(app) <= ATTRIBUTES
        assert app["services"] == ["macaque-mqlight"]
        assert app["buildpacks"] == ["python_buildpack"]


def test_the_back_end_has_no_route_and_is_healthy_while_its_process_runs() -> None:
    app = APPS["fishalive-backend"]
    assert app["no-route"] is True and "random-route" not in app
    assert app["health-check-type"] == "process"


def test_the_front_end_has_a_route_and_a_health_page() -> None:
    app = APPS["fishalive-frontend"]
    assert app["random-route"] is True and "no-route" not in app
    assert (app["health-check-type"], app["health-check-http-endpoint"]) == ("http", "/healthz")


@pytest.mark.parametrize(("name", "process"), [("frontend", "web"), ("backend", "backend")])
def test_the_manifest_and_the_procfile_start_the_same_program(name: str, process: str) -> None:
    module = started_module(APPS[f"fishalive-{name}"]["command"])
    assert module == started_module(PROCFILE[process]) == name
    assert (ROOT / module / "__main__.py").is_file()


def test_the_procfile_has_the_server_too_on_the_port_of_the_makefile_with_data_for_that_port() -> None:
    assert set(PROCFILE) == {"server", "backend", "web"}
    default = re.search(r"^AMQP_PORT \?= (\d+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert default
    port = f"${{AMQP_PORT:-{default[1]}}}"
    server = f'exec python -m mqlight.server --console-admin --port "{port}" --data "${{AMQP_DATA:-.data/{port}}}"'
    assert PROCFILE["server"] == server


def test_the_web_process_listens_everywhere_as_platforms_want_it_to() -> None:
    """Heroku and its like send the web process's requests from outside, to the port in PORT."""
    assert PROCFILE["web"] == 'exec env HOST="${HOST:-0.0.0.0}" python -m frontend'


def test_the_makefile_exports_every_variable_that_run_reads() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    exported = re.search(r"^export (.*)$", makefile, re.MULTILINE)
    read = re.findall(r'number\(os\.environ, "(\w+)", (\d+)', (ROOT / "scripts/run.py").read_text(encoding="utf-8"))
    assert exported and set(exported[1].split()) == {name for name, _ in read}
    for name, default in read:
        assert f"\n{name} ?= {default}\n" in makefile


def test_cloud_foundry_installs_what_the_application_needs_of_pyproject() -> None:
    """requirements.txt repeats the lines of the web extra but for what starts it, as the buildpack reads no
    pyproject.toml."""
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extra = re.search(r"^web = \[\n(.*?)^\]$", pyproject, re.MULTILINE | re.DOTALL)
    assert extra
    lines = re.findall(r'^ +"([^"]+)",$', extra[1], re.MULTILINE)
    needed = {line for line in lines if not line.startswith("honcho")}
    assert requirement_lines((ROOT / "requirements.txt").read_text(encoding="utf-8")) == {*needed, "-e ."}


@pytest.mark.parametrize("path", [".ci/run", "scripts/install", "scripts/install-browser"])
def test_scripts_are_executable_and_parse(path: str) -> None:
    file: Path = ROOT / path
    assert file.stat().st_mode & 0o111
    shell = "bash" if "bash" in file.read_text(encoding="utf-8").splitlines()[0] else "sh"
    subprocess.run([shell, "-n", str(file)], check=True)


def test_ci_starts_brokers_and_runs_make_test_and_nothing_more() -> None:
    lines = [line for line in (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines() if line[:1] not in ("#", "")]
    made = [re.findall(r"make [\w-]+", line)[0] for line in lines if "make " in line]
    assert made == ["make test", "make test-pythons"]
    assert {line.split()[0] for line in lines if "scripts/" in line} == {"scripts/rabbitmq", "scripts/artemis"}
    assert not [line for line in lines if "pytest" in line]
