"""A call of a service as people type it: in Python, in a shell with `macaque`, and with curl.

Each call sends the example of the service's data. Pure.
"""

from __future__ import annotations

import json
import shlex
from typing import Any
from urllib.parse import urlencode

from macaque.observe.info import ServiceInfo
from macaque.specs.example import example
from macaque.specs.topics import one_topic, path

__all__ = ["in_curl", "in_python", "in_shell"]

WIDTH = 40
"""Characters above which data has lines of its own."""


def in_python(service: ServiceInfo) -> str:
    """Return a program that calls a service and prints the result."""
    data = _data(service)
    before, said = "", repr(data)
    if len(said) > WIDTH:
        before, said = f"data = {_literal(data)}\n\n", "data"
    asked = f"{one_topic(service.topic)!r}, {said}"
    if service.streams:
        lines = f"for part in client.stream({asked}):", "    print(part)"
    else:
        lines = f"call = client.call({asked})", "print(call.result())"
    return f"import macaque\n\n{before}with macaque.Client() as client:\n    " + "\n    ".join(lines)


def in_shell(service: ServiceInfo) -> str:
    """Return a line for a shell that calls a service with the `macaque` command."""
    topic, data = one_topic(service.topic), _data(service)
    words = ["macaque", "stream" if service.streams else "call", *(["--"] if topic.startswith("-") else []), topic]
    return shlex.join(words if data is None else [*words, _json(data)])


def in_curl(service: ServiceInfo, url: str, *, tokens: bool = False) -> str | None:
    """Return a line for a shell that calls a service over HTTP; None if its topic has no path.

    Args:
        url: the URL at which the services are mounted.
        tokens: whether a request needs a bearer token, which the line takes from the variable TOKEN.
    """
    template = path(one_topic(service.topic))
    if template is None:
        return None
    target, data = url.rstrip("/") + template[0], _data(service)
    words = ["curl", *(["-N"] if service.streams else [])]
    if service.safe and data is None:
        rest = [target]
    elif service.safe and (query := _query(data)) is not None:
        rest = [f"{target}?{query}"]
    elif service.safe:
        rest = ["--get", "--data-urlencode", f"data={_json(data)}", target]
    elif data is None:
        rest = ["-X", "POST", target]
    else:
        rest = ["-H", "Content-Type: application/json", "-d", _json(data), target]
    token = ' -H "Authorization: Bearer $TOKEN"' if tokens else ""
    return f"{shlex.join(words)}{token} {shlex.join(rest)}"


def _data(service: ServiceInfo) -> Any:
    """Return an example of the data; a text if any data may be sent."""
    return example(service.request) if service.request else "text"


def _literal(value: Any, indent: str = "") -> str:
    """Return a value as Python, on several lines if it is long."""
    if len(text := repr(value)) <= WIDTH or not isinstance(value, dict | list):
        return text
    inner = f"{indent}    "
    if isinstance(value, list):
        return "".join(["[\n", *(f"{inner}{_literal(each, inner)},\n" for each in value), indent, "]"])
    return "".join(
        ["{\n", *(f"{inner}{key!r}: {_literal(each, inner)},\n" for key, each in value.items()), indent, "}"]
    )


def _query(data: Any) -> str | None:
    """Return data as a query; None if a member is no value, or if the query would mean something else."""
    if not isinstance(data, dict) or not data or set(data) == {"data"}:
        return None
    if any(isinstance(value, dict | list) for value in data.values()):
        return None
    told = {
        name: value if isinstance(value, str) else _json(value) for name, value in data.items() if value is not None
    }
    return urlencode(told)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
