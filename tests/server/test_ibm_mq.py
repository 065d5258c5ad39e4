"""`python -m mqlight.server --like-ibm-mq`: its limits, seen by a client that knows nothing of them, and by ours."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from proton import ConnectionException, Message
from proton.utils import BlockingConnection, SendException

import macaque
from mqlight.addresses import Addresses
from mqlight.amqp.message import Message as OurMessage
from mqlight.amqp.message import encode
from mqlight.connection import Connection
from mqlight.delivery import Delivery
from processes import Server, start_server, wait_until


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server: Server = start_server("--like-ibm-mq")
    yield server.url
    server.close()


@pytest.fixture
def foreign(url: str) -> Iterator[BlockingConnection]:
    connection = BlockingConnection(url, allowed_mechs="ANONYMOUS")
    yield connection
    connection.close()


def test_a_message_that_ibm_mq_takes_is_taken(foreign: Any) -> None:
    foreign.create_sender("t").send(Message("hello", id="text", correlation_id=b"binary"))


@pytest.mark.parametrize("field", ["id", "correlation_id"])
@pytest.mark.parametrize("value", [uuid.UUID(int=7), 7], ids=["uuid", "ulong"])
def test_a_message_with_an_id_that_ibm_mq_does_not_take_is_rejected(foreign: Any, field: str, value: Any) -> None:
    with pytest.raises(SendException):
        foreign.create_sender("t").send(Message("hello", **{field: value}))


def test_a_message_with_annotations_is_rejected(foreign: Any) -> None:
    with pytest.raises(SendException):
        foreign.create_sender("t").send(Message("hello", annotations={"x-opt-mine": 1}))


def test_a_second_session_ends_the_connection(url: str) -> None:
    connection = BlockingConnection(url, allowed_mechs="ANONYMOUS")
    connection.create_sender("t")
    session = connection.conn.session()
    session.open()
    session.sender("other").open()
    with pytest.raises(ConnectionException, match="one session"):
        connection.wait(lambda: False, timeout=10)


def test_a_sender_that_names_no_topic_is_refused(foreign: Any) -> None:
    with pytest.raises(Exception, match="name a topic"):
        foreign.create_sender(None)


def test_any_outcome_but_accepted_ends_the_connection(url: str, foreign: Any) -> None:
    receiver = foreign.create_receiver("private:o", credit=1)
    other = BlockingConnection(url, allowed_mechs="ANONYMOUS")
    other.create_sender("o").send(Message("hello"))
    other.close()
    receiver.receive(timeout=10)
    receiver.release(delivered=False)
    with pytest.raises(ConnectionException, match="takes only the outcome accepted"):
        foreign.wait(lambda: False, timeout=10)


def test_a_service_and_its_callers_do_not_notice(url: str) -> None:
    app = macaque.Server(broker=url)
    app.service("ibm/echo", share_id="workers")(lambda data: 1 / data)
    with app, macaque.Client(broker=url, timeout=10.0) as client:
        assert [client.call("ibm/echo", n).result() for n in range(1, 20)] == [1 / n for n in range(1, 20)]
        with pytest.raises(macaque.RemoteError, match="ZeroDivisionError"):
            client.call("ibm/echo", 0).result()
        with pytest.raises(macaque.Timeout):
            client.call("ibm/nobody", 0, timeout=0.3).result()


def test_what_our_client_gives_back_goes_to_another_and_what_it_rejects_is_gone(url: str) -> None:
    connection = Connection(Addresses.of(url), "giver")
    connection.start()
    connection.wait_started(10.0)
    seen: list[str] = []
    ready = threading.Event()

    def received(delivery: Delivery) -> None:
        seen.append(delivery.message.decode("latin-1")[-1])
        if seen[-1] == "a" and len(seen) == 1:
            delivery.release()
        elif seen[-1] == "b":
            delivery.reject("amqp:decode-error", "not for me")
        else:
            delivery.accept()

    connection.subscribe(
        "ibm/back", "s", ttl=60, credit=1, on_delivery=received, on_subscribed=lambda error: ready.set()
    )
    assert ready.wait(10.0)
    for body in "abc":
        connection.publish("ibm/back", encode(OurMessage(body=body, to="ibm/back")))
    wait_until(lambda: len(seen) == 4, what=f"the messages, of which came {seen}")
    assert sorted(seen) == ["a", "a", "b", "c"]
    assert connection.error is None
    connection.stop()
