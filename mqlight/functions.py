"""The kinds of functions of an application. A call of an async function or a generator runs none of its code."""

from __future__ import annotations

import functools
import inspect
from types import FunctionType, MethodType
from typing import Any

__all__ = ["UNRUN", "innermost", "name_of", "unrun"]

UNRUN = (
    inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE
)  # fmt: skip
"""The code flags of functions whose call runs none of their code."""


def unrun(function: Any) -> str | None:
    """Return ``"async"`` or ``"a generator"`` for a function whose call runs none of its code; None for a plain one."""
    runs = function.__func__ if type(function) is MethodType else function
    if type(runs) is FunctionType and not runs.__code__.co_flags & UNRUN:
        return None  # the fast path: every call with a callback takes it
    runs = innermost(runs)
    if inspect.iscoroutinefunction(runs) or inspect.isasyncgenfunction(runs):
        return "async"
    return "a generator" if inspect.isgeneratorfunction(runs) else None


def innermost(function: Any) -> Any:
    """Return the function that runs when ``function`` is called: the one inside a partial, a method, or an object."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, functools._lru_cache_wrapper):
            function = function.__wrapped__
        elif inspect.ismethod(function):
            function = function.__func__
        elif inspect.isroutine(function) or isinstance(function, type):
            return function
        else:
            function = type(function).__call__


def name_of(function: object) -> str:
    """Return the name of a function for an error. An object without a name is shown as it is."""
    return getattr(function, "__qualname__", None) or repr(function)
