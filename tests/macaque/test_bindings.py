"""Bound services of Cloud Foundry: which is the messaging service, and what the others lack."""

from __future__ import annotations

import json
from typing import Any

import pytest

from macaque.bindings import bound_service
from macaque.broker import resolve
from mqlight.addresses import Endpoint
from mqlight.errors import InvalidArgumentError


def vcap(*services: dict[str, Any], label: str = "user-provided", **more: Any) -> dict[str, str]:
    bound = [{"name": "mq", "label": label, **more, "credentials": each} for each in services]
    return {"VCAP_SERVICES": json.dumps({label: bound})}


def endpoints(environ: dict[str, str]) -> list[Endpoint]:
    return resolve(None, None, environ)[0].urls()


FISH = {"username": "fish", "password": "bone"}
RABBIT: dict[str, Any] = {
    **FISH, "hostname": "10.0.0.1", "vhost": "v/1", "http_api_uri": "https://fish:bone@10.0.0.1/api/", "protocols": {
        "management": {"uri": "https://10.0.0.1/api"},
        "amqp": {**FISH, "host": "10.0.0.1", "port": 5672, "ssl": False, "vhost": "v/1"},
        "amqp+ssl": {**FISH, "host": "10.0.0.1", "hosts": ["10.0.0.1", "10.0.0.2"], "port": 5671, "vhost": "v/1"},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (vcap({"uri": "amqp://u:p@h/a%2Fb?x=1&heartbeat=5"}, label="p.rabbitmq"),
         [Endpoint("amqp", "h", 5672, "u", "p", {"heartbeat": "5", "vhost": "a/b"})]),
        (vcap({"uri": "amqp://u:p@h/%2F"}, label="cloudamqp"), [Endpoint("amqp", "h", 5672, "u", "p")]),
        (vcap({"uris": ["amqp://a", "AMQPS://b"], **FISH}),
         [Endpoint("amqp", "a", 5672, "fish", "bone"), Endpoint("amqps", "b", 5671, "fish", "bone")]),
        (vcap({"url": "amqp://h", "username": "u", "password": 12345}), [Endpoint("amqp", "h", 5672, "u", "12345")]),
        (vcap({"uri": "amqp://u:p@h", "username": "u"}), [Endpoint("amqp", "h", 5672, "u", "p")]),
        (vcap({"hostname": "h", "port": 5672, **FISH}), [Endpoint("amqp", "h", 5672, "fish", "bone")]),
        (vcap({"host": "::1", "port": "7", "ssl": True, **FISH}), [Endpoint("amqps", "::1", 7, "fish", "bone")]),
        (vcap({"hostname": "h", "port": 9}, label="queue-9", tags=["AMQP"]), [Endpoint("amqp", "h", 9)]),
        (vcap({"hostname": "h", "port": 5671}, label="any"), [Endpoint("amqps", "h", 5671)]),
        (vcap(RABBIT, label="p.rabbitmq"),
         [Endpoint("amqps", f"10.0.0.{n}", 5671, "fish", "bone", {"vhost": "v/1"}) for n in (1, 2)]),
        (vcap({"uri": "postgres://h:1", "host": "h", "port": 1}, {"host": "mq", "port": 10}),
         [Endpoint("amqp", "mq", 10)]),
    ],
)  # fmt: skip
def test_a_binding_is_understood_by_its_urls_or_its_host_and_port(
    environ: dict[str, str], expected: list[Endpoint]
) -> None:
    assert endpoints(environ) == expected


@pytest.mark.parametrize(
    ("environ", "lacks"),
    [
        (vcap({"uri": "postgres://u:secret@h/db"}, label="pg"), "mq (pg) has a URL for postgres and none for amqp"),
        (
            vcap({"hostname": "h", "port": 5432, "dbname": "x"}),
            "mq (user-provided) has a host and a port, but no",
        ),
        (vcap({"host": "h"}), "has no amqp or amqps uri, url or uris, no connectionLookupURI, and no hostname"),
        (vcap({}, label="mqlight"), "mq (mqlight) has no credentials"),
        ({"VCAP_SERVICES": '{"mqlight": ["x"]}'}, "a service (mqlight) has no credentials"),
        (vcap({"user": "u", "kafka_rest_url": "https://k"}, label="messagehub"), "(messagehub) has no amqp or amqps"),
    ],
)
def test_bound_services_of_which_none_fits_are_one_line_with_what_each_lacks(
    environ: dict[str, str], lacks: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        resolve(None, None, environ)
    said = str(caught.value)
    assert said.startswith("No service in VCAP_SERVICES is a messaging service: ") and lacks in said
    assert said.endswith("bind one, or set MACAQUE_BROKER") and "\n" not in said and "secret" not in said


def test_without_a_bound_service_nothing_is_found_and_nothing_lacks() -> None:
    assert bound_service("") == bound_service("{}") == bound_service('{"pg": []}') == (None, None)
    assert [each.host for each in endpoints({"VCAP_SERVICES": '{"pg": []}'})] == ["127.0.0.1"]
