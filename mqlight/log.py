"""Loggers whose calls never raise.

A handler or a formatter of the application may fail. A log call of this package may stand between taking a message and
settling it, or in the thread that reads for all subscriptions. Then the line is lost, and nothing else.

Text from outside is escaped here, because the application may use a formatter of its own. Even there such text cannot
begin a new line or send commands to a terminal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from mqlight.amqp.text import printable

__all__ = ["Log", "attempt", "report"]


_MOST = 10_000
"""Characters of one argument that are logged."""


class Log:
    """The logger called ``name``, with the methods of ``logging.Logger``. They raise no error of type ``contained``.

    Args:
        contained: the errors of a handler that are ignored. ``BaseException`` is only for threads of this package,
            where an exit or a gevent timeout in a handler must not cost the message. It would hide Ctrl-C elsewhere.
    """

    __slots__ = ("_logger", "contained", "is_enabled_for")

    def __init__(self, name: str, contained: type[BaseException] = Exception) -> None:
        self._logger = logging.getLogger(name)
        self.contained = contained
        self.is_enabled_for: Callable[[int], bool] = self._logger.isEnabledFor
        """``is_enabled_for(level)``: whether lines of this level are logged."""

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
            pass  # the application's logging failed, so there is no place to report it


def _shown(value: object) -> object:
    """Return an argument of a line without control codes for a terminal. Numbers stay, for ``%d`` and ``%.1f``."""
    return value if isinstance(value, (int, float)) else printable(value, _MOST)


def report(log: Log, function: object) -> None:
    """Log that ``function`` failed with the exception that is being handled. Raises nothing, whatever fails."""
    try:
        function = getattr(function, "func", function)  # the function of a partial
        log.exception("%s failed", getattr(function, "__qualname__", type(function).__name__))
    except BaseException:
        pass  # a gevent timeout that came late, or a function without a name


def attempt(log: Log, function: Callable[..., object], *args: Any) -> None:
    """Call ``function(*args)`` and log its errors of type ``log.contained``. For calls that may fail, as metrics do."""
    try:
        function(*args)
    except log.contained:
        report(log, function)
