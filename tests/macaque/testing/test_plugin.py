from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

from macaque.testing import plugin
from processes import ROOT

APP = """
import macaque

app = macaque.Server()


@app.service("greet")
def greet(name):
    return f"Hello {name}"
"""
TESTS = """
import pytest

from app import app


@pytest.fixture
def macaque_app():
    return app


def test_greet(macaque_client):
    assert macaque_client.call("greet", "Ada").result() == "Hello Ada"


def test_two_clients(macaque_broker, macaque_client):
    assert macaque_broker.client().call("greet", "Bob").result() == "Hello Bob"
    assert macaque_client.broker is macaque_broker
"""
WITHOUT_APP = """
def test_greet(macaque_client):
    pass
"""


def run(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    folder.joinpath("app.py").write_text(APP)
    folder.joinpath("test_app.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_app.py"]
    if not entry_points(group="pytest11", name="macaque"):
        command += ["-p", plugin.__name__]
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)


def test_a_project_tests_its_services_by_the_fixtures(tmp_path: Path) -> None:
    ran = run(tmp_path, TESTS)
    assert "2 passed" in ran.stdout and ran.returncode == 0, ran.stdout


def test_the_fixture_of_the_client_asks_for_the_app(tmp_path: Path) -> None:
    ran = run(tmp_path, WITHOUT_APP)
    assert ran.returncode == 1
    assert "write a fixture named macaque_app that returns your macaque.Server" in ran.stdout


def test_the_plugin_is_found_by_its_entry_point() -> None:
    assert f'macaque = "{plugin.__name__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
