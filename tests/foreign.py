"""Programs in other languages: what they need is installed once, beside them, and again when that has changed."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from processes import ROOT

INTEROP = ROOT / "tests/interop"
NODE_BACKEND = ROOT / "examples/backend-node"
JAVA_BACKEND = ROOT / "examples/backend-java"
INSTALL_TIMEOUT = 300

PACKAGES = {
    "node": "Node.js 18 or newer is not installed: apt-get install nodejs",
    "npm": "npm is not installed: apt-get install npm",
    "java": "Java 17 or newer is not installed: apt-get install openjdk-17-jdk-headless",
    "javac": "The Java compiler is not installed: apt-get install openjdk-17-jdk-headless",
    "mvn": "Maven is not installed: apt-get install maven",
}


def need(*commands: str) -> None:
    """Skip the test, with the way to help, when one of the commands is not here."""
    for command in commands:
        if shutil.which(command) is None:
            pytest.skip(PACKAGES[command])


def install(folder: Path, command: Sequence[str], made: Path, *sources: str) -> None:
    """Run `command` in `folder`, which makes `made`, unless that is newer than the `sources`."""
    with (folder / sources[0]).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made.exists() and all(made.stat().st_mtime >= (folder / name).stat().st_mtime for name in sources):
            return
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_TIMEOUT
        )
        assert done.returncode == 0, f"{' '.join(command)} in {folder} failed:\n{done.stdout}{done.stderr}"
        made.touch()


def packages(folder: Path) -> Path:
    """The folder with the packages of npm that `folder` needs, installed."""
    need("node", "npm")
    stamp = folder / "node_modules/.package-lock.json"
    install(folder, ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], stamp, "package-lock.json")
    return stamp.parent


def node(folder: Path, program: str) -> list[str]:
    """The command that runs a Node.js program in `folder`, with its packages installed."""
    packages(folder)
    return ["node", str(folder / program)]


def java_backend() -> list[str]:
    """The command that runs the back end in Java, built."""
    need("java", "javac", "mvn")
    jar = JAVA_BACKEND / "target/backend.jar"
    install(JAVA_BACKEND, ["mvn", "--quiet", "--batch-mode", "clean", "package"], jar, "pom.xml", "Backend.java")
    return ["java", "-jar", str(jar)]
