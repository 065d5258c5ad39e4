from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import macaque
import macaque.testing
from macaque.observe.discovery import TOPIC, ask
from macaque.observe.info import ServerInfo
from mqlight.server.users import hashed
from processes import Server, start_server, wait_until


@dataclass
class Order:
    item: str
    count: int = 1


@pytest.fixture
def app() -> macaque.Server:
    app = macaque.Server(cid="shop_1")

    @app.service("orders/new", share_id="shop", credit=7, timeout=60)
    def order(order: Order) -> int:
        """Take an order."""
        if order.item == "wine":
            macaque.abort(404, "we have no wine")
        return order.count

    app.service("orders/+/paid")(lambda data: data)
    return app


def test_a_server_tells_who_it_is_and_what_it_serves(app: macaque.Server) -> None:
    with macaque.testing.client(app) as client:
        (info,) = ask(client, 1.0)
    assert (info.id, info.version) == ("shop_1", macaque.__version__)
    assert info.pid > 0 and info.host and info.since == pytest.approx(client.broker._hub._began * 1000)
    order, paid = info.services or ()
    assert (order.topic, order.share, order.credit, order.timeout) == ("orders/new", "shop", 7, 60.0)
    assert order.doc == "Take an order." and order.reply == {"type": "integer"}
    assert order.request is not None and order.request["$defs"]["Order"]["required"] == ["item"]
    assert (paid.topic, paid.share, paid.request, paid.reply, paid.calls) == ("orders/+/paid", None, None, None, 0)


def test_the_figures_of_a_service_are_those_of_its_requests(app: macaque.Server) -> None:
    with macaque.testing.client(app) as client:
        for item in "milk", "wine", "bread":
            client.call("orders/new", {"item": item}).exception()
        (info,) = ask(client, 1.0, "stats")
        order, paid = info.services or ()
        assert (order.calls, order.errors, order.in_flight, order.p50, order.p99) == (3, 1, 0, 0.0, 0.0)
        assert (order.doc, order.request, order.credit) == (None, None, None)
        assert paid.calls == 0 and paid.p50 is None


def test_a_function_that_exceeds_its_timeout_counts_as_an_error_at_once() -> None:
    slow = macaque.Server()
    seen: list[Any] = []

    @slow.service("slow", timeout=5)
    def work(data: Any) -> None:
        client.clock.advance(10)
        (info,) = ask(client, 1.0)
        seen.extend(info.services or ())

    with macaque.testing.client(slow) as client:
        client.call("slow", None).exception()
        (info,) = ask(client, 1.0)
    assert (seen[0].calls, seen[0].errors, seen[0].in_flight) == (0, 1, 1)
    (after,) = info.services or ()
    assert (after.calls, after.errors, after.in_flight) == (1, 1, 0)
    assert after.p50 is not None and 11.0 <= after.p50 <= 12.0


def test_a_question_may_be_for_the_servers_only_or_for_one_topic(app: macaque.Server) -> None:
    with macaque.testing.client(app, app) as client:
        first, second = ask(client, 1.0, "ping")
        assert (first.id, second.id, first.services) == ("shop_1", "shop_1_2", None)
        told: list[ServerInfo] = []
        info, _ = ask(client, 1.0, "info", "orders/7/paid", told.append)
        assert [each.topic for each in info.services or ()] == ["orders/+/paid"]
        assert len(told) == 2 and (info.services or ())[0].calls is None


def test_the_answer_on_the_wire_is_plain_json(app: macaque.Server) -> None:
    with macaque.testing.client(app) as client:
        answer = client.call(TOPIC, None).result()
        assert answer["services"][0]["inFlight"] == 0 and "p50" not in answer["services"][0]
        with pytest.raises(macaque.RemoteError, match="detail") as caught:
            client.call(TOPIC, {"detail": "everything"}).result()
        assert caught.value.code == 400


def test_an_answer_of_another_program_is_ignored(app: macaque.Server) -> None:
    strange = macaque.Server(discovery=False)
    strange.service(TOPIC)(lambda data: "hello")
    with macaque.testing.client(app, strange) as client:
        assert [info.id for info in ask(client, 1.0)] == ["shop_1"]


def test_a_server_without_discovery_is_not_asked() -> None:
    quiet = macaque.Server(discovery=False)
    quiet.service("echo")(lambda data: data)
    with macaque.testing.client(quiet) as client, pytest.raises(macaque.NoResponders):
        ask(client, 1.0)


def test_a_service_that_is_added_later_is_told_and_a_server_that_starts_again_answers_again(server: Server) -> None:
    app = macaque.Server(broker=server.url)
    app.service("one")(lambda data: data)
    with macaque.Client(broker=server.url) as client:

        def topics() -> list[str]:
            try:
                answer = client.call(TOPIC, None, timeout=5).result()
            except macaque.NoResponders:
                return []
            return [each["topic"] for each in answer["services"]]

        for _ in range(2):
            with app:
                app.service("two")(lambda data: data) if len(app._registry) < 2 else None
                wait_until(lambda: topics() == ["one", "two"])
            wait_until(lambda: topics() == [])


def test_a_server_answers_while_all_its_functions_are_busy(server: Server) -> None:
    app, go = macaque.Server(broker=server.url), threading.Event()
    app.service("stuck", credit=2)(lambda data: go.wait(30.0))
    try:
        with app, macaque.Client(broker=server.url) as client:
            calls = [client.call("stuck", number) for number in range(6)]

            def busy() -> int:
                answer = client.call(TOPIC, {"detail": "stats"}, timeout=5).result()
                return int(answer["services"][0]["inFlight"])

            wait_until(lambda: busy() == 2)
            go.set()
            assert all(call.result() for call in calls)
    finally:
        go.set()


def test_a_server_that_may_not_answer_serves_all_the_same_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    users = tmp_path / "users"
    topics = "subscribe orders/#", "subscribe macaque/dead/#", "send response/#", "send macaque/dead/#"
    users.write_text("\n".join([f"shop password {hashed('secret')}", *(f"shop {topic}" for topic in topics), ""]))
    users.chmod(0o600)
    caplog.set_level(logging.INFO)
    server = start_server("--users", str(users))
    caplog.set_level(logging.INFO)
    try:
        app = macaque.Server(broker=server.url.replace("//", "//shop:secret@"), cid="shop_1")
        app.service("orders/new")(lambda data: data)
        app.service("orders/old")(lambda data: data)
        with app:
            wait_until(lambda: "is not shown by `macaque services`" in caplog.text)
            assert app.unready() == {}
        assert caplog.text.count("is not shown by `macaque services`, because the broker refuses it") == 1
    finally:
        server.close()
