"""Virtual environments of a test's own, and copies of the source tree, as somebody else's machine would have them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from processes import ROOT

INSTALL_TIMEOUT = 250
"""Seconds: pip may have to compile, on a machine that does other things as well."""


def run(command: Sequence[str | Path], cwd: Path, **environ: str) -> str:
    """Run a program to its good end and return what it printed; AssertionError with that when it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**bare_environ(), **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_TIMEOUT,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def bare_environ() -> dict[str, str]:
    """The environment without what says where our modules or our broker are."""
    ours = ("MACAQUE_", "PYTHON", "VCAP_", "FRONTEND_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours) and name != "PORT"}


def make_environment(folder: Path) -> Path:
    """Make a virtual environment without pip in `folder`, and return its Python: pip would take longest."""
    run([sys.executable, "-m", "venv", "--without-pip", folder], folder.parent)
    return folder / "bin" / "python"


def install(python: Path, *what: str, cwd: Path) -> None:
    """Install by the pip of the tests, as `pip install WHAT...` of that Python would in `cwd`."""
    pip = [sys.executable, "-m", "pip", "--python", python]
    run([*pip, "install", "--quiet", "--disable-pip-version-check", *what], cwd)


def copy_tree(target: Path, ignore: Path) -> Path:
    """Copy the repository's folder to `target`, but what the ignore file `ignore` (in git's form) names."""
    empty = target.parent / f"{target.name}.git"
    run(["git", "init", "--quiet", "--bare", empty], target.parent)
    git = ["git", f"--git-dir={empty}", f"--work-tree={ROOT}"]
    for path in run([*git, "ls-files", "--others", "-z", f"--exclude-from={ignore}"], ROOT).split("\0"):
        if path:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, target / path, follow_symlinks=False)
    return target
