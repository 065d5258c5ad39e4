from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings

import macaque
from described import described, services, shop
from macaque.envelope import Fault, Request, encode_fault, encode_reply
from macaque.observe.info import ServiceInfo
from macaque.specs.asyncapi import asyncapi
from mqlight.amqp.message import decode


def made(infos: list[ServiceInfo], **options: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(asyncapi(infos, title="Shop", version="1.0", **options)))
    return document


def references(value: Any) -> Iterator[str]:
    """The references of a document, without those in data such as defaults."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for name, each in value.items():
            if name not in ("default", "const", "enum", "examples"):
                yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def at(document: dict[str, Any], reference: str) -> Any:
    found: Any = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name.replace("~1", "/").replace("~0", "~")]
    return found


def payload(document: dict[str, Any], message: str) -> jsonschema.Draft7Validator:
    """A validator of the payloads of a message."""
    schema = {**document["components"]["messages"][message]["payload"], "components": document["components"]}
    return jsonschema.Draft7Validator(schema)


def body(message: bytes) -> Any:
    return json.loads(decode(message).body)


def test_the_official_schema_finds_errors(official: Any) -> None:
    document = made(described(shop()))
    assert official.error(document) is None
    del document["operations"]["shop_buy"]["channel"]
    assert official.error(document) is not None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(services())
def test_any_services_make_a_valid_document_without_dead_references(official: Any, infos: list[ServiceInfo]) -> None:
    document = made(infos)
    assert official.error(document) is None
    for reference in references(document):
        at(document, reference)
    assert len(document["operations"]) == len(infos) + any(each.streams for each in infos)
    for operation in document["operations"].values():
        assert all(
            each["$ref"].startswith(operation["channel"]["$ref"] + "/messages/") for each in operation["messages"]
        )
        if reply := operation.get("reply"):
            assert all(each["$ref"].startswith(reply["channel"]["$ref"] + "/messages/") for each in reply["messages"])
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft7Validator.check_schema(schema)


def test_a_service_is_an_operation_that_receives_and_replies() -> None:
    document = made(described(shop()))
    buy = document["operations"]["shop_buy"]
    assert (buy["action"], buy["summary"], buy["title"]) == ("receive", "Buy something.", "shop/buy")
    assert buy["description"].endswith("is an error with code 404.")
    assert (buy["x-share"], buy["x-credit"], buy["x-timeout"]) == ("shop", 7, 60)
    assert "x-safe" not in buy and document["operations"]["shop_find"]["x-safe"] is True
    assert at(document, buy["channel"]["$ref"])["address"] == "shop/buy"
    assert buy["reply"]["address"]["location"] == "$message.payload#/replyTo"
    replies = at(document, buy["reply"]["channel"]["$ref"])
    assert document["components"]["messages"]["shop_buy_request"]["payload"]["title"] == "shop_buy_request"
    assert replies["address"] is None and set(replies["messages"]) == {"reply", "error"}


def test_the_messages_of_macaque_fit_the_document() -> None:
    document = made(described(shop()))
    request = {"uuid": "u", "data": {"lines": [{"item": "tea"}]}, "replyTo": "response/c", "expires": 1.0}
    assert payload(document, "shop_buy_request").is_valid(request)
    assert not payload(document, "shop_buy_request").is_valid({**request, "data": {"lines": "tea"}})
    assert not payload(document, "shop_buy_request").is_valid({"data": request["data"]})
    asked = Request("u", None, "response/c")  # type: ignore[arg-type]
    receipt = body(encode_reply(asked, {"id": "0d6d5b5c-7f5e-4f0b-9a63-6f1a57e3a4b1", "cents": 30}))
    assert payload(document, "shop_buy_reply").is_valid(receipt)
    assert not payload(document, "shop_buy_reply").is_valid(body(encode_reply(asked, {"cents": "30"})))
    error = body(encode_fault(asked, Fault(404, "no such item")))
    assert payload(document, "macaque_error").is_valid(error)
    assert not payload(document, "macaque_error").is_valid(receipt)


def test_a_stream_has_parts_an_end_and_grants() -> None:
    document = made(described(shop()))
    prices = document["operations"]["shop_prices"]
    assert [each["$ref"].rpartition("/")[2] for each in prices["reply"]["messages"]] == ["part", "end", "error"]
    part = {"uuid": "u", "data": ["tea", 30], "seq": 0, "more": True, "control": "macaque/stream/s/1"}
    assert payload(document, "shop_prices_part").is_valid(part)
    assert not payload(document, "shop_prices_part").is_valid({**part, "data": ["tea", "30"]})
    assert not payload(document, "shop_prices_part").is_valid({**part, "more": False})
    assert payload(document, "macaque_end").is_valid({"uuid": "u", "data": None, "seq": 2, "more": False})
    grants = document["operations"]["macaque_control"]
    assert (grants["action"], document["channels"]["macaque_control"]["address"]) == ("receive", None)
    silent = macaque.Server()
    silent.service("one")(lambda data: data)
    assert set(made(described(silent))["operations"]) == {"one"}


def test_a_pattern_is_an_address_with_parameters() -> None:
    channels = made(described(shop()))["channels"]
    echo = channels["shop_any_echo"]
    assert (echo["address"], echo["x-pattern"], list(echo["parameters"])) == (
        "shop/{level2}/echo", "shop/+/echo", ["level2"],
    )  # fmt: skip
    assert channels["shop_log_all"]["address"] == "shop/log/{levels3}"


def test_two_shares_of_a_topic_are_two_operations_of_one_channel() -> None:
    app = macaque.Server()
    app.service("news", share_id="print")(lambda data: data)
    app.service("news", share_id="web")(lambda data: data)
    document = made(described(app) + described(app))
    assert {name: each["x-share"] for name, each in document["operations"].items()} == {"news": "print", "news2": "web"}
    assert list(document["channels"]["news"]["messages"]) == ["request", "request2"]


def test_the_broker_is_named_without_its_password() -> None:
    document = made([], broker="amqps://shop:secret@broker.example:5671/?heartbeat=5")
    assert document["servers"]["broker"]["host"] == "broker.example:5671"
    assert document["servers"]["broker"]["protocol"] == "amqps"
    assert "secret" not in json.dumps(document) and "servers" not in made([])
    two = made([], broker="amqp://a,amqp://b:5673")["servers"]
    assert {name: each["host"] for name, each in two.items()} == {"broker": "a", "broker2": "b:5673"}
    assert made([], broker="https://lookup.example/service")["servers"] == {}
    with pytest.raises(ValueError, match="URL"):
        made([], broker="nowhere at all")
