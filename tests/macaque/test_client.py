from __future__ import annotations

import socket
import time
from typing import Any

import pytest

import macaque
from processes import Server, start_server, wait_until

# Callbacks


def test_a_service_may_call_another_service(shared_server: Server) -> None:
    app = macaque.Server(broker=shared_server.url)
    inner = macaque.Client(broker=shared_server.url, timeout=5.0)
    app.service("outer", credit=1)(lambda data: inner.call("inner", data).result() + 1)
    app.service("inner", credit=1)(lambda data: data * 10)
    with app, inner, macaque.Client(broker=shared_server.url, timeout=10.0) as client:
        assert [client.call("outer", number).result() for number in range(20)] == [n * 10 + 1 for n in range(20)]


# Every call ends


def test_the_client_has_a_timeout_for_calls_that_say_none(shared_server: Server, app: macaque.Server) -> None:
    with macaque.Client(broker=shared_server.url, timeout=0.2) as client, pytest.raises(macaque.Timeout):
        client.call("stuck", 1).result()


def test_a_short_timeout_is_kept_after_a_long_one(client: macaque.Client, app: macaque.Server) -> None:
    long = client.call("stuck", 1, timeout=20.0)
    began = time.monotonic()
    with pytest.raises(macaque.Timeout):
        client.call("stuck", 1, timeout=0.2).result()
    assert time.monotonic() - began < 3.0
    assert not long.done()


def test_a_reply_after_the_deadline_is_dropped(client: macaque.Client, app: Any) -> None:
    late = client.call("stuck", 1, timeout=0.1)
    assert isinstance(late.exception(), macaque.Timeout)
    app.go.set()
    assert client.call("echo", 2).result() == 2
    assert isinstance(late.exception(), macaque.Timeout)


def test_without_a_server_a_call_ends_in_connection_lost_at_its_deadline(nowhere: str) -> None:
    with macaque.Client(broker=nowhere, timeout=0.5) as client:
        with pytest.raises(macaque.ConnectionLost, match="refused") as raised:
            client.call("echo", 1).result()
        assert raised.value.url == nowhere
        assert not client.connected


def test_connect_says_at_once_that_there_is_no_server(nowhere: str) -> None:
    with macaque.Client(broker=nowhere) as client, pytest.raises(macaque.ConnectionLost, match=nowhere):
        client.connect(timeout=10.0)


def test_a_call_made_before_the_server_is_there_reaches_it_when_it_comes() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with macaque.Client(broker=f"amqp://127.0.0.1:{port}", timeout=20.0) as client:
        call = client.call("echo", 1)
        server = start_server(port=port)
        try:
            assert isinstance(call.exception(), macaque.NoResponders)
        finally:
            server.close()


def test_a_client_comes_back_after_a_restart_of_the_server(server: Server) -> None:
    app = macaque.Server(broker=server.url)
    app.service("echo", share_id="one")(lambda data: data)
    with app, macaque.Client(broker=server.url, timeout=20.0) as client:
        assert client.call("echo", 1).result() == 1
        server.kill()
        wait_until(lambda: not client.connected)
        again = start_server(port=server.port)

        def answered() -> bool:
            try:
                return client.call("echo", 2).result() == 2
            except macaque.NoResponders:
                return False  # the service is still on its way back

        try:
            wait_until(answered)
        finally:
            again.close()


def test_a_client_that_is_replaced_by_its_own_id_ends_its_calls(shared_server: Server, app: macaque.Server) -> None:
    with (
        macaque.Client(broker=shared_server.url, cid="twin_client") as first,
        macaque.Client(broker=shared_server.url, cid="twin_client") as second,
    ):
        first.connect()
        call = first.call("stuck", 1)
        second.connect()
        with pytest.raises(macaque.ConnectionLost, match="same client id"):
            call.result()
        with pytest.raises(macaque.ConnectionLost, match="same client id"):
            first.call("echo", 1)


# Life


def test_close_may_be_called_twice_and_without_a_connection(shared_server: Server) -> None:
    client = macaque.Client(broker=shared_server.url)
    client.close()
    client.close()
    with pytest.raises(macaque.ConnectionLost, match="make a new one"):
        client.call("echo", 1)


def test_a_client_connects_when_it_is_told_to(shared_server: Server) -> None:
    with macaque.Client(broker=shared_server.url, cid="me") as client:
        assert not client.connected
        client.start()
        client.connect()
        assert client.connected
        assert repr(client) == "<macaque.Client me: started>"
    assert not client.connected


@pytest.mark.parametrize("arguments", [{"timeout": -1}, {"cid": "a b"}, {"broker": "what"}, {"broker": 7}])
def test_a_client_that_cannot_work_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        macaque.Client(**arguments)
