from __future__ import annotations

import ast
import shlex
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings

from described import HOSTILE, described, services, shop
from macaque.observe.info import ServiceInfo
from macaque.specs.calls import in_curl, in_python, in_shell
from macaque.specs.topics import one_topic

URL = "http://127.0.0.1:8080/api/"
SERVICES = {each.topic: each for each in described(shop())}
TEXT = {"type": "string"}


def test_a_call_in_python_sends_the_example() -> None:
    head = "import macaque\n\nwith macaque.Client() as client:\n    "
    assert in_python(ServiceInfo(topic="echo")) == head + "call = client.call('echo', 'text')\n    print(call.result())"
    data = (
        "data = {\n    'lines': [{'item': 'text', 'count': 1}],\n    'size': 'small',\n    'until': '2026-12-01',\n}\n"
    )
    assert data in in_python(SERVICES["shop/buy"])
    assert "for part in client.stream('shop/prices', ['text']):\n        print(part)" in in_python(
        SERVICES["shop/prices"]
    )


@pytest.mark.parametrize("service, line", [
    (ServiceInfo(topic="echo"), "macaque call echo '\"text\"'"),
    (ServiceInfo(topic="end", request={"type": "null"}), "macaque call end"),
    (ServiceInfo(topic="greet", request=TEXT), "macaque call greet '\"text\"'"),
    (ServiceInfo(topic="-x/+", request={"type": "integer"}), "macaque call -- -x/LEVEL 1"),
    (SERVICES["shop/prices"], "macaque stream shop/prices '[\"text\"]'"),
])  # fmt: skip
def test_a_call_in_a_shell_is_one_line(service: ServiceInfo, line: str) -> None:
    assert in_shell(service) == line


@pytest.mark.parametrize("service, line", [
    (ServiceInfo(topic="end", request={"type": "null"}), "curl -X POST http://127.0.0.1:8080/api/end"),
    (ServiceInfo(topic="a b", request=TEXT), """curl -H 'Content-Type: application/json' -d '"text"' http://127.0.0.1:8080/api/a%20b"""),
    (ServiceInfo(topic="now", safe=True, request={"type": "null"}), "curl http://127.0.0.1:8080/api/now"),
    (SERVICES["shop/find"], "curl 'http://127.0.0.1:8080/api/shop/find?id=0d6d5b5c-7f5e-4f0b-9a63-6f1a57e3a4b1&size=large'"),
    (SERVICES["shop/prices"], """curl -N --get --data-urlencode 'data=["text"]' http://127.0.0.1:8080/api/shop/prices"""),
    (SERVICES["shop/log/#"], """curl -H 'Content-Type: application/json' -d '"text"' http://127.0.0.1:8080/api/shop/log/LEVELS"""),
    (ServiceInfo(topic="a/.."), None),
])  # fmt: skip
def test_a_call_with_curl_is_one_line(service: ServiceInfo, line: str | None) -> None:
    assert in_curl(service, URL) == line


def test_a_token_comes_from_a_variable() -> None:
    line = in_curl(ServiceInfo(topic="end", request={"type": "null"}), URL, tokens=True)
    assert line == 'curl -H "Authorization: Bearer $TOKEN" -X POST http://127.0.0.1:8080/api/end'


def test_a_member_named_data_is_not_taken_for_the_data() -> None:
    line = in_curl(ServiceInfo(topic="a", safe=True, request={"properties": {"data": TEXT}}), URL)
    assert line is not None and '\'data={"data": "text"}\'' in line


def test_hostile_topics_and_data_stay_words() -> None:
    service = ServiceInfo(topic=HOSTILE, request={"const": HOSTILE})
    assert shlex.split(in_shell(service))[2] == HOSTILE
    sent = [node.value for node in ast.walk(ast.parse(in_python(service))) if isinstance(node, ast.Constant)]
    assert sent == [HOSTILE, HOSTILE]


@settings(max_examples=50, deadline=None)
@given(services())
def test_any_call_is_a_program_and_a_line(infos: list[ServiceInfo]) -> None:
    for service in infos:
        ast.parse(in_python(service))
        words = shlex.split(in_shell(service))
        assert one_topic(service.topic) in words
        line: Any = in_curl(service, URL)
        if line is not None:
            *_, target = shlex.split(line)
            parts = urlsplit(target)
            assert parts.path.startswith("/api/") and (not parts.query or parse_qsl(parts.query, strict_parsing=True))
