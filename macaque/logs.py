"""How a program of macaque's logs: its level and its form, set up once where it begins."""

from __future__ import annotations

import logging

from mqlight.wire.logformat import FORMATS, LEVELS, handler, level_of

__all__ = ["FORMATS", "LEVELS", "log_to_stderr", "set_up"]

OURS = ("macaque", "mqlight")
"""The loggers of our packages."""


def set_up(level: str = "info", form: str = "text", *own: str) -> None:
    """Log everything of the program to stderr. For a program's main; our debug lines do not bring those of others.

    Args:
        level: one of LEVELS.
        form: one of FORMATS; "json" is one object a line.
        own: the names of the program's own loggers, which have the same level.
    """
    number = level_of(level)
    logging.basicConfig(level=max(number, logging.INFO), handlers=[handler(form)])
    for name in (*OURS, *own):
        logging.getLogger(name).setLevel(number)


def log_to_stderr(level: str) -> None:
    """Log our packages' lines to stderr, unless the application has set up logging. The root logger stays as it is."""
    for name in OURS:
        logger = logging.getLogger(name)
        if not logger.hasHandlers():
            logger.addHandler(handler())
            logger.setLevel(level_of(level))
