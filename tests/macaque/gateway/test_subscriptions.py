from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import macaque
from macaque.broker import resolve
from macaque.gateway import subscriptions
from macaque.gateway.subscriptions import Listener, Subscriptions
from macaque.http.answer import Problem
from macaque.ids import made_up_id
from mqlight.connection import Connection
from processes import Server, start_server, wait_until


def subscriptions_at(url: str) -> Subscriptions:
    return Subscriptions(partial(Connection, resolve(url, None, {})[0], made_up_id()))


@pytest.fixture
def heard(shared_server: Server) -> Iterator[Subscriptions]:
    heard = subscriptions_at(shared_server.url)
    yield heard
    heard.close()


def message(listener: Listener) -> Any:
    found = listener.get(10)
    assert isinstance(found, bytes), found
    return json.loads(found)


def test_all_listeners_hear_the_messages_of_their_pattern(heard: Subscriptions, client: macaque.Client) -> None:
    one, two, other = (heard.listen(pattern) for pattern in ("all/#", "all/#", "all/b"))
    assert len(heard._feeds) == 2
    client.notify("all/a", {"n": 1}).result()
    client.notify("all/b", [2]).result()
    for listener in (one, two):
        assert [message(listener), message(listener)] == [
            {"topic": "all/a", "data": {"n": 1}},
            {"topic": "all/b", "data": [2]},
        ]
    assert message(other) == {"topic": "all/b", "data": [2]}


def test_the_last_listener_ends_the_subscription(heard: Subscriptions, client: macaque.Client) -> None:
    one, two = heard.listen("last"), heard.listen("last")
    heard.leave("last", one)
    client.notify("last", 1).result()
    assert message(two)["data"] == 1
    heard.leave("last", two)
    heard.leave("last", two)

    def is_unheard() -> bool:
        return isinstance(client.notify("last", 2).exception(), macaque.NoResponders)

    wait_until(is_unheard, what="the end of the subscription")
    with pytest.raises(queue.Empty):
        one.get(0.01)


def test_a_subscription_that_ends_does_not_disturb_the_next_one(heard: Subscriptions, client: macaque.Client) -> None:
    for number in range(50):
        listener = heard.listen("again")
        client.notify("again", number).result()
        assert message(listener)["data"] == number
        heard.leave("again", listener)
    wait_until(lambda: not heard._ending)


def test_no_message_of_a_private_topic_is_heard(heard: Subscriptions, client: macaque.Client) -> None:
    listener = heard.listen("#")
    client.notify("response/somebody", "secret").result()
    client.notify("macaque/dead/x", "secret").result()
    client.notify("open", "end").result()
    assert message(listener) == {"topic": "open", "data": "end"}


def test_a_message_of_another_client_is_heard_as_text(heard: Subscriptions, shared_server: Server) -> None:
    from mqlight.amqp.message import Message, encode
    from mqlight.amqp.types import Outcome

    listener = heard.listen("foreign")
    sent: queue.SimpleQueue[Any] = queue.SimpleQueue()
    heard._connection.publish(
        "foreign", encode(Message(body=b"\xff", to="foreign")), mandatory=True, on_outcome=lambda *each: sent.put(each)
    )
    assert sent.get(timeout=10)[0] is Outcome.ACCEPTED
    assert message(listener)["topic"] == "foreign"


def test_a_lost_connection_ends_the_listeners_and_the_next_one_hears(client: macaque.Client) -> None:
    server = start_server()
    try:
        heard = subscriptions_at(server.url)
        try:
            listener = heard.listen("news")
            server.kill()
            problem = listener.get(20)
            assert isinstance(problem, Problem) and problem.status == 503 and problem.retryable
            with pytest.raises(Problem, match="no connection to the broker"):
                heard.listen("news", 0.2)
            assert not heard._feeds
            server.close()
            server = start_server(port=server.port)

            def listens() -> Listener | None:
                try:
                    return heard.listen("news", 1.0)
                except Problem:
                    return None

            again = wait_until(listens)
            with macaque.Client(server.url) as caller:
                caller.notify("news", 1).result()
            assert message(again)["data"] == 1
        finally:
            heard.close()
    finally:
        server.close()


def test_a_listener_that_is_too_slow_ends_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MOST_BYTES", 1000)
    listener = Listener()
    listener.put(b"x" * 5000)
    listener.put(b"y" * 100)
    listener.put(b"z")
    assert listener.get(0) == b"x" * 5000
    problem = listener.get(0)
    assert isinstance(problem, Problem) and "faster than the caller" in problem.detail
    with pytest.raises(queue.Empty):
        listener.get(0.01)


def test_a_listener_that_keeps_up_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MOST_BYTES", 1000)
    listener = Listener()
    for _ in range(100):
        listener.put(b"x" * 500)
        assert listener.get(0) == b"x" * 500


def test_a_refused_subscription_is_a_problem_of_its_caller(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("anonymous send #\nanonymous subscribe open/#\nanonymous subscribe response/#\n")
    server = start_server("--users", str(users), "--allow-anonymous")
    try:
        heard = subscriptions_at(server.url)
        try:
            open_to_all = heard.listen("open/a")
            with pytest.raises(Problem) as raised:
                heard.listen("closed")
            assert raised.value.status == 403
            with macaque.Client(server.url) as caller:
                caller.notify("open/a", 1).result()
            assert message(open_to_all)["data"] == 1, "the other listeners stay"
        finally:
            heard.close()
    finally:
        server.close()
