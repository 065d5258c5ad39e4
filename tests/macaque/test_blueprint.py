from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from macaque.blueprint import Blueprint, Registrar
from macaque.registry import Registry


class Records(Registrar):
    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry()
        self.open = True

    def _register(self, *arguments: Any, **options: Any) -> None:
        self.registry.add(*arguments, **options)

    def _check_open(self, what: str) -> None:
        if not self.open:
            raise RuntimeError(what)


def test_the_decorator_records_the_service_and_returns_the_function() -> None:
    app = Records()

    def work(data: Any) -> Any: ...

    assert app.service("work", share_id="w", credit=2, timeout=5)(work) is work
    (service,) = app.registry
    assert (service.name, service.credit, service.timeout) == ("work (share w)", 2, 5)


def test_annotations_may_name_classes_of_the_function_that_makes_the_app() -> None:
    @dataclass
    class Order:
        total: int

    app = Records()

    @app.service("orders")
    def take(order: Order) -> None: ...

    (service,) = app.registry
    assert service.codec.decode(b'{"total": 3}') == Order(3)


def test_the_decorator_needs_its_parentheses() -> None:
    with pytest.raises(TypeError, match=r"write @app.service\('my/topic'\)"):
        Records().service(len)  # type: ignore[arg-type]


def test_a_blueprint_is_served_under_a_prefix_with_its_own_hooks_inside() -> None:
    inner, outer, app = Blueprint("inner"), Blueprint("outer"), Records()
    inner.service("pay", "w", timeout=5)(len)
    outer.service("/list")(len)
    outer.register_blueprint(inner, topic_prefix="orders/")
    app.register_blueprint(outer, topic_prefix="shop")
    found = {service.name: service.hooks for service in app.registry}
    assert found == {"shop/list": (outer._hooks,), "shop/orders/pay (share w)": (outer._hooks, inner._hooks)}
    assert [service.timeout for service in app.registry] == [None, 5]
    assert repr(outer) == "<macaque.Blueprint outer: 2 services>"


def test_a_blueprint_may_be_registered_twice_and_without_a_prefix() -> None:
    bp, app = Blueprint("orders"), Records()
    bp.service("pay")(len)
    app.register_blueprint(bp)
    app.register_blueprint(bp, topic_prefix="test")
    assert [service.topic for service in app.registry] == ["pay", "test/pay"]


def test_a_mistake_in_a_blueprint_is_refused_where_it_is_made() -> None:
    bp = Blueprint("orders")
    with pytest.raises(TypeError, match="does not take one argument"):
        bp.service("pay")(lambda: None)
    bp.service("pay")(len)
    with pytest.raises(ValueError, match="is len already"):
        bp.service("pay")(str)


def test_additions_to_a_registered_blueprint_are_refused_by_name() -> None:
    bp = Blueprint("orders")
    Records().register_blueprint(bp)
    with pytest.raises(
        RuntimeError, match="'orders' is registered already, so the service 'late' would have no effect"
    ):
        bp.service("late")(len)
    for decorator in (bp.before_request, bp.after_request, bp.errorhandler(ValueError)):
        with pytest.raises(RuntimeError, match="so this function would have no effect"):
            decorator(len)  # type: ignore[operator]


def test_hooks_are_not_added_to_a_server_that_has_started() -> None:
    app = Records()
    app.open = False
    with pytest.raises(RuntimeError, match="this function"):
        app.before_request(lambda: None)


@pytest.mark.parametrize("name, kind", [("", ValueError), (7, TypeError), (None, TypeError)])
def test_a_blueprint_needs_a_name(name: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="The name of a blueprint"):
        Blueprint(name)


def test_a_prefix_that_cannot_be_one_is_refused() -> None:
    bp = Blueprint("orders")
    bp.service("pay")(len)
    with pytest.raises(TypeError, match="topic_prefix 7"):
        Records().register_blueprint(bp, topic_prefix=7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot be one"):
        Records().register_blueprint(bp, topic_prefix="\ud800")
