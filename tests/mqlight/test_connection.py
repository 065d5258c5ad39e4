"""A connection to a server: its life, and the requests to it."""

from __future__ import annotations

import socket

import pytest

from mqlight.addresses import Addresses
from mqlight.amqp.message import Message, delivery_count, encode
from mqlight.amqp.types import Outcome
from mqlight.connection import Connection, State
from mqlight.delivery import Delivery
from mqlight.errors import NetworkError
from mqlight.payload import pack
from processes import Server, wait_until


def test_a_fault_in_what_is_told_of_an_outcome_costs_no_other_message_its_outcome(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    connection = Connection(Addresses.of(server.url), "c")
    told: list[Outcome] = []

    def fail(outcome: Outcome, condition: object) -> None:
        raise RuntimeError("a bug")

    connection.start()
    connection.wait_started(10)
    connection.publish("t", pack("t", "message", None), on_outcome=fail)
    connection.publish("t", pack("t", "message", None), on_outcome=lambda outcome, condition: told.append(outcome))
    wait_until(lambda: told == [Outcome.ACCEPTED])
    connection.stop()
    assert "a bug" in caplog.text and "lost" not in caplog.text


def test_stop_while_nobody_answers_ends_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, by its backlog, and says nothing
        connection = Connection(Addresses.of(f"amqp://127.0.0.1:{listener.getsockname()[1]}"), "c")
        connection.start()
        with pytest.raises(NetworkError):
            connection.wait_started(0.2)
        connection.stop(1)
        assert connection.state is State.STOPPED


def test_who_leaves_in_time_gives_back_what_is_not_finished(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    got: list[Delivery] = []
    for number, expected in enumerate((1, 3)):
        connection = Connection(Addresses.of(server.url), f"c{number}")
        connection.start()
        connection.subscribe("t", "w", ttl=60, credit=5, on_delivery=got.append)
        connection.publish("t", encode(Message(body="m", to="t", durable=True)))
        wait_until(lambda expected=expected: len(got) == expected)
        connection.stop(0.1)
        assert not got[0].accept()
    assert [delivery_count(delivery.message) for delivery in got] == [0, 0, 0]
    assert caplog.text.count("they go back to the server") == 2
