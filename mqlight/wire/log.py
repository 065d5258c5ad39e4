"""Loggers whose calls never raise.

A handler or a formatter of the application may fail, and a log call of ours may stand between taking a message and
settling it, or in the thread that reads for everybody. So a line that cannot be logged is lost, and nothing else is.

Text from outside is escaped here, because the application may have set up a formatter of its own: it makes no line of
its own there either, and sends no commands to a terminal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from mqlight.wire.text import printable

__all__ = ["Log", "attempt", "report"]


_MOST = 10_000
"""Characters of one argument that are logged."""


class Log:
    """The logger called ``name``. Its methods are those of ``logging.Logger``, and raise nothing of ``contained``.

    Args:
        contained: what a handler may raise without harm. ``BaseException`` is for threads of ours alone, where an exit
            or a timeout of gevent's in a handler must not cost the message; it would hide Ctrl-C from a user's thread.
    """

    __slots__ = ("_logger", "contained")

    def __init__(self, name: str, contained: type[BaseException] = Exception) -> None:
        self._logger = logging.getLogger(name)
        self.contained = contained

    def is_enabled_for(self, level: int) -> bool:
        """Whether lines of this level are logged at all."""
        return self._logger.isEnabledFor(level)

    def log(self, level: int, message: str, *args: object, **options: Any) -> None:
        """Log a line. ``options`` are those of ``logging.Logger.log``."""
        self._log(level, message, args, options)

    def debug(self, message: str, *args: object, **options: Any) -> None:
        self._log(logging.DEBUG, message, args, options)

    def info(self, message: str, *args: object, **options: Any) -> None:
        self._log(logging.INFO, message, args, options)

    def warning(self, message: str, *args: object, **options: Any) -> None:
        self._log(logging.WARNING, message, args, options)

    def error(self, message: str, *args: object, **options: Any) -> None:
        self._log(logging.ERROR, message, args, options)

    def exception(self, message: str, *args: object) -> None:
        """Log a line with the traceback of the exception that is being handled."""
        self._log(logging.ERROR, message, args, {"exc_info": True})

    def _log(self, level: int, message: str, args: tuple[object, ...], options: dict[str, Any]) -> None:
        try:
            if self._logger.isEnabledFor(level):
                self._logger.log(level, message, *map(_shown, args), stacklevel=3, **options)
        except self.contained:
            pass  # the application's logging failed; there is no place left to say so


def _shown(value: object) -> object:
    """Return an argument of a line without anything that a terminal obeys. Numbers stay, for ``%d`` and ``%.1f``."""
    return value if isinstance(value, (int, float)) else printable(value, _MOST)


def report(log: Log, function: object) -> None:
    """Log that ``function`` failed with the exception that is being handled. It raises nothing, whatever fails."""
    try:
        function = getattr(function, "func", function)  # of a partial
        log.exception("%s failed", getattr(function, "__qualname__", type(function).__name__))
    except BaseException:
        pass  # a timeout of gevent's that came late, or a function that has no name


def attempt(log: Log, function: Callable[..., object], *args: Any) -> None:
    """Call ``function(*args)``; log what it raises of ``log.contained``. For what may fail without harm: a metric."""
    try:
        function(*args)
    except log.contained:
        report(log, function)
