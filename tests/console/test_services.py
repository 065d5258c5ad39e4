"""The services that servers tell of themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from console.watched import Watched
from mqlight.amqp.message import Message
from mqlight.server.broker import Limits
from mqlight.server.console.services import EVERY, STALE, TOPIC, WANTED
from server.clients import Client

SERVICE = {
    "topic": "shop/new", "share": "shop", "credit": 5, "doc": "Take an order.\n\nMore.", "calls": 7, "errors": 1,
    "inFlight": 2, "p50": 0.0123, "p99": 0.5, "request": {"type": "object"}, "reply": {"type": "string"},
}  # fmt: skip


class Shops(Watched):
    """A world with servers that answer what their services are."""

    def answer(self, client: Client, **server: Any) -> None:
        """Answer the last question as a server."""
        [question] = [msgspec.json.decode(body) for body in client.bodies[-1:]]
        data = {"id": client.connection.client.client_id, "host": "h", "pid": 1, "since": 5.0, "services": [SERVICE]}
        data |= server
        body = msgspec.json.encode({"uuid": question["uuid"], "data": data}).decode()
        client.send(client.publisher(question["replyTo"]), Message(body=body, correlation_id=question["uuid"]))

    def server(self, name: str) -> Client:
        client = self.client(name)
        client.listen(f"private:{TOPIC}")
        return client

    def ask(self) -> None:
        self.views.services.ask(self.now)
        self.run()

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.rows_for(lambda topic: True)

    def rows_for(self, seen: Callable[[str], bool]) -> list[dict[str, Any]]:
        found = msgspec.json.decode(msgspec.json.encode(self.views.services.rows(self.now, seen)))
        assert isinstance(found, list)
        return found


def test_workers_of_one_topic_are_one_service() -> None:
    world = Shops()
    first, second = world.server("a"), world.server("b")
    world.client("w").listen("share:shop:shop/new", credit=0)
    world.send("shop/new")
    world.ask()
    assert not world.views.services.complete
    world.answer(first), world.answer(second)
    assert world.views.services.complete
    [row] = world.rows
    assert (row["topic"], row["waiting"], row["doc"]) == ("shop/new", 1, SERVICE["doc"])
    assert (row["request"], row["reply"]) == ({"type": "object"}, {"type": "string"})
    assert [(each["id"], each["in_flight"], each["p50"], each["p99"]) for each in row["workers"]] == [
        ("a", 2, 12.3, 500.0), ("b", 2, 12.3, 500.0)
    ]  # fmt: skip


def test_a_server_that_no_longer_answers_is_no_longer_shown() -> None:
    world = Shops()
    server = world.server("a")
    world.ask()
    world.answer(server)
    world.now += STALE
    assert len(world.rows) == 1
    world.now += 0.1
    assert world.rows == []


def test_the_servers_are_asked_only_while_somebody_looks() -> None:
    services, now = Shops().views.services, 1000.0
    assert not services.tick(now)
    services.look(now)
    assert services.tick(now) and not services.tick(now + EVERY / 2) and services.tick(now + EVERY)
    assert not services.tick(now + WANTED + EVERY)


def test_questions_and_answers_are_not_among_the_messages() -> None:
    world = Shops()
    server = world.server("a")
    world.ask()
    world.answer(server)
    assert not world.history.stories
    assert world.views.overview.totals(world.now)["messages"] == 0
    world.send("macaque/other")
    assert world.views.overview.totals(world.now)["messages"] == 1


def test_a_question_that_expires_at_a_server_is_not_among_the_messages_either() -> None:
    world = Shops()
    world.client("stuck").listen(f"private:{TOPIC}", credit=0)
    world.ask()
    world.now += 6.0
    world.broker.sweep(world.now)
    assert world.broker.expired == 1 and not world.history.stories


def test_two_versions_of_a_server_are_always_told_in_one_order() -> None:
    world = Shops()
    first, second = world.server("a"), world.server("b")
    for answering in ((first, second), (second, first)):
        world.ask()
        for client in answering:
            world.answer(client, services=[{"topic": "t", "doc": client.connection.client.client_id}])
        assert [(row["doc"], len(row["workers"])) for row in world.rows] == [("a", 2)]


def test_a_reader_who_may_not_subscribe_to_the_topic_sees_no_types() -> None:
    world = Shops()
    server = world.server("a")
    world.ask()
    world.answer(server)
    [row] = world.rows_for(lambda topic: False)
    assert (row["topic"], row["doc"], row["request"], row["reply"]) == ("shop/new", "", None, None)


@pytest.mark.parametrize("server", [{"id": 1}, {"services": "none"}, {"services": [{"topic": None}]}, {"since": "x"}])
def test_an_answer_that_is_none_is_ignored(server: dict[str, Any]) -> None:
    world = Shops()
    client = world.server("a")
    world.ask()
    world.answer(client, **server)
    assert world.rows == []


def test_an_older_server_tells_less() -> None:
    world = Shops()
    client = world.server("a")
    world.ask()
    world.answer(client, services=[{"topic": "t"}])
    [row] = world.rows
    assert (row["workers"][0]["calls"], row["workers"][0]["p50"], row["request"]) == (0, None, None)


@pytest.mark.parametrize("schema", [5, [], "text", {"description": "x" * 20_000}])
def test_a_schema_that_is_none_or_too_large_is_left_out(schema: object) -> None:
    world = Shops()
    world.limits = Limits(message_size=100_000)
    client = world.server("a")
    world.ask()
    world.answer(client, services=[{"topic": "t", "request": schema}])
    [row] = world.rows
    assert row["request"] is None
