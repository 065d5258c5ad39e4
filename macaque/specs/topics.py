"""The topics of services in documents: the services in order, their names, and their topics as addresses and paths.

The rules of this file:

* A pattern has a parameter for each wildcard, which is named after its place: `level2` for `+`, `levels2` for `#`.
* Braces in a topic are plain characters, and in a document they would begin a parameter.

Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from macaque.observe.info import ServiceInfo
from mqlight.amqp.topics import TopicError, validate_pattern

__all__ = ["address", "by_topic", "distinct", "identifier", "one_topic", "path", "summary"]

LONGEST_IDENTIFIER = 80


def distinct(services: Iterable[ServiceInfo]) -> list[ServiceInfo]:
    """Return the services in the order of their topics, each once, though several servers may serve it.

    Services of one topic and share that differ in their types or doc strings are different ones. A service with an
    invalid topic or endless schemas, of which only another program can tell, is left out.
    """
    found: dict[str, ServiceInfo] = {}
    for each in services:
        same = (each.topic, each.share, each.doc, each.safe, each.streams, each.request, each.reply)
        try:
            validate_pattern(each.topic)
            found.setdefault(json.dumps(same, sort_keys=True), each)
        except (TopicError, RecursionError):
            continue
    return sorted(found.values(), key=lambda each: (each.topic.split("/"), each.share or ""))


def by_topic(services: Iterable[ServiceInfo]) -> dict[str, list[ServiceInfo]]:
    """Return the services at each topic, in order."""
    found: dict[str, list[ServiceInfo]] = {}
    for each in distinct(services):
        found.setdefault(each.topic, []).append(each)
    return found


def identifier(topic: str) -> str:
    """Return a topic as a name of letters, digits and `_`, which generators can use. Topics may have the same one."""
    named = [{"+": "any", "#": "all"}.get(level, level) for level in topic.split("/")]
    return re.sub(r"[^A-Za-z0-9]+", "_", "_".join(named))[:LONGEST_IDENTIFIER].strip("_") or "topic"


def summary(service: ServiceInfo) -> str | None:
    """Return the first line of the doc string of a service."""
    return (service.doc or "").strip().partition("\n")[0].strip() or None


def one_topic(pattern: str) -> str:
    """Return a topic that a pattern matches; a topic itself."""
    return "/".join({"+": "LEVEL", "#": "LEVELS"}.get(level, level) for level in pattern.split("/"))


def address(topic: str) -> tuple[str, dict[str, Any]]:
    """Return a topic or pattern as an address of AsyncAPI 3.0, and its Parameter Objects."""
    levels = topic.split("/")
    parameters: dict[str, Any] = {}
    for at, level in enumerate(levels):
        if level in ("+", "#"):
            name, about = (
                (f"level{at + 1}", "One level") if level == "+" else (f"levels{at + 1}", "Any number of levels")
            )
            parameters[name] = {"description": f"{about} of the topic."}
        elif "{" in level or "}" in level:
            name = f"text{at + 1}"
            parameters[name] = {"description": "A level with braces.", "enum": [level], "default": level}
        else:
            continue
        levels[at] = f"{{{name}}}"
    return "/".join(levels), parameters


def path(topic: str) -> tuple[str, list[str]] | None:
    """Return a topic or pattern as a path template of OpenAPI 3.1, and the names of its parameters.

    A slash at the begin of a topic is that of the path. None if it has no path: a parameter is one level, and `.` and
    `..` have a meaning of their own in a URL.
    """
    levels = topic.removeprefix("/").split("/")
    if not levels[0] or any(level in ("#", ".", "..") for level in levels):
        return None
    names = [f"level{at}" for at, level in enumerate(levels, 1) if level == "+"]
    parts = [f"{{level{at}}}" if level == "+" else quote(level, safe="") for at, level in enumerate(levels, 1)]
    return "/" + "/".join(parts), names
