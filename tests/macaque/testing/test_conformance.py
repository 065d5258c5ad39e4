"""Services do the same in memory and over the sockets of the development server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

import macaque
import macaque.testing
from macaque.http.local import LocalBroker, LocalTransport
from macaque.http.mount import LocalClient
from processes import Server

Serve = Callable[..., macaque.Client]


@pytest.fixture(params=["memory", "local", "sockets"])
def serve(request: pytest.FixtureRequest) -> Iterator[Serve]:
    """Serve apps, and return a client."""
    if request.param == "memory":
        with macaque.testing.Broker() as broker:

            def in_memory(*apps: macaque.Server) -> macaque.Client:
                broker.serve(*apps)
                return broker.client()

            yield in_memory
        return
    if request.param == "local":
        broker = LocalBroker()
        broker.start()
        begun: list[Any] = [LocalClient(broker)]

        def inside(*apps: macaque.Server) -> macaque.Client:
            if len({service.name for app in apps for service in app._registry}) < len(apps):
                pytest.skip("a process has one server for each share")
            for app in apps:
                begun.insert(0, app._twin(partial(LocalTransport, broker), "twin"))
                begun[0].connect()
            return begun[-1]  # type: ignore[no-any-return]

        yield inside
        for each in begun:
            each.close()
        broker.stop()
        return
    server: Server = request.getfixturevalue("shared_server")
    opened: list[Any] = []

    def over_sockets(*apps: macaque.Server) -> macaque.Client:
        for app in apps:
            app._broker = server.url
            app.connect()
            opened.append(app)
        opened.append(macaque.Client(broker=server.url))
        return opened[-1]  # type: ignore[no-any-return]

    yield over_sockets
    for each in reversed(opened):
        each.close()


@dataclass
class Order:
    item: str
    count: int = 1


def test_data_arrives_as_json_carries_it(serve: Serve) -> None:
    app = macaque.Server()
    app.service("echo")(lambda data: data)
    client = serve(app)
    for data in (None, True, 5, 2.5, "grün", [1, [2]], {"a": {"b": None}}, (1, 2), {3}, b"bytes", "x" * 300_000):
        reply = client.call("echo", data).result()
        assert reply == (list(data) if isinstance(data, (tuple, set)) else "Ynl0ZXM=" if data == b"bytes" else data)


def test_errors_have_the_same_code_text_and_details(serve: Serve) -> None:
    app = macaque.Server()

    @app.service("order")
    def order(order: Order) -> Any:
        if order.item == "wine":
            macaque.abort(404, "no wine", {"item": "wine"}, retryable=True)
        if order.item == "set":
            return object()
        raise LookupError(order.item)

    client = serve(app)

    def error(data: Any) -> tuple[Any, ...]:
        caught = client.call("order", data).exception()
        assert isinstance(caught, macaque.RemoteError)
        return caught.code, caught.type, caught.details, caught.retryable

    assert error({"item": "wine"}) == (404, None, {"item": "wine"}, True)
    assert error({"item": "milk"}) == (500, "LookupError", None, False)
    assert error({"item": "set"})[:2] == (500, "TypeError")
    assert error({"count": 2})[0] == 400
    assert isinstance(client.call("nobody/there", 1).exception(), macaque.NoResponders)


def test_a_repeated_call_gets_the_first_result(serve: Serve) -> None:
    app, seen = macaque.Server(), list[Any]()

    @app.service("pay", share_id="pay", idempotent_for=60)
    def pay(data: Any) -> int:
        seen.append(data)
        return len(seen)

    client = serve(app)
    results = [client.call("pay", number, uuid="11111111-2222-3333-4444-555555555555").result() for number in range(3)]
    assert results == [1, 1, 1] and seen == [0]


def test_shares_divide_requests_and_kinds_get_copies(serve: Serve) -> None:
    apps, seen = [macaque.Server() for _ in range(3)], list[str]()
    for name, share, app in zip(("a1", "a2", "b"), ("a", "a", "b"), apps, strict=True):
        app.service("work", share_id=share)(lambda data, name=name: seen.append(name) or name[0])
    client = serve(*apps)
    for _ in range(10):
        assert sorted(client.gather("work", None, replies=2).result()) == ["a", "b"]
    assert seen.count("b") == 10 and len(seen) == 20


def test_hooks_and_handlers_of_exceptions_run_around_each_request(serve: Serve) -> None:
    app, seen = macaque.Server(), list[Any]()
    app.before_request(lambda: seen.append("before"))

    @app.errorhandler(LookupError)
    def missing(error: LookupError) -> Any:
        macaque.abort(404, f"no {error.args[0]}")

    @app.service("find")
    def find(name: str) -> None:
        raise LookupError(name)

    client = serve(app)
    with pytest.raises(macaque.RemoteError, match="no milk"):
        client.call("find", "milk").result()
    assert seen == ["before"]


def test_streams_and_maps_come_in_order_and_whole(serve: Serve) -> None:
    app = macaque.Server()

    @app.service("count")
    def count(number: int) -> Iterator[int]:
        yield from range(number)

    app.service("double", credit=20)(lambda number: 2 * number)
    client = serve(app)
    assert list(client.stream("count", 100)) == [*range(100)]
    assert list(client.map("double", range(200))) == [*range(0, 400, 2)]


def test_coroutines_reply_and_fail_as_functions_do(serve: Serve) -> None:
    app = macaque.Server()

    @app.service("later")
    async def later(data: Any) -> Any:
        return data if data else macaque.abort(422, "nothing")

    client = serve(app)
    assert client.call("later", [1]).result() == [1]
    with pytest.raises(macaque.RemoteError, match="nothing") as caught:
        client.call("later", None).result()
    assert caught.value.code == 422


def test_callbacks_are_called_one_at_a_time_with_data_or_error(serve: Serve) -> None:
    app, told, done = macaque.Server(), list[Any](), threading.Event()
    app.service("odd")(lambda number: number if number % 2 else macaque.abort(400, "even"))
    client = serve(app)

    def note(value: Any) -> None:
        told.append(getattr(value, "code", value))
        if len(told) == 10:
            done.set()

    for number in range(10):
        client.call("odd", number, note, on_error=note)
    assert done.wait(20.0)
    assert sorted(told) == [1, 3, 5, 7, 9, 400, 400, 400, 400, 400]
