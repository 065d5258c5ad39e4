"""The kinds of functions that can be services: a plain one, `async def`, and generators, whose replies are streamed.

Pure: the functions are looked at, and not called.
"""

from __future__ import annotations

import enum
import inspect
from typing import Any

from mqlight.functions import innermost, unrun

__all__ = ["Kind", "kind_of", "kind_of_result"]


class Kind(enum.Enum):
    """The way in which a service's function, or its result, is run."""

    PLAIN = "a plain function"
    COROUTINE = "a coroutine"
    GENERATOR = "a generator"
    ASYNC_GENERATOR = "an async generator"

    @property
    def streams(self) -> bool:
        return self in (Kind.GENERATOR, Kind.ASYNC_GENERATOR)


def kind_of(function: Any) -> Kind:
    """Return the kind of a function, a method, an object that can be called, or a partial of one."""
    if unrun(function) is None:
        return Kind.PLAIN
    runs = innermost(function)
    if inspect.isasyncgenfunction(runs):
        return Kind.ASYNC_GENERATOR
    return Kind.GENERATOR if inspect.isgeneratorfunction(runs) else Kind.COROUTINE


def kind_of_result(result: object) -> Kind:
    """Return the kind of a result. A decorator may hide that a function is async or a generator."""
    if inspect.isgenerator(result):
        return Kind.GENERATOR
    if inspect.isasyncgen(result):
        return Kind.ASYNC_GENERATOR
    return Kind.COROUTINE if inspect.isawaitable(result) else Kind.PLAIN
