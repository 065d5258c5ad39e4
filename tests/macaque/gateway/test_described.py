from __future__ import annotations

import json
from typing import Any

from werkzeug.test import create_environ

from macaque.gateway.allowed import Allowed
from macaque.gateway.described import MOST, Described
from macaque.gateway.services import Services
from macaque.observe.info import ServiceInfo


class Known(Services):
    """Services that were told of already."""

    def __init__(self, *infos: ServiceInfo) -> None:
        self.infos = infos

    def all(self) -> Any:
        return self.infos


EVERYTHING = Allowed(["#"], [])


def get(described: Described, path: str, allowed: Allowed = EVERYTHING, method: str = "GET") -> Any:
    describe = described.find(create_environ(path, "http://localhost:8080", method=method))
    return None if describe is None else describe(allowed)


def test_the_documents_tell_of_allowed_services() -> None:
    described = Described(Known(ServiceInfo(topic="a"), ServiceInfo(topic="b"), ServiceInfo(topic="macaque/x")), False)
    document = json.loads(get(described, "/openapi.json").body)
    assert set(document["paths"]) == {"/a", "/b"} and document["servers"] == [{"url": "http://localhost:8080"}]
    assert set(json.loads(get(described, "/openapi.json", Allowed(["a"], [])).body)["paths"]) == {"/a"}
    page = get(described, "/")
    assert b"<code>a</code>" in page.body and b"http://localhost:8080/a" in page.body
    assert get(described, "/other") is None and get(described, "/", method="POST") is None


def test_a_document_is_made_again_only_if_the_services_have_changed() -> None:
    known = Known(ServiceInfo(topic="a"))
    described = Described(known, True)
    first = get(described, "/openapi.json")
    assert get(described, "/openapi.json") is first
    known.infos = (ServiceInfo(topic="b"),)
    assert set(json.loads(get(described, "/openapi.json").body)["paths"]) == {"/b"}


def test_few_documents_are_kept() -> None:
    described = Described(Known(), False)
    for number in range(3 * MOST):
        describe = described.find(create_environ("/openapi.json", f"http://host{number}"))
        assert describe is not None and describe(EVERYTHING).status == 200
        assert len(described._made) <= MOST
