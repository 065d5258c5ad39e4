"""The socket of a client: what is read, what is sent, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator

import gevent
import pytest

from mqlight.amqp.message import encode
from mqlight.amqp.types import Condition, Terminus
from mqlight.server.client_socket import LINGER
from mqlight.server.limits import Limits
from server.clients import text
from server.sockets import House


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.close()


def test_bytes_go_both_ways(house: House) -> None:
    client_socket, peer = house.connect(client_id="c")
    assert client_socket.client.client_id == "c" and peer.end.all("open")
    assert client_socket.visitor.address == "127.0.0.1" and client_socket.visitor.certificate is None


def test_an_ipv6_address_is_shown_in_brackets(house: House) -> None:
    client_socket, _ = house.connect("::1")
    assert client_socket.client.address.startswith("[::1]:")


def test_nothing_is_read_while_the_login_is_checked(house: House) -> None:
    house.answer = None
    client_socket, peer = house.connect()
    peer.until(lambda: client_socket.protocol.pending)
    for _ in range(5):
        peer.move()
    assert not peer.end.all("open")
    client_socket.decided(house.user)
    peer.until(lambda: bool(peer.end.all("open")))


def test_a_refused_login_is_told_and_the_server_waits_until_the_client_has_read_it(house: House) -> None:
    house.answer = None
    client_socket, peer = house.connect()
    peer.until(lambda: client_socket.protocol.pending)
    client_socket.decided("not you")
    peer.until(lambda: peer.over)
    assert client_socket.client.closed and not client_socket.closed
    peer.sock.close()
    deadline = time.monotonic() + 10
    while not client_socket.closed and time.monotonic() < deadline:
        gevent.sleep(0)
    assert client_socket.closed and not house.clients.sockets


def test_a_fault_of_the_server_at_a_login_closes_the_connection(house: House) -> None:
    house.answer = None
    client_socket, peer = house.connect()
    peer.until(lambda: client_socket.protocol.pending)
    client_socket.decided(None)
    peer.until(lambda: peer.over)
    assert client_socket.client.closed


def test_a_client_that_does_not_close_its_socket_is_closed_after_a_while(house: House) -> None:
    client_socket, peer = house.connect(client_id="c")
    now = time.monotonic()
    client_socket.protocol.close(Condition("amqp:connection:forced", "enough"), now)
    client_socket.flush()
    peer.until(lambda: bool(peer.end.all("close")) and client_socket.client.closed)
    client_socket.tick(now)
    client_socket.tick(now + LINGER - 0.1)
    assert not client_socket.closed
    client_socket.tick(now + LINGER)
    assert client_socket.closed
    client_socket.close()


def test_a_client_that_does_not_read_is_not_read_from_until_it_does(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    house.limits = Limits(unread=65536)
    client_socket, peer = house.connect(client_id="c")
    sender = peer.end.engine.attach_sender("s", Terminus("t"))
    receiver = peer.end.engine.attach_receiver("private:t", Terminus("private:t"), at_most_once=True)
    receiver.flow(100_000)
    peer.until(lambda: sender.credit and receiver.source.address)
    for _ in range(500):
        sender.send(encode(text("x" * 4000)), settled=True)
    deadline = time.monotonic() + 10
    while not client_socket._paused:
        assert time.monotonic() < deadline
        peer.say()
    assert "is not read from until it reads" in caplog.text
    peer.until(lambda: len(peer.end.messages) == 500)
    assert not client_socket._paused and not client_socket.closed
