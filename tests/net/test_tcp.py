from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from certificates import Certificates
from mqlight.net.tcp import Tcp
from mqlight.net.tls import Tls
from mqlight.server.tls import server_context
from processes import wait_until


@pytest.fixture
def ends() -> Iterator[tuple[Tcp, socket.socket]]:
    """A connection of ours, and the server's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tcp = Tcp("127.0.0.1", listener.getsockname()[1], tls=None, timeout=10)
        server, _ = listener.accept()
    server.settimeout(10)
    with server:
        yield tcp, server
        tcp.close()


def test_bytes_go_both_ways(ends: tuple[Tcp, socket.socket]) -> None:
    tcp, server = ends
    assert tcp.send(b"there") == 5 and not tcp.unsent
    assert server.recv(100) == b"there"
    server.sendall(b"back")
    assert tcp.receive() == b"back"


def test_a_full_socket_takes_no_more_and_is_waited_for(ends: tuple[Tcp, socket.socket]) -> None:
    tcp, server = ends
    sent = 0
    while size := tcp.send(b"x" * 65536):
        sent += size
    tcp.wait_writable(0.01)
    assert tcp.send(b"x") == 0
    while sent:
        sent -= len(server.recv(1 << 20))
    tcp.wait_writable(10)
    assert tcp.send(b"x") == 1


def test_the_end_of_the_peer_is_the_end_of_input(ends: tuple[Tcp, socket.socket]) -> None:
    tcp, server = ends
    server.close()
    assert tcp.receive() == b""


def test_closing_while_another_thread_receives_ends_its_wait(ends: tuple[Tcp, socket.socket]) -> None:
    tcp, server = ends
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(tcp.receive()))
    reader.start()
    tcp.close()
    tcp.close()
    reader.join(10)
    assert received == [b""] and tcp.receive() == b""
    assert server.recv(1) == b""


def test_a_short_wait_for_bytes_takes_none_of_them(ends: tuple[Tcp, socket.socket]) -> None:
    tcp, server = ends
    assert not tcp.wait_readable()
    server.sendall(b"there")
    wait_until(tcp.wait_readable)
    assert tcp.receive(patient=False) == b"there"
    assert not tcp.wait_readable()
    server.close()
    wait_until(tcp.wait_readable)
    assert tcp.receive(patient=False) == b""
    tcp.close()
    assert tcp.wait_readable() and tcp.receive(patient=False) == b""


def test_a_part_of_a_tls_record_is_waited_for_by_a_patient_thread_only(certificates: Certificates) -> None:
    tls, sockets = Tls(server_context(certificates.host("localhost"), None, None), None), []
    with socket.create_server(("localhost", 0)) as listener:

        def greet() -> None:
            sock = listener.accept()[0]
            sockets.append(sock)
            sock.settimeout(10)
            while not tls.ready:
                tls.receive(sock.recv(65536))
                while data := tls.output():
                    sock.sendall(data)
                    tls.sent(len(data))

        thread = threading.Thread(target=greet)
        thread.start()
        context = ssl.create_default_context(cafile=certificates.authority)
        tcp = Tcp("localhost", listener.getsockname()[1], tls=context, timeout=10)
        thread.join(10)
    with sockets[0] as server:
        tls.write(b"x" * 1000)
        record = tls.output()
        server.sendall(record[:500])
        wait_until(tcp.wait_readable)
        with pytest.raises(TimeoutError):
            tcp.receive(patient=False)
        server.sendall(record[500:])
        assert tcp.receive() == b"x" * 1000
        tcp.close()


def test_what_is_aborted_is_reset(ends: tuple[Tcp, socket.socket]) -> None:
    tcp, server = ends
    tcp.abort()
    with pytest.raises(ConnectionResetError):
        server.recv(1)


def test_a_port_where_nobody_listens_is_an_oserror() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        Tcp("127.0.0.1", port, tls=None, timeout=10)
