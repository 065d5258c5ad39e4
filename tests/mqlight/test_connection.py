"""A connection against servers that refuse it, say nothing, or are not there."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from amqp.pair import End
from mqlight.addresses import Addresses
from mqlight.amqp.message import Message, delivery_count, encode
from mqlight.amqp.types import Outcome
from mqlight.connection import Connection, State
from mqlight.delivery import Delivery
from mqlight.errors import NetworkError, SecurityError
from mqlight.payload import pack
from mqlight.server.sasl import SaslServer
from processes import Server, wait_until


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
        with pytest.raises(SecurityError, match="does not let this client in") as caught:
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
    while not end.all("open"):
        end.receive(sock.recv(4096))
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
        with pytest.raises(NetworkError, match="accepted the connection and then said nothing more"):
            connection.wait_started(5)
        wait_until(lambda: ends)
        connection.stop()
    assert ends[0] == "a reset"


def test_stop_while_nobody_answers_ends_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, by its backlog, and says nothing
        connection = Connection(Addresses.of(f"amqp://127.0.0.1:{listener.getsockname()[1]}"), "c")
        connection.start()
        with pytest.raises(NetworkError):
            connection.wait_started(0.2)
        connection.stop(1)
        assert connection.state is State.STOPPED


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
    assert caplog.text.count("unfinished, which go back") == 2


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


def test_threads_that_publish_at_a_time_send_once_for_all_of_them(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection(Addresses.of(server.url), "many")
    connection.start()
    connection.wait_started(10)
    flush, sent = connection._flush, 0
    accepted = threading.Semaphore(0)

    def counted() -> None:
        nonlocal sent
        if not connection._crew.is_reader():
            sent += 1
        flush()

    monkeypatch.setattr(connection, "_flush", counted)
    message = pack("t", "message", None)
    threads = [
        threading.Thread(target=connection.publish, args=("t", message), kwargs={"on_outcome": told})
        for told in [lambda *_: accepted.release()] * 20
    ]
    with connection._lock:
        for thread in threads:
            thread.start()
        wait_until(lambda: len(connection._entering) == len(threads))
    for thread in threads:
        thread.join(10)
        assert accepted.acquire(timeout=10)
    assert sent == 1 and not connection._entering
    connection.stop()


def test_what_is_left_to_a_thread_that_fails_is_sent_all_the_same(server: Server) -> None:
    connection = Connection(Addresses.of(server.url), "failing")
    connection.start()
    connection.wait_started(10)
    ready = threading.Event()
    connection.publish("t", pack("t", "there is credit", None), on_outcome=lambda *_: ready.set())
    assert ready.wait(10)

    def fail() -> None:
        with pytest.raises(TypeError):
            connection.publish("t", None)  # type: ignore[arg-type]

    for _ in range(10):  # either of the two may be the first to have the lock
        accepted = threading.Event()

        def publish(accepted: threading.Event = accepted) -> None:
            connection.publish("t", pack("t", "message", None), on_outcome=lambda *_: accepted.set())

        threads = [threading.Thread(target=publish), threading.Thread(target=fail)]
        with connection._lock:
            for thread in threads:
                thread.start()
            wait_until(lambda: len(connection._entering) == 2)
        assert accepted.wait(10)
        for thread in threads:
            thread.join(10)
    connection.stop(0.0)
