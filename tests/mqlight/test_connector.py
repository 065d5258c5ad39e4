"""A connection against servers that refuse it, say nothing, or are not there."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from amqp.pair import End
from mqlight.addresses import Addresses
from mqlight.connection import Connection, State
from mqlight.errors import NetworkError, SecurityError
from mqlight.server.sasl import SaslServer
from processes import wait_until


@contextmanager
def scripted(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does ``answer(socket)`` for each connection; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock, suppress(ConnectionError):  # the client may stop at any moment
                    answer(sock)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"amqp://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            assert not thread.is_alive()


def refuse(sock: socket.socket) -> None:
    sasl = SaslServer(lambda identity: False)
    while not sasl.failed and (data := sock.recv(4096)):
        sock.sendall(sasl.receive(data))


def hang_up(sock: socket.socket) -> None:
    sock.recv(1)


def test_a_refused_login_is_a_security_error_and_is_not_tried_again() -> None:
    with scripted(refuse) as url:
        states: list[State] = []
        connection = Connection(
            Addresses.of(url, {"user": "ann", "password": "secret"}),
            "c",
            on_state=lambda state, _: states.append(state),
        )
        connection.start()
        with pytest.raises(SecurityError, match="refused this client") as caught:
            connection.wait_started(10)
        assert "secret" not in str(caught.value)
        assert states == [State.STARTING, State.STOPPED]


def test_a_server_that_hangs_up_is_tried_again() -> None:
    with scripted(hang_up) as url:
        connection = Connection(Addresses.of(url), "c")
        connection.start()
        with pytest.raises(NetworkError, match="the peer closed the socket"):
            connection.wait_started(10)
        assert connection.state is State.RETRYING
        connection.stop()
        assert connection.state is State.STOPPED


def greet_and_hang_up(sock: socket.socket) -> None:
    end = End(server=True)
    while not end.all("open") and (data := sock.recv(4096)):
        end.receive(data)
        while data := end.output():
            sock.sendall(data)
            end.sent(len(data))


def test_a_server_that_greets_and_hangs_up_is_not_tried_without_pause() -> None:
    tried: list[float] = []

    def answer(sock: socket.socket) -> None:
        tried.append(time.monotonic())
        greet_and_hang_up(sock)

    with scripted(answer) as url:
        connection = Connection(Addresses.of(url), "c")
        connection.start()
        wait_until(lambda: len(tried) > 1 and time.monotonic() > tried[0] + 2.0)
        connection.stop()
    assert len(tried) < 20  # with pauses as after a success it would be 40


def test_the_next_url_of_a_list_is_taken_when_the_first_does_not_answer(server: object) -> None:
    with scripted(hang_up) as url:
        connection = Connection(Addresses.of([url, server.url]), "c")  # type: ignore[attr-defined]
        connection.start()
        connection.wait_started(10)
        assert connection.url == server.url  # type: ignore[attr-defined]
        connection.stop()


def test_a_silent_server_is_left_within_the_heartbeat_and_nothing_reaches_it_later() -> None:
    ends: list[str] = []

    def say_nothing(sock: socket.socket) -> None:
        try:
            while sock.recv(4096):
                pass
            ends.append("a goodbye")
        except ConnectionResetError:
            ends.append("a reset")

    with scripted(say_nothing) as url:
        connection = Connection(Addresses.of(f"{url}?heartbeat=1"), "c")
        connection.start()
        with pytest.raises(NetworkError, match="accepted the connection, and then sent nothing"):
            connection.wait_started(5)
        wait_until(lambda: ends)
        connection.stop()
    assert ends[0] == "a reset"
