"""The way of messages to the application, and of its answers back."""

from __future__ import annotations

import pytest

from mqlight.addresses import Addresses
from mqlight.amqp.message import Message, delivery_count, encode
from mqlight.amqp.types import Outcome
from mqlight.connection import Connection
from mqlight.delivery import Delivery
from mqlight.payload import pack
from processes import Server, wait_until


@pytest.mark.parametrize("in_lane", [False, True])
def test_a_fault_in_what_is_called_for_a_message_fails_the_delivery_and_not_the_connection(
    server: Server, caplog: pytest.LogCaptureFixture, in_lane: bool
) -> None:
    connection = Connection(Addresses.of(server.url), "c")
    got: list[int] = []

    def on_delivery(delivery: Delivery) -> None:
        got.append(delivery_count(delivery.message))
        if len(got) == 1:
            raise RuntimeError("a bug")
        delivery.accept()

    lane = connection.lane(1) if in_lane else None
    connection.subscribe("t", "share", ttl=60, credit=1, lane=lane, on_delivery=on_delivery)
    connection.start()
    connection.wait_started(10)
    connection.publish("t", pack("t", "message", None))
    wait_until(lambda: len(got) == 2)
    connection.stop()
    assert got == [0, 1]
    assert "a bug" in caplog.text and "lost" not in caplog.text


@pytest.mark.parametrize("in_lane", [False, True])
@pytest.mark.parametrize("answers", [False, True])
def test_a_function_that_returns_true_accepts_its_message_once_and_gets_the_next(
    server: Server, in_lane: bool, answers: bool
) -> None:
    connection = Connection(Addresses.of(server.url), "c")
    got: list[Delivery] = []

    def on_delivery(delivery: Delivery) -> bool:
        got.append(delivery)
        return not answers or delivery.accept()

    lane = connection.lane(1) if in_lane else None
    subscription = connection.subscribe("t", "share", ttl=60, credit=2, lane=lane, on_delivery=on_delivery)
    connection.start()
    connection.wait_started(10)
    for number in range(5):
        connection.publish("t", pack("t", str(number), None))
    wait_until(lambda: len(got) == 5 and subscription.held == 0)
    assert subscription.granted <= 2
    assert not any(delivery.accept() for delivery in got)
    connection.stop()
    left: list[Delivery] = []
    other = Connection(Addresses.of(server.url), "d")
    other.start()
    other.wait_started(10)
    assert other.drain(other.subscribe("t", "share", ttl=60, credit=5, on_delivery=left.append), 10)
    other.stop()
    assert left == []


@pytest.mark.parametrize("credit, brought", [(2, 2), (5, 3)])
def test_to_drain_brings_what_there_is_up_to_the_credit_and_no_more(server: Server, credit: int, brought: int) -> None:
    got: list[Delivery] = []
    connection = Connection(Addresses.of(server.url), "c")
    connection.start()
    connection.wait_started(10)
    first = connection.subscribe("t", "w", ttl=60, credit=0, on_delivery=got.append)
    taken: list[Outcome] = []
    for _ in range(3):
        connection.publish("t", encode(Message(body="m", to="t")), on_outcome=lambda outcome, _: taken.append(outcome))
    wait_until(lambda: taken == [Outcome.ACCEPTED] * 3)
    connection.add_credit(first, credit)
    assert connection.drain(first, 10)
    assert len(got) == brought
    for delivery in got:
        assert delivery.accept()
    connection.publish("t", encode(Message(body="late", to="t")))
    connection.stop()
    assert len(got) == brought


def test_what_is_failed_comes_again_and_is_counted(server: Server) -> None:
    got: list[Delivery] = []
    connection = Connection(Addresses.of(server.url), "c")
    connection.start()
    connection.subscribe("t", credit=1, on_delivery=got.append)
    connection.publish("t", encode(Message(body="m", to="t")))
    for number in range(3):
        wait_until(lambda number=number: len(got) == number + 1)
        assert delivery_count(got[-1].message) == number
        assert got[-1].fail()
    connection.stop(0.1)
