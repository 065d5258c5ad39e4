"""The log of a program: its level and its format, set up once when the program starts."""

from __future__ import annotations

import logging

from mqlight.log_format import FORMATS, LEVELS, handler, level_of

__all__ = ["FORMATS", "LEVELS", "log_to_stderr", "set_up"]

OURS = ("macaque", "mqlight")
"""The loggers of the packages in this project."""


def set_up(level: str = "info", form: str = "text", *own: str) -> None:
    """Log everything of the program to stderr. Call it in a program's main function.

    Args:
        level: one of LEVELS. The level "debug" does not apply to the loggers of other packages.
        form: one of FORMATS; "json" writes one object per line.
        own: the names of the program's own loggers, which get the same level.
    """
    number = level_of(level)
    logging.basicConfig(level=max(number, logging.INFO), handlers=[handler(form)])
    for name in (*OURS, *own):
        logging.getLogger(name).setLevel(number)


def log_to_stderr(level: str) -> None:
    """Log the packages' lines to stderr, unless the application has set up logging. The root logger does not change."""
    for name in OURS:
        logger = logging.getLogger(name)
        if not logger.hasHandlers():
            logger.addHandler(handler())
            logger.setLevel(level_of(level))
