"""Services as an OpenAPI 3.1 document: the requests and answers of HTTP (docs/http.md).

The rules of this file:

* The path is the topic. Services of one topic are one operation, because a caller does not choose between them.
* A pattern with `#` has no path, because a parameter of a path is one level. The description names these patterns.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from macaque.observe.info import ServiceInfo
from macaque.specs.schemas import Schema, Schemas, unique
from macaque.specs.topics import by_topic, identifier, path, summary

__all__ = ["openapi"]

PROBLEM: Schema = {
    "description": "The reason of an error, as problem details (RFC 9457).",
    "type": "object",
    "required": ["title", "status"],
    "properties": {
        "type": {"type": "string", "default": "about:blank"},
        "title": {"type": "string", "description": "The name of the status."},
        "status": {"type": "integer", "description": "The status of HTTP."},
        "detail": {"type": "string", "description": "A sentence for people."},
        "code": {"type": ["integer", "string"], "description": "The code of the error, if it is not the status."},
        "retryable": {"type": "boolean", "default": False, "description": "Whether the same call may succeed later."},
        "details": {"description": "Data for programs."},
    },
}
PARAMETERS: dict[str, Any] = {
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "description": "`wait=SECONDS` shortens the time of the call. `respond-async` sends a one-way message "
        "(RFC 7240).",
        "schema": {"type": "string"},
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The name of the call. A service that remembers results does not run twice for one name.",
        "schema": {"type": "string"},
    },
    "Traceparent": {
        "name": "traceparent",
        "in": "header",
        "description": "The trace that the call continues (W3C Trace Context).",
        "schema": {"type": "string"},
    },
}
PROBLEMS = {
    "400": ("Misfit", "The data does not fit the type of the service."),
    "404": ("NotFound", "The topic does not exist, or the service did not find what the data names."),
    "415": ("NoJson", "The data is not sent as `application/json`."),
    "500": ("Failed", "The service failed."),
    "503": ("Unavailable", "No service is there, or it has no room for the request. Try again later."),
    "504": ("TimedOut", "The service did not answer in time."),
    "default": ("Error", "An error of the service. Its code is the status, if it is from 400 to 599."),
}
UNAUTHORIZED = ("Unauthorized", "The token is missing or wrong.")
VALUES = ("boolean", "integer", "null", "number", "string")
DEPTH = 3
"""The choices in each other that are followed to see what a value may be."""
ACCEPTED = {"description": "The one-way message is sent. Only the answer to `Prefer: respond-async`."}
EVENTS = (
    "The parts of a stream as server-sent events. A part is `id: NUMBER` and `data: JSON`. The last event is "
    "`event: end`, or `event: error` with a problem as its data. Lines that begin with `:` are signs of life."
)


def openapi(
    services: Iterable[ServiceInfo], *, title: str, version: str, server_url: str | None = None, tokens: bool = False
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of services over HTTP, of which JSON can be made.

    Args:
        services: the services, in any order. Those that several servers serve may come several times.
        title, version: of the document.
        server_url: the URL at which the services are mounted; None means the URL of the document itself.
        tokens: whether each request needs a bearer token.
    """
    document = _Document(tokens)
    # A path leads to the topic without a slash before it, if there are both.
    groups = sorted(by_topic(services).items(), key=lambda group: group[0].startswith("/"))
    left_out = [topic for topic, group in groups if not document.add(topic, group)]
    about = "Services over HTTP. The path is the topic of a service."
    if left_out:
        about += " These topics have no path in this document: " + ", ".join(map(_code, left_out)) + "."
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": about},
        **({} if server_url is None else {"servers": [{"url": server_url}]}),
        **({"security": [{"bearer": []}]} if tokens else {}),
        "paths": document.paths,
        "components": {
            "schemas": document.schemas.components,
            "parameters": PARAMETERS,
            "responses": document.responses,
            **({"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}} if tokens else {}),
        },
    }


class _Document:
    """The parts of a document, which are collected topic by topic."""

    def __init__(self, tokens: bool) -> None:
        self.schemas = Schemas()
        self.paths: dict[str, Any] = {}
        problem = self.schemas.define("MacaqueProblem", PROBLEM)
        told = {**PROBLEMS, **({"401": UNAUTHORIZED} if tokens else {})}
        self.responses = {
            name: {"description": about, "content": {"application/problem+json": {"schema": problem}}}
            for name, about in told.values()
        }
        self._errors = {
            status: {"$ref": f"#/components/responses/{name}"} for status, (name, _) in sorted(told.items())
        }
        self._operations: set[str] = set()

    def add(self, topic: str, services: list[ServiceInfo]) -> bool:
        """Add the services of a topic. Return False if the topic has no path."""
        template = path(topic)
        if template is None or template[0] in self.paths:
            return False
        place, names = template
        item = self.paths[place] = {}
        if names:
            item["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
            ]
        data = _any_of([self.schemas.add(each.request) for each in services])
        if any(each.safe for each in services):
            item["get"] = {
                **self._operation(topic, services, "get"),
                "parameters": [*self._query(data), *_headers("Prefer", "Traceparent")],
                "responses": {"200": self._answer(services), **self._errors},
            }
        item["post"] = {
            **self._operation(topic, services, "post"),
            "parameters": _headers(*PARAMETERS),
            "requestBody": {"required": not self._takes_null(data), "content": {"application/json": {"schema": data}}},
            "responses": {"200": self._answer(services), "202": ACCEPTED, **self._errors},
        }
        return True

    def _operation(self, topic: str, services: list[ServiceInfo], method: str) -> dict[str, Any]:
        name = unique(f"{method}_{identifier(topic)}", self._operations)
        self._operations.add(name)
        docs = list(dict.fromkeys(each.doc for each in services if each.doc))
        told = {
            "operationId": name,
            "tags": [topic.split("/")[0] or "/"],
            "summary": next(filter(None, map(summary, services)), topic),
            "description": "\n\n".join(docs) or None,
            "x-topic": topic,
            "x-timeout": services[0].timeout,
        }
        return {name: value for name, value in told.items() if value is not None}

    def _answer(self, services: list[ServiceInfo]) -> dict[str, Any]:
        """Return the Response Object of success."""
        content: dict[str, Any] = {}
        plain = [self.schemas.add(each.reply) for each in services if not each.streams]
        parts = [self.schemas.add(each.reply) for each in services if each.streams]
        if plain:
            content["application/json"] = {"schema": _any_of(plain)}
        if parts:
            content["text/event-stream"] = {
                "schema": {"type": "string", "description": EVENTS},
                "x-data": _any_of(parts),
            }
        return {"description": "The result." if plain else "The parts of the result.", "content": content}

    def _query(self, data: Schema) -> list[dict[str, Any]]:
        """Return the parameters of a query: the members of the data, or the data itself as JSON."""
        needed = not self._takes_null(data)
        choices = [each for each in self._whole(data).get("anyOf", ()) if each != {"type": "null"}]
        whole = self._whole(choices[0] if len(choices) == 1 else data)
        members, required = whole.get("properties"), whole.get("required", ())
        if isinstance(members, dict):
            fit = {name: schema for name, schema in members.items() if self._is_text(schema)}
            if all(name in fit for name in required):
                return [
                    {"name": name, "in": "query", "required": needed and name in required, "schema": schema}
                    for name, schema in fit.items()
                ]
        return [{"name": "data", "in": "query", "required": needed, "content": {"application/json": {"schema": data}}}]

    def _is_text(self, schema: Any, depth: int = DEPTH) -> bool:
        """Return whether a member can be a parameter of a query: a value, or an array of values."""
        whole = self._whole(schema)
        choices = whole.get("anyOf") or whole.get("oneOf")
        if choices:
            return depth > 0 and all(self._is_text(each, depth - 1) for each in choices)
        if whole.get("type") == "array":
            return depth > 0 and self._is_text(whole.get("items"), 0)
        return whole.get("type") in VALUES or "enum" in whole or "const" in whole

    def _takes_null(self, schema: Any, depth: int = DEPTH) -> bool:
        """Return whether null fits, so that a request needs no data."""
        whole = self._whole(schema)
        choices = whole.get("anyOf") or whole.get("oneOf")
        if choices:
            return depth > 0 and any(self._takes_null(each, depth - 1) for each in choices)
        kind = whole.get("type")
        return (
            kind == "null" or (isinstance(kind, list) and "null" in kind) or not set(whole) - {"title", "description"}
        )

    def _whole(self, schema: Any) -> Schema:
        return self.schemas.resolved(schema) if isinstance(schema, dict) else {}


def _any_of(schemas: list[Schema]) -> Schema:
    """Return the schema of data that fits one of the schemas."""
    found = [each for at, each in enumerate(schemas) if each not in schemas[:at]]
    return found[0] if len(found) == 1 else {} if {} in found else {"anyOf": found}


def _headers(*names: str) -> list[dict[str, str]]:
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _code(text: str) -> str:
    """Return a text as code of CommonMark, whatever backticks it has."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if len(fence) > 1 else f"{fence}{text}{fence}"
