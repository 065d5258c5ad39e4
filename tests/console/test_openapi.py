"""The OpenAPI file says what the API does."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

import macaque
from console.conftest import Site, serve
from mqlight.server.console.app import ROUTES
from mqlight.server.console.web import STATIC
from processes import Spawn, wait_until

API = json.loads((STATIC / "openapi.json").read_text(encoding="utf-8"))


def test_every_route_is_described_and_nothing_else() -> None:
    described = {(path, method.upper()) for path, methods in API["paths"].items() for method in methods}
    assert described == {(re.sub(r"<(\w+)(:\w+)?>", r"{\1}", path), method) for path, method in ROUTES}


def check(path: str, answer: Any) -> None:
    schema = API["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    resolved = {**schema, "components": API["components"]}
    jsonschema.Draft202012Validator(resolved).validate(answer)


def test_answers_are_as_described(site: Site, spawn: Spawn) -> None:
    serve(spawn, site)
    visitor = site.visitor().begin()
    with macaque.Client(site.url, "web_1") as client:
        client.call("shop/new", {"fish": "eel"}).result()
        visitor.post("api/messages", {"topic": "shop/nwe", "body": "m"})
        visitor.post("api/messages", {"topic": "macaque/dead/shop/new", "body": "m"})
        wait_until(lambda: visitor.get("api/clients").body["clients"])
        rows = visitor.get("api/messages").body["messages"]
        assert len(rows) == 4
        for row in rows:
            check("/api/messages/{name}", visitor.get(f"api/messages/{row['id']}").body)
        check("/api/clients/{name}", visitor.get("api/clients/web_1").body)
        [call] = [each for each in visitor.get("api/calls").body["calls"] if each["topic"] == "shop/new"]
        check("/api/calls/{name}", visitor.get(f"api/calls/{call['id']}").body)
        destinations = visitor.get("api/destinations").body["destinations"]
        for each in destinations:
            check("/api/destinations/{number}", visitor.get(f"api/destinations/{each['number']}").body)
        paths = ("session", "messages", "clients", "destinations", "calls", "services", "dead-letters", "topics")
        for path in paths:
            check(f"/api/{path}", visitor.get(f"api/{path}").body)
        check("/api/route", visitor.get("api/route?topic=shop/new").body)


def test_a_metric_is_a_line_of_the_exposition_format(site: Site) -> None:
    pytest.importorskip("prometheus_client")
    answer = site.visitor().get("metrics")
    assert answer.status == 200 and b"mqlight_connections 0.0" in answer.body
