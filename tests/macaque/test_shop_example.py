"""examples/shop.py, as a process and in memory."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

import macaque
import macaque.testing
from processes import ROOT, Server, Spawn


@pytest.fixture
def shop() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("shop", ROOT / "examples/shop.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shop"] = module  # dataclasses look for their module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules["shop"]


def test_an_order_has_a_receipt_and_mistakes_have_their_errors(shop: ModuleType) -> None:
    order = {"customer": "ann", "lines": [{"item": "tea", "count": 2}, {"item": "milk"}]}
    with macaque.testing.client(shop.app) as client:
        assert client.call("shop/orders/place", order, returns=shop.Receipt).result().cents == 720
        wrong = client.call("shop/orders/place", {"customer": "ann", "lines": [{"item": "tea", "count": "two"}]})
        assert str(wrong.exception()) == (
            "The data does not fit the parameter 'order' of shop/orders/place: "
            "Expected `int`, got `str` at order.lines[0].count (code 400)"
        )
        unknown = client.call("shop/orders/place", {"customer": "ann", "lines": [{"item": "gin"}]}).exception()
        assert isinstance(unknown, macaque.RemoteError)
        assert (unknown.code, unknown.message) == (404, "the shop has no 'gin'")
        assert unknown.details == {"known": ["milk", "tea"]}
        hurried = client.call("shop/orders/place", order, timeout=0.05).exception()
        assert isinstance(hurried, macaque.RemoteError) and (hurried.code, hurried.retryable) == (503, True)


def test_the_example_runs(server: Server, spawn: Spawn) -> None:
    spawn(["examples/shop.py"], ready="serves shop/orders/place", env={"MACAQUE_BROKER": server.url}, cwd=ROOT)
    with macaque.Client(server.url, timeout=10.0) as client:
        assert client.call("shop/orders/place", {"customer": "ann", "lines": []}).result()["cents"] == 0
