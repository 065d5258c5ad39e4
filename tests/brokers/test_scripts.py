"""The scripts that start brokers: their errors where a broker cannot start."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from processes import ROOT


def run(name: str, *args: str, cache: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run a script with a cache folder, and programs, of its own."""
    command = [sys.executable, str(ROOT / "scripts" / name), *args]
    environ = {"PATH": path, "MACAQUE_CACHE": str(cache), "HOME": str(cache)}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("name", ["rabbitmq", "artemis", "activemq"])
def test_help_says_what_to_type(name: str, tmp_path: Path) -> None:
    done = run(name, "--help", cache=tmp_path)
    assert done.returncode == 0
    assert f"scripts/{name} start" in done.stdout and f"scripts/{name} stop" in done.stdout


@pytest.mark.parametrize("verb", ["install", "start"])
def test_artemis_names_the_program_that_is_missing(verb: str, tmp_path: Path) -> None:
    done = run("artemis", verb, cache=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "scripts/artemis: the command java is missing: on Debian and Ubuntu, run apt-get install default-jre-headless\n"
    )


@pytest.mark.skipif(Path("/usr/lib/rabbitmq").exists(), reason="RabbitMQ is installed on this machine")
@pytest.mark.parametrize("verb", ["install", "start"])
def test_rabbitmq_names_what_is_missing(verb: str, tmp_path: Path) -> None:
    done = run("rabbitmq", verb, cache=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "run this script as root" in done.stderr or "apt-get install debootstrap" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["rabbitmq", "artemis", "activemq"])
def test_stop_is_content_when_nothing_runs(name: str, tmp_path: Path) -> None:
    done = run(name, "stop", cache=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (tmp_path / "apache-artemis-2.40.0").mkdir()
        (tmp_path / "java").touch(mode=0o755)
        done = run("artemis", "start", f"--port={port}", cache=tmp_path, path=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith(f"scripts/artemis: port {port} is taken")
