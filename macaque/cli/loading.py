"""The application that a command is given: `shop:app`, `shop`, or `shop.py`."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from macaque.cli.terminal import fail
from macaque.server import Server

__all__ = ["Target", "load", "target_of"]

USUAL = "app"
"""The name of the server in a module, if the command names none."""


@dataclass(frozen=True)
class Target:
    """A module, the folder to import it from, and the name of the server in it; None for the one that it has."""

    folder: Path
    module: str
    name: str | None


def target_of(text: str) -> Target:
    """Return what MODULE:APP names. Instead of the module, it may have the path of its file.

    A file in a package is imported from the folder that holds the package. If nothing can be meant, the command ends
    with a line on stderr.
    """
    module, colon, name = text.partition(":")
    if not module or (colon and not name):
        fail(2, f"{text} is not MODULE:APP; write the module, a colon, and the name of its macaque.Server")
    if not module.endswith(".py"):
        return Target(Path.cwd(), module, name or None)
    file = Path(module).resolve()
    if not file.is_file():
        fail(2, f"there is no file {module} in {Path.cwd()}")
    folder, names = file.parent, [file.stem]
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    return Target(folder, ".".join(names), name or None)


def load(text: str, *, shows_traceback: bool = False) -> Server:
    """Return the server that MODULE:APP names. Without one, the command ends with a line on stderr.

    Args:
        text: the argument of the command.
        shows_traceback: whether an exception of the module is printed with its traceback.
    """
    target = target_of(text)
    sys.path.insert(0, str(target.folder))
    try:
        with _without_run():
            module = importlib.import_module(target.module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{target.module}.".startswith(f"{error.name}."):
            fail(2, f"there is no module {target.module} in {target.folder} or on Python's path")
        fail(2, f"{target.module} cannot be imported: {error}")
    except Exception as error:
        if shows_traceback:
            traceback.print_exc()
        fail(2, f"{target.module} cannot be imported: {type(error).__name__}: {error}")
    found = _only(module) if target.name is None else _named(module, target.name)
    if not isinstance(found, Server) and callable(found):
        try:
            found = found()
        except Exception as error:
            fail(2, f"{text} failed: {type(error).__name__}: {error}")
    if not isinstance(found, Server):
        fail(2, f"{text} is of type {type(found).__name__}; a macaque.Server is needed, or a function that returns one")
    return found


@contextmanager
def _without_run() -> Iterator[None]:
    """Let `Server.run` fail in a block. In a module that is imported, it would never end."""

    def refuse(*arguments: object, **options: object) -> NoReturn:
        raise RuntimeError("the module calls run() when it is imported; write it below if __name__ == '__main__':")

    run = Server.run
    Server.run = refuse  # type: ignore[method-assign]  # until the end of the block
    try:
        yield
    finally:
        Server.run = run  # type: ignore[method-assign]


def _servers(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if isinstance(value, Server)]


def _only(module: ModuleType) -> Any:
    """Return the server of a module that the command does not name."""
    names = _servers(module)
    if not names:
        fail(2, f"{module.__name__} has no macaque.Server; name a function that makes one: {module.__name__}:FUNCTION")
    if len(names) > 1 and USUAL not in names:
        which = " or ".join(f"{module.__name__}:{name}" for name in names)
        fail(2, f"{module.__name__} has {len(names)} servers: name one, {which}")
    return getattr(module, USUAL if USUAL in names else names[0])


def _named(module: ModuleType, path: str) -> Any:
    found: Any = module
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            near = _servers(module)
            said = f"did you mean {module.__name__}:{near[0]}?" if near else "is it the name of the macaque.Server?"
            fail(2, f"{module.__name__} has no {path}; {said}")
    return found
