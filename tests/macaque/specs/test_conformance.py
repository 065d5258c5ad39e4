"""The OpenAPI document, the examples and the lines with curl tell what `app.wsgi` does."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, quote

import jsonschema
import msgspec
import pytest
from werkzeug.test import Client, TestResponse

import macaque
from described import SIMPLE, Blue, Line, Model, described
from macaque.observe.info import ServiceInfo
from macaque.specs.calls import in_curl
from macaque.specs.openapi import openapi

TYPES: list[Any] = [each for each in SIMPLE if each is not msgspec.Raw and "pattern" not in str(each)]
TYPES += [
    Model,
    list[Model],
    Blue,
    Line | None,
    list[str] | None,
    dict[str, list[int]],
    tuple[int, ...],
    list[int | str],
]


@pytest.fixture(scope="module")
def app() -> Iterator[macaque.Server]:
    app = macaque.Server()
    for number, annotation in enumerate(TYPES):

        def echo(data: Any) -> Any:
            return data

        def stream(data: Any) -> Any:
            yield from [data, data]

        echo.__annotations__ = {"data": annotation, "return": annotation}
        stream.__annotations__ = {"data": annotation, "return": Iterator[annotation]}
        app.service(f"echo/{number}", safe=True)(echo)
        app.service(f"stream/{number} ü", safe=True)(stream)
    yield app
    app.close()


def requested(web: Client, line: str | None) -> TestResponse:
    """Send the request of a line with curl."""
    assert line is not None
    words = iter(shlex.split(line)[1:])
    method, headers, body, query, target = "GET", {}, "", "", ""
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            method, body = "POST", next(words)
        elif word == "--data-urlencode":
            name, _, value = next(words).partition("=")
            query = f"{name}={quote(value)}"
        elif word not in ("--get", "-N"):
            target = word
    return web.open(f"{target}?{query}" if query else target, method=method, headers=headers, data=body)


def events(text: str) -> list[Any]:
    """The data of the parts of a stream."""
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("id:")]
    return [
        msgspec.json.decode(line.removeprefix("data: ")) for block in blocks for line in block if line[:5] == "data:"
    ]


def posted(service: ServiceInfo) -> ServiceInfo:
    """The same service as one that is called by POST."""
    return msgspec.structs.replace(service, safe=False)


def test_each_type_is_called_as_the_document_says(app: macaque.Server) -> None:
    infos = described(app)
    document = openapi(infos, title="Types", version="1.0")
    web = Client(app.wsgi)
    for service in infos:
        path = "/" + quote(service.topic)
        assert set(document["paths"][path]) == {"get", "post"}
        for method, info in ("get", service), ("post", posted(service)):
            line = in_curl(info, "http://localhost")
            with requested(web, line) as answer:
                told = document["paths"][path][method]["responses"][str(answer.status_code)]["content"]
                assert answer.status_code == 200, (service, line, answer.text)
                assert answer.mimetype in told
                if service.streams:
                    found, schema = events(answer.text), told["text/event-stream"]["x-data"]
                    assert len(found) == 2 and answer.text.count("event: end") == 1
                else:
                    found, schema = [answer.json], told["application/json"]["schema"]
                for data in found:
                    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(data)


def test_a_query_has_the_parameters_of_the_document(app: macaque.Server) -> None:
    """Every parameter that the document needs is in the line with curl, and the line has no other one."""
    document = openapi(described(app), title="Types", version="1.0")
    checked = 0
    for service in described(app):
        get = document["paths"]["/" + quote(service.topic)]["get"]
        known = {each["name"]: each["required"] for each in get["parameters"] if "name" in each}
        _, _, query = (in_curl(service, "http://localhost") or "").strip("'").partition("?")
        names = {name for name, _ in parse_qsl(query)}
        if names:
            assert names <= set(known) and {name for name, needed in known.items() if needed} <= names
            checked += 1
    assert checked > 5


def test_errors_are_problems_of_the_document(app: macaque.Server) -> None:
    document = openapi(described(app), title="Types", version="1.0")
    schema = {**document["components"]["schemas"]["MacaqueProblem"], "components": document["components"]}
    number, web = TYPES.index(int), Client(app.wsgi)
    for status, answer in (
        (400, web.post(f"/echo/{number}", json="text")),
        (400, web.get(f"/echo/{number}?data=text")),
        (415, web.post(f"/echo/{number}", data="1", content_type="text/plain")),
    ):
        assert answer.status_code == status and answer.mimetype == "application/problem+json"
        assert str(status) in document["paths"][f"/echo/{number}"]["post"]["responses"]
        jsonschema.Draft202012Validator(schema).validate(msgspec.json.decode(answer.data))
