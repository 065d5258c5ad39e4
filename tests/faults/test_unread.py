"""Clients of a real server that do not read: what waits for them is bounded, and was no delivery to them."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from certificates import Certificates
from faults.flood import ATTACH, MIB, Hostile, frame, memory, until
from mqlight.addresses import Addresses
from mqlight.amqp.codec import Described, Ubyte, Uint, Ulong
from mqlight.amqp.message import Message, delivery_count, encode, first_acquirer
from mqlight.amqp.types import Outcome
from mqlight.connection import Connection
from mqlight.security import Security
from processes import Server, start_server, wait_until


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start a server with options."""
    with ExitStack() as servers:

        def start(*options: str) -> Server:
            server = start_server(*options)
            servers.callback(server.close)
            return server

        yield start


class Publisher:
    """A client that waits for the outcomes of what it publishes."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.outcomes: list[Outcome] = []

    def publish(self, count: int, size: int) -> None:
        message = encode(Message(body=b"x" * size, to="t"))
        expected = len(self.outcomes) + count
        for _ in range(count):
            self.connection.publish("t", message, on_outcome=lambda outcome, _: self.outcomes.append(outcome))
        wait_until(lambda: len(self.outcomes) == expected, 30.0)


@pytest.fixture
def connect() -> Iterator[Callable[..., Connection]]:
    with ExitStack() as connections:

        def start(server: Server, client_id: str, security: Security | None = None) -> Connection:
            connection = Connection(Addresses.of(server.url, security), client_id)
            connections.callback(connection.stop, 0.5)
            connection.start()
            return connection

        yield start


def deaf(client: Hostile, address: str, *, at_most_once: bool) -> Hostile:
    """Subscribe with all the credit there is; nothing is read from then on."""
    client.log_in().begin()
    source, target = Described(Ulong(0x28), [address, None, None, Uint(60)]), Described(Ulong(0x29), [address])
    client.send(frame(ATTACH, address, Uint(0), True, Ubyte(int(at_most_once)), None, source, target))
    most = Uint(2**31 - 1)
    client.send(frame(0x13, Uint(0), most, Uint(0), most, Uint(0), Uint(0), most))
    until(lambda: client.hears(address.encode()), "to be subscribed")
    return client


@pytest.mark.parametrize("size", [100, 10_000])
def test_forty_subscribers_that_never_read_take_no_more_than_the_memory_that_messages_may_take(
    serve: Any, connect: Any, size: int
) -> None:
    server = serve("--max-memory", str(64 * MIB))
    with ExitStack() as clients:
        for number in range(40):
            client = clients.enter_context(Hostile(server, f"deaf{number}"))
            deaf(client, "private:t", at_most_once=True)
        publisher = Publisher(connect(server, "publisher"))
        before = memory(server)
        most = 0
        for _ in range(10):  # each of them 40 times: as many bytes as the limit, and far more of the large ones
            publisher.publish(200 if size > 1000 else 2000, size)
            most = max(most, memory(server) - before)
        assert most < 64 * MIB, f"it grew by {most / MIB:.0f} MiB"


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_a_message_that_the_socket_never_took_was_no_attempt(
    serve: Any, connect: Any, certificates: Certificates, secure: bool
) -> None:
    server = serve(*(["--tls-cert", certificates.host("127.0.0.1")] if secure else []))
    security = Security(ssl_trust_certificate=certificates.authority) if secure else None
    publisher = Publisher(connect(server, "publisher", security))
    with Hostile(server, "deaf") as client:
        if secure:
            context = ssl.create_default_context(cafile=certificates.authority)
            client.sock = context.wrap_socket(client.sock, server_hostname="127.0.0.1")
        deaf(client, "share:s:t", at_most_once=False)
        publisher.publish(300, 50_000)  # more than the buffers of any socket hold
    got: list[bytes] = []
    consumer = connect(server, "consumer", security)
    consumer.subscribe("t", "s", ttl=60, credit=400, on_delivery=lambda delivery: got.append(delivery.message))
    wait_until(lambda: len(got) == 300, 20.0)
    counts = [delivery_count(message) for message in got]
    taken = sum(counts)
    assert 0 < taken < 300 and counts == [1] * taken + [0] * (300 - taken)
    assert [first_acquirer(message) for message in got] == [count == 0 for count in counts]
