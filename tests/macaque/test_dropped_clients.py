"""Clients that nobody holds any more: they close themselves, and say that somebody forgot to."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

import macaque
from processes import Server, wait_until


@pytest.fixture
def echo(shared_server: Server) -> Iterator[macaque.Server]:
    app = macaque.Server(broker=shared_server.url)
    app.service("echo")(lambda data: data)
    with app:
        yield app


def threads_of(name: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if name in thread.name]


def test_a_client_that_is_dropped_closes_its_connection_and_warns(shared_server: Server, echo: macaque.Server) -> None:
    client = macaque.Client(broker=shared_server.url, timeout=5.0)
    assert client.call("echo", 1).result() == 1
    name = client.client_id
    assert threads_of(name)
    with pytest.warns(ResourceWarning, match=f"{name}.* was dropped without close"):
        del client
        gc.collect()
        wait_until(lambda: not threads_of(name), what="the end of the threads")


def test_a_client_that_is_dropped_before_it_connected_ends_too() -> None:
    client = macaque.Client(broker="amqp://127.0.0.1:1", timeout=5.0)
    client.start()
    name = client.client_id
    with pytest.warns(ResourceWarning):
        del client
        gc.collect()
    wait_until(lambda: not threads_of(name), what="the end of the threads")


def test_a_client_that_was_closed_or_never_started_says_nothing(shared_server: Server) -> None:
    client = macaque.Client(broker=shared_server.url)
    client.connect()
    client.close()
    gone = weakref.ref(client)
    del client
    macaque.Client(broker=shared_server.url)
    gc.collect()  # a warning would be an error
    wait_until(lambda: gone() is None)


def test_a_dropped_client_lives_until_its_calls_have_ended(shared_server: Server) -> None:
    app = macaque.Server(broker=shared_server.url)
    go = threading.Event()

    @app.service("stuck")
    def stuck(data: object) -> object:
        go.wait(10.0)
        return data

    answered: list[object] = []
    with app:
        client = macaque.Client(broker=shared_server.url, timeout=10.0)
        client.connect()
        gone, name = weakref.ref(client), client.client_id
        call = client.call("stuck", 1, answered.append)
        call.add_done_callback(lambda call: None)
        with pytest.warns(ResourceWarning):
            del client, call
            gc.collect()
            assert gone() is not None
            go.set()
            wait_until(lambda: answered == [1])
            wait_until(lambda: not threads_of(name), what="the end of the threads")


def test_a_call_has_its_result_although_its_client_was_dropped(shared_server: Server, echo: macaque.Server) -> None:
    with pytest.warns(ResourceWarning):
        call = macaque.Client(broker=shared_server.url, cid="dropped", timeout=5.0).call("echo", 1)
        gc.collect()
        assert call.result() == 1
        wait_until(lambda: not threads_of("dropped"), what="the end of the threads")
