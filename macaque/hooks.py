"""The functions that an application runs around its services: before and after each request, and for exceptions.

The rules of this file:

* `before` runs from the outside to the inside: the server, its blueprints, theirs. `after` runs from the inside to the
  outside, the functions of each in reverse order.
* The handler of an exception is looked for from the inside to the outside, in each by the class of the exception and
  its bases. An exception in a handler goes on to the handlers further out.
* `macaque.abort`, and data that does not fit its annotation, are replies, not exceptions: no handler gets them.

Pure: the hooks themselves belong to the application.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from macaque.errors import Abort, RemoteError
from mqlight.functions import name_of, unrun

__all__ = ["Hooks", "Pipeline", "Reply"]


@dataclass
class Reply:
    """The reply to a request, before it is sent: `error` if it is not None, else `data`."""

    data: Any = None
    error: RemoteError | None = None


class Hooks:
    """The hooks of one server or one blueprint."""

    def __init__(self) -> None:
        self.before: list[Callable[[], Any]] = []
        self.after: list[Callable[[Reply], Reply | None]] = []
        self.handlers: dict[type[Exception], Callable[[Any], Any]] = {}

    def __bool__(self) -> bool:
        return bool(self.before or self.after or self.handlers)

    def add_before(self, function: Callable[[], Any]) -> None:
        """Add a function without arguments. Raises TypeError: it takes some, or a call of it runs nothing."""
        _check(function, "before_request", "no argument")
        self.before.append(function)

    def add_after(self, function: Callable[[Reply], Reply | None]) -> None:
        """Add a function of the reply. Raises TypeError as `add_before` does."""
        _check(function, "after_request", "one argument, the macaque.Reply", None)
        self.after.append(function)

    def add_handler(self, kind: type[Exception], function: Callable[[Any], Any]) -> None:
        """Add the handler of a class of exceptions. Raises TypeError as `add_before` does."""
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(f"{kind!r} is no class of exceptions: write @app.errorhandler(ValueError).")
        _check(function, "errorhandler", "one argument, the exception", None)
        self.handlers[kind] = function


class Pipeline:
    """The hooks around one service. `scopes` are the hooks of the server, its blueprint, a blueprint in that, ..."""

    def __init__(self, scopes: Sequence[Hooks]) -> None:
        self._before = [function for scope in scopes for function in scope.before]
        self._after = [function for scope in reversed(scopes) for function in reversed(scope.after)]
        self._handlers = [scope.handlers for scope in reversed(scopes) if scope.handlers]

    def begin(self) -> Any:
        """Run the functions before the service, until one returns a value. Return that value, or None."""
        for function in self._before:
            result = function()
            if result is not None:
                return result
        return None

    def handle(self, error: BaseException) -> Any:
        """Return the result of the handler of an exception. Raises the exception if no handler returns a result."""
        for handlers in self._handlers:
            if isinstance(error, Abort):
                break
            for kind in type(error).__mro__:
                handler = handlers.get(kind)
                if handler is not None:
                    try:
                        return handler(error)
                    except BaseException as another:
                        error = another
                    break
        raise error

    def end(self, reply: Reply) -> Reply:
        """Run the functions after the service, each of which may replace the reply. Return the reply.

        Raises:
            TypeError: a function returned neither a Reply nor None.
        """
        for function in self._after:
            another = function(reply)
            if another is not None:
                if not isinstance(another, Reply):
                    raise TypeError(
                        f"{name_of(function)} returned {type(another).__name__}; return the macaque.Reply, or None to "
                        f"leave it as it is."
                    )
                reply = another
        return reply


def _check(function: Any, hook: str, takes: str, *arguments: None) -> None:
    if not callable(function):
        raise TypeError(f"@app.{hook} needs a function, not {function!r}.")
    kind = unrun(function)
    if kind is not None:
        raise TypeError(f"{name_of(function)} is {kind}, and the functions of @app.{hook} are plain ones.")
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        raise TypeError(f"{name_of(function)} must take {takes}, for @app.{hook}.") from None
    except ValueError:
        pass  # some functions written in C do not tell their parameters
