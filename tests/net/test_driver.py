"""An engine and its socket: output, input, and the end of either."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from amqp.pair import End, pump
from mqlight.amqp import Terminus
from mqlight.net.driver import Driver
from mqlight.net.tcp import Tcp


class Ends:
    """A client's driver, and the server's end: a socket, and an engine that gets its bytes from the test."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.tcp = Tcp("127.0.0.1", listener.getsockname()[1], tls=None, timeout=10)
            self.sock, _ = listener.accept()
        self.sock.settimeout(10)
        self.client = End(server=False)
        self.driver = Driver(self.tcp, self.client.engine, "amqp://127.0.0.1", answer_by=0.0)

    def received(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self.sock.recv(size - len(data))
        return data


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.sock.close()
    ends.tcp.close()


def opened(ends: Ends) -> End:
    """Open the connection in memory; return the server's end."""
    server = End(server=True)
    ends.client.engine.open()
    pump(ends.client, server)
    return server


def test_output_is_sent_and_then_gone(ends: Ends) -> None:
    ends.client.engine.open()
    output = ends.client.output()
    assert output and ends.driver.flush()
    assert ends.received(len(output)) == output
    assert ends.client.output() == b"" and ends.driver.flush()


def test_input_reaches_the_engine(ends: Ends) -> None:
    server = opened(ends)
    server.engine.close()
    ends.sock.sendall(server.output())
    ends.driver.take(ends.driver.receive())
    assert ends.client.one("close") == [None]


def test_a_full_socket_keeps_the_rest_of_the_output_until_it_is_read(ends: Ends) -> None:
    server = opened(ends)
    link = ends.client.engine.attach_sender("l", Terminus("t"))
    pump(ends.client, server)
    output = ends.client.engine.out
    before, messages, received = output.taken, 0, 0
    while ends.driver.flush():
        link.send(bytes(65536), settled=True)
        messages += 1
        assert messages < 10_000, "the socket is never full"
    assert output.size > 0 and not ends.driver.flush()
    while not ends.driver.flush():
        received += len(ends.sock.recv(1 << 20))
    assert output.size == 0
    ends.tcp.close()
    while data := ends.sock.recv(1 << 20):
        received += len(data)
    assert received == output.taken - before


def test_no_bytes_are_the_end_of_the_connection(ends: Ends) -> None:
    opened(ends)
    ends.sock.close()
    ends.driver.take(ends.driver.receive())
    (condition,) = ends.client.one("close")
    assert condition.name == "amqp:connection:forced"


def test_a_failed_write_is_left_to_the_next_read_to_tell(ends: Ends) -> None:
    opened(ends)
    ends.tcp.close()
    ends.client.engine.close()
    assert ends.client.output() and ends.driver.flush()
    assert ends.client.all("close") == []
    ends.driver.take(ends.driver.receive())
    assert len(ends.client.all("close")) == 1


@pytest.mark.parametrize("start", [b"\x15\x03\x01\x00\x02\x02\x46", b"AMQP\x02\x01\x00\x00"], ids=["alert", "header"])
def test_a_server_that_answers_in_tls_is_known(ends: Ends, start: bytes) -> None:
    """Section 5.2."""
    ends.client.engine.open()
    assert not ends.driver.speaks_tls
    ends.driver.take(start)
    assert ends.driver.speaks_tls and ends.client.all("close")


def test_bytes_that_look_like_tls_later_are_a_frame(ends: Ends) -> None:
    opened(ends)
    ends.driver.greeted_at = 1.0
    ends.driver.take(b"\x15\x03\x01\x00\x02\x02\x46")
    assert not ends.driver.speaks_tls
