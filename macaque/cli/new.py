"""`macaque new`: a small project to start from.

The folder `project-template` is a project that works, with the name `greeter`. A new one is a copy with another name.
"""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import secrets
import shutil
from pathlib import Path

import click

from macaque.cli.terminal import fail

__all__ = ["new"]

TEMPLATE = Path(__file__).with_name("project-template")
NAME = "greeter"
"""The name of the project in the template."""
LONGEST = 40
"""The most characters of a name."""


@click.command()
@click.argument("name")
def new(name: str) -> None:
    """Write a small project into the new folder NAME.

    It has a service, its test, and files to deploy it: Procfile, manifest.yml and Containerfile. NAME is also the name
    of the Python module.
    """
    _check_name(name)
    folder = Path(name)
    if os.path.lexists(folder):
        fail(2, f"{folder} exists already; choose another name, or go to another folder")
    module = importlib.util.find_spec(name)
    if module is not None:
        fail(2, f"there is a module {name} already ({module.origin or 'a folder'}); choose another name")
    unfinished = Path(f".{name}-{secrets.token_hex(4)}")
    try:
        unfinished.mkdir()
        _copy(unfinished, name)
        unfinished.rename(folder)
    except OSError as error:
        fail(2, f"{folder} cannot be written: {error.strerror or error}")
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    click.echo(f"{folder}/ has a service, its test, and the files to deploy it. Go on with:")
    for command in (f"cd {folder}", "macaque dev", "pytest"):
        click.echo(f"    {command}")


def _check_name(name: str) -> None:
    """End the command if a module cannot have this name."""
    if keyword.iskeyword(name):
        fail(2, f"{name} is a keyword of Python; choose another name")
    if name.startswith("test_"):
        fail(2, f"{name} is a name for tests; choose another name")
    if not _is_name(name):
        near = re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")
        said = f"; did you mean {near}?" if _is_name(near) else ""
        fail(2, f"{name} is no name for a module: use letters from a to z, digits and _, {LONGEST} at most{said}")


def _is_name(name: str) -> bool:
    return len(name) <= LONGEST and re.fullmatch("[a-z][a-z0-9_]*", name) is not None and not keyword.iskeyword(name)


def _copy(folder: Path, name: str) -> None:
    """Write the files of the template into a folder, with another name."""
    for file in TEMPLATE.iterdir():
        if file.is_file():
            text = file.read_text(encoding="utf-8").replace(NAME, name)
            (folder / file.name.replace(NAME, name)).write_text(text, encoding="utf-8")
