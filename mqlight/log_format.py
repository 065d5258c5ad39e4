"""The formats of a log line, text and JSON. In both, text from outside cannot begin a new line."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from typing import Any

from mqlight.amqp.text import printable

__all__ = ["FORMATS", "LEVELS", "handler", "level_of"]

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")
_MOST = 20_000
"""Characters of a message that are logged."""


class Text(logging.Formatter):
    """A formatter for one line: time, level, logger, message. A traceback follows on lines of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message, _MOST)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return "\n".join(printable(line, _MOST) for line in super().formatException(ei).split("\n"))


class Json(logging.Formatter):
    """A formatter for a JSON object on one line: `time`, `level`, `logger`, `message`, and `exception` if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def handler(form: str = "text") -> logging.Handler:
    """Return a handler that writes to stderr in one of FORMATS."""
    made = logging.StreamHandler()
    made.setFormatter(Json() if form == "json" else Text())
    return made


def level_of(name: str) -> int:
    """Return the number of one of LEVELS."""
    return int(logging.getLevelName(name.upper()))
