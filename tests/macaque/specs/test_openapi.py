from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator

import macaque
from described import described, services, shop
from macaque.observe.info import ServiceInfo
from macaque.specs.openapi import openapi


def made(infos: list[ServiceInfo], **options: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(openapi(infos, title="Shop", version="1.0", **options)))
    return document


def of(function: Any, topic: str = "one", **options: Any) -> dict[str, Any]:
    """The path item of one service."""
    app = macaque.Server()
    app.service(topic, **options)(function)
    (item,) = made(described(app))["paths"].values()
    return dict(item)


def test_the_official_schema_finds_errors() -> None:
    document = made(described(shop()))
    del document["paths"]["/shop/buy"]["post"]["responses"]["200"]["description"]
    assert not OpenAPIV31SpecValidator(document).is_valid()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(services())
def test_any_services_make_a_valid_document(infos: list[ServiceInfo]) -> None:
    document = made(infos, server_url="http://127.0.0.1:8080", tokens=True)
    OpenAPIV31SpecValidator(document).validate()
    topics = {each.topic for each in infos}
    told = {item["post"]["x-topic"] for item in document["paths"].values()}
    hidden = {"/", *(f"/{topic}" for topic in topics)}  # `/a` has the path of `a`
    usual = {topic for topic in topics - hidden if not topic.startswith("//")}
    assert told == {topic for topic in usual if not {"#", ".", ".."} & set(topic.split("/"))}
    for path, item in document["paths"].items():
        if "parameters" not in item:
            assert unquote(path) == "/" + item["post"]["x-topic"].removeprefix("/")


def test_a_service_is_a_post_to_its_topic() -> None:
    document = made(described(shop()), server_url="https://shop.example/api")
    post = document["paths"]["/shop/buy"]["post"]
    assert (post["summary"], post["tags"], post["x-timeout"]) == ("Buy something.", ["shop"], 60)
    assert post["requestBody"] == {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}},
    }
    assert post["responses"]["200"]["content"] == {
        "application/json": {"schema": {"$ref": "#/components/schemas/Receipt"}}
    }
    assert {"202", "400", "404", "415", "500", "503", "504", "default"} < set(post["responses"])
    assert "get" not in document["paths"]["/shop/buy"]
    assert document["servers"] == [{"url": "https://shop.example/api"}]
    assert "security" not in document and "401" not in post["responses"]


def test_a_safe_service_is_also_a_get_with_the_members_as_its_query() -> None:
    get = made(described(shop()))["paths"]["/shop/find"]["get"]
    query = {each["name"]: each for each in get["parameters"] if "name" in each}
    assert set(query) == {"id", "size"} and (query["id"]["required"], query["size"]["required"]) == (True, False)
    assert query["id"]["schema"] == {"type": "string", "format": "uuid"}
    assert "202" not in get["responses"]


def needs_lines(data: dict[str, list[int]]) -> None:
    """Take data whose members have no fixed names."""


def needs_nothing(data: None) -> None:
    """Take no data."""


@pytest.mark.parametrize("function, required", [(needs_lines, True), (needs_nothing, False), (len, False)])
def test_other_data_is_json_in_one_parameter(function: Any, required: bool) -> None:
    item = of(function, safe=True)
    (parameter,) = [each for each in item["get"]["parameters"] if "name" in each]
    assert (parameter["name"], parameter["required"]) == ("data", required)
    assert item["post"]["requestBody"]["required"] == required
    assert parameter["content"] == item["post"]["requestBody"]["content"]


def test_a_stream_is_events() -> None:
    content = made(described(shop()))["paths"]["/shop/prices"]["post"]["responses"]["200"]["content"]
    assert list(content) == ["text/event-stream"]
    assert content["text/event-stream"]["x-data"]["prefixItems"] == [{"type": "string"}, {"type": "integer"}]


def test_a_pattern_is_a_path_with_parameters_or_is_named() -> None:
    document = made(described(shop()))
    (parameter,) = document["paths"]["/shop/{level2}/echo"]["parameters"]
    assert (parameter["name"], parameter["in"], parameter["required"]) == ("level2", "path", True)
    assert document["info"]["description"].endswith("no path in this document: `shop/log/#`.")


def test_braces_slashes_and_spaces_of_a_topic_are_percent_encoded() -> None:
    app = macaque.Server()
    app.service("a b/{id}//ä?")(lambda data: data)
    assert list(made(described(app))["paths"]) == ["/a%20b/%7Bid%7D//%C3%A4%3F"]


def test_two_services_of_a_topic_are_one_operation() -> None:
    def count(data: int) -> int:
        """Count."""
        return data

    def spell(data: str) -> int:
        """Spell."""
        return len(data)

    app = macaque.Server()
    app.service("word", share_id="a")(count)
    app.service("word", share_id="b")(spell)
    post = made(described(app))["paths"]["/word"]["post"]
    assert post["description"] == "Count.\n\nSpell."
    assert post["requestBody"]["content"]["application/json"]["schema"] == {
        "anyOf": [{"type": "integer"}, {"type": "string"}]
    }
    assert post["responses"]["200"]["content"]["application/json"]["schema"] == {"type": "integer"}


def test_with_tokens_each_request_needs_one() -> None:
    document = made(described(shop()), tokens=True)
    assert document["security"] == [{"bearer": []}]
    assert document["components"]["securitySchemes"]["bearer"] == {"type": "http", "scheme": "bearer"}
    assert "401" in document["paths"]["/shop/buy"]["post"]["responses"]
