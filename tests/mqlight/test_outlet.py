"""When and by which thread a connection sends."""

from __future__ import annotations

import threading

import pytest

from mqlight.addresses import Addresses
from mqlight.connection import Connection
from mqlight.errors import StoppedError
from mqlight.outlet import BUFFER
from mqlight.payload import pack
from processes import Server, wait_until


def test_threads_that_publish_at_a_time_send_once_for_all_of_them(server: Server) -> None:
    connection = Connection(Addresses.of(server.url), "many")
    connection.start()
    connection.wait_started(10)
    outlet, message = connection._outlet, pack("t", "message", None)
    left: list[int] = []  # how many threads have left their bytes to others so far, as each thread finds it

    def publish() -> None:
        connection.publish("t", message, settled=True, on_outcome=lambda *_: left.append(outlet._left))

    ready = threading.Event()
    connection.publish("t", message, on_outcome=lambda *_: ready.set())
    assert ready.wait(10), "there is credit now"
    threads = [threading.Thread(target=publish) for _ in range(20)]
    with connection._lock:
        for thread in threads:
            thread.start()
        wait_until(lambda: len(outlet.entering) == len(threads))
    for thread in threads:
        thread.join(10)
    assert len(left) == len(threads) and not outlet.entering
    assert left.count(0) <= 3  # the first one, and perhaps the clock's thread has sent, when something was due
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
            wait_until(lambda: len(connection._outlet.entering) == 2)
        assert accepted.wait(10)
        for thread in threads:
            thread.join(10)
    connection.stop(0.0)


def test_a_batch_holds_its_messages_back_until_its_thread_waits_or_it_ends(server: Server) -> None:
    connection = Connection(Addresses.of(server.url), "batch")
    connection.start()
    connection.wait_started(10)
    told = threading.Semaphore(0)

    def publish() -> None:
        connection.publish("t", pack("t", "message", None), on_outcome=lambda *_: told.release())

    publish()
    assert told.acquire(timeout=10), "there is credit now"
    with connection.batch(), connection.batch():
        publish()
        assert connection._outlet._batches[threading.get_ident()] == 1
        connection.before_blocking()
        assert connection._outlet._batches[threading.get_ident()] == 0
        assert told.acquire(timeout=10)
        publish()
    assert connection._outlet._batches == {}
    assert told.acquire(timeout=10)
    connection.stop()


def test_a_connection_that_is_not_started_takes_no_messages_when_too_many_wait(server: Server) -> None:
    connection = Connection(Addresses.of("amqp://127.0.0.1:1"), "waiting")
    connection.start()
    for _ in range(BUFFER):
        assert not connection.publish("t", b"")
    with pytest.raises(TimeoutError, match=f"no room to send within 0.01 s: {BUFFER} messages wait"):
        connection.publish("t", b"", timeout=0.01)
    connection.stop(0.0)
    with pytest.raises(StoppedError, match="the client is stopped, so it cannot send"):
        connection.publish("t", b"")
