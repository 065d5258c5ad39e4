"""Requests that are cancelled before they begin."""

from __future__ import annotations

import threading
from typing import Any

import macaque
from macaque import cancels
from macaque.control import encode_cancel
from processes import Server, wait_until

BOUND = 10.0


def test_a_request_that_waits_is_not_run_if_its_caller_has_cancelled_it(
    shared_server: Server, client: macaque.Client
) -> None:
    ran: list[Any] = []
    go = threading.Event()

    def work(data: Any) -> Any:
        ran.append(data)
        go.wait(BOUND)
        return data

    app = macaque.Server(broker=shared_server.url)
    app.service("work", credit=1)(work)
    with app:
        first, second, third = (client.call("work", number) for number in range(3))
        wait_until(lambda: ran and second._accepted and third._accepted, what="the first request")
        second.cancel()
        unwanted = next(iter(app._workers.values()))._cancels.unwanted
        wait_until(lambda: unwanted, what="the cancel message")
        go.set()
        assert (first.result(), third.result()) == (0, 2)
        assert ran == [0, 2]
        assert not unwanted


def test_a_repeated_call_is_not_the_one_that_was_cancelled(shared_server: Server, client: macaque.Client) -> None:
    app = macaque.Server(broker=shared_server.url)
    app.service("echo")(lambda data: data)
    client.connect()
    with app:
        message = encode_cancel("me", "macaque/cancel/echo", 12345, 10.0)
        client._connection.publish("macaque/cancel/echo", message)
        unwanted = next(iter(app._workers.values()))._cancels.unwanted
        wait_until(lambda: list(unwanted) == [("me", 12345)], what="the cancel message")
        assert client.call("echo", 1, uuid="me").result() == 1


def test_only_so_many_cancelled_requests_are_remembered(
    shared_server: Server, client: macaque.Client, monkeypatch: Any
) -> None:
    monkeypatch.setattr(cancels, "MOST", 5)
    app = macaque.Server(broker=shared_server.url)
    app.service("echo")(lambda data: data)
    client.connect()
    with app:
        unwanted = next(iter(app._workers.values()))._cancels.unwanted

        def told() -> bool:
            """Send the messages, which are lost until the worker hears them. Return whether the last one came."""
            for number in range(20):
                message = encode_cancel(str(number), "macaque/cancel/echo", None, 10.0)
                client._connection.publish("macaque/cancel/echo", message)
            return ("19", None) in unwanted

        wait_until(told, what="the last cancel message")
        wait_until(lambda: list(unwanted) == [(str(number), None) for number in range(15, 20)])


def test_what_is_no_cancel_message_is_rejected(shared_server: Server, client: macaque.Client) -> None:
    app = macaque.Server(broker=shared_server.url)
    app.service("echo")(lambda data: data)
    with app:
        client.notify("macaque/cancel/echo", {}).result()  # it has a uuid
        client._connection.publish("macaque/cancel/echo", b"\x00")
        assert client.call("echo", 1).result() == 1
