"""A connection against servers that refuse it, say nothing, or are not there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from mqlight.connection import Connection, State
from mqlight.errors import NetworkError, SecurityError
from mqlight.server.sasl import Sasl
from mqlight.service import Service


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
                with sock:
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
    sasl = Sasl(lambda identity: False)
    while not sasl.failed and (data := sock.recv(4096)):
        sock.sendall(sasl.receive(data))


def hang_up(sock: socket.socket) -> None:
    sock.recv(1)


def test_a_refused_login_is_a_security_error_and_is_not_tried_again() -> None:
    with scripted(refuse) as url:
        states: list[State] = []
        connection = Connection(
            Service.of(url, {"user": "ann", "password": "secret"}), "c", on_state=lambda state, _: states.append(state)
        )
        connection.start()
        with pytest.raises(SecurityError, match="does not let this client in") as caught:
            connection.wait_started(10)
        assert "secret" not in str(caught.value)
        assert states == [State.STARTING, State.STOPPED]


def test_a_server_that_hangs_up_is_tried_again() -> None:
    with scripted(hang_up) as url:
        connection = Connection(Service.of(url), "c")
        connection.start()
        with pytest.raises(NetworkError, match="the peer closed the socket"):
            connection.wait_started(10)
        assert connection.state is State.RETRYING
        connection.stop()
        assert connection.state is State.STOPPED


def test_the_next_url_of_a_list_is_taken_when_the_first_does_not_answer(server: object) -> None:
    with scripted(hang_up) as url:
        connection = Connection(Service.of([url, server.url]), "c")  # type: ignore[attr-defined]
        connection.start()
        connection.wait_started(10)
        assert connection.url == server.url  # type: ignore[attr-defined]
        connection.stop()


def test_stop_while_nobody_answers_ends_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, by its backlog, and says nothing
        connection = Connection(Service.of(f"amqp://127.0.0.1:{listener.getsockname()[1]}"), "c")
        connection.start()
        with pytest.raises(NetworkError):
            connection.wait_started(0.2)
        connection.stop(1)
        assert connection.state is State.STOPPED
