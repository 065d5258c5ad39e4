from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from macaque.retry_queue import MAX_HELD, RetryQueue
from mqlight.addresses import Addresses
from mqlight.connection import Connection
from mqlight.delivery import Delivery
from mqlight.payload import pack
from processes import Server, wait_until


@pytest.fixture
def connection(server: Server) -> Iterator[Connection]:
    connection = Connection(Addresses.of(server.url), "holder")
    connection.start()
    connection.wait_started(10.0)
    yield connection
    connection.stop(0.1)


def deliveries(connection: Connection, count: int) -> list[Delivery]:
    """Messages in hand, of a subscription that has credit for no more."""
    got: list[Delivery] = []
    ready = threading.Event()
    connection.subscribe("t", credit=count, on_delivery=got.append, on_subscribed=lambda error: ready.set())
    assert ready.wait(10.0)
    for number in range(count):
        connection.publish("t", pack("t", number, None))
    return wait_until(lambda: len(got) == count and got)


def test_what_is_held_gives_its_place_to_another_until_its_time_is_over(connection: Connection) -> None:
    (delivery,) = deliveries(connection, 1)
    retries, done = RetryQueue(connection), threading.Event()
    began = time.monotonic()
    retries.hold(delivery, 0.1, done.set, done.clear)
    assert delivery.subscription.credit == 2
    assert done.wait(10.0) and time.monotonic() - began >= 0.1
    assert delivery.subscription.credit == 1


def test_what_is_held_beyond_the_extra_places_takes_up_the_credit(connection: Connection) -> None:
    (delivery,) = deliveries(connection, 1)
    retries = RetryQueue(connection)
    for _ in range(MAX_HELD + 5):
        retries.hold(delivery, 60.0, lambda: None, lambda: None)
    assert retries.full
    assert delivery.subscription.credit == MAX_HELD + 1


def test_what_is_held_when_the_server_leaves_goes_at_once_and_so_does_what_comes_later(connection: Connection) -> None:
    (delivery,) = deliveries(connection, 1)
    retries = RetryQueue(connection)
    left: list[str] = []
    retries.hold(delivery, 60.0, lambda: left.append("then"), lambda: left.append("first"))
    retries.close()
    retries.hold(delivery, 60.0, lambda: left.append("then"), lambda: left.append("second"))
    assert left == ["first", "second"]
    assert delivery.subscription.credit == 1


def test_a_step_that_fails_costs_the_others_nothing(connection: Connection, caplog: pytest.LogCaptureFixture) -> None:
    (delivery,) = deliveries(connection, 1)
    retries, done = RetryQueue(connection), threading.Event()

    def fail() -> None:
        raise RuntimeError("a bug")

    retries.hold(delivery, 0.05, fail, fail)
    retries.hold(delivery, 0.1, done.set, done.set)
    assert done.wait(10.0)
    assert "a bug" in caplog.text
