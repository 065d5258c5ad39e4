"""Both ends of TLS in memory, joined by the test."""

from __future__ import annotations

import ssl

import pytest

from certificates import Certificates
from mqlight.net.tls import Tls
from mqlight.server.tls import server_context


def ends(certificates: Certificates, host: str = "localhost") -> tuple[Tls, Tls]:
    client = ssl.create_default_context(cafile=certificates.authority)
    return Tls(client, host), Tls(server_context(certificates.host("localhost"), None, None), None)


def move(sender: Tls, receiver: Tls, step: int = 1 << 20) -> bytes:
    """Move what waits to be sent, in pieces. Return the bytes in clear that arrive."""
    plain = b""
    while data := sender.output():
        part = data[:step]
        plain += receiver.receive(part)
        sender.sent(len(part))
    return plain


def shake_hands(client: Tls, server: Tls, step: int = 1 << 20) -> None:
    client.receive(b"")
    for _ in range(10):
        move(client, server, step)
        move(server, client, step)
    assert client.ready and server.ready


@pytest.mark.parametrize("step", [1, 1000])
def test_bytes_go_both_ways_however_they_are_cut(certificates: Certificates, step: int) -> None:
    client, server = ends(certificates)
    assert not client.ready
    shake_hands(client, server, step)
    client.write(b"ping")
    assert move(client, server, step) == b"ping"
    server.write(b"pong" * 10_000)
    assert move(server, client, step) == b"pong" * 10_000
    assert not client.unsent and not server.unsent


def test_bytes_that_come_with_the_end_of_the_handshake_are_returned(certificates: Certificates) -> None:
    client, server = ends(certificates)
    client.receive(b"")
    move(client, server)
    move(server, client)
    assert client.ready
    client.write(b"at once")
    assert move(client, server) == b"at once" and server.ready


def test_what_was_not_sent_is_given_out_again(certificates: Certificates) -> None:
    client, server = ends(certificates)
    shake_hands(client, server)
    client.write(b"ping")
    first = client.output()
    client.sent(5)
    assert client.unsent and client.output() == first[5:]
    assert server.receive(first) == b"ping"


def test_a_certificate_of_another_host_is_refused_and_the_peer_is_told(certificates: Certificates) -> None:
    client, server = ends(certificates, "elsewhere.example")
    client.receive(b"")
    move(client, server)
    with pytest.raises(ssl.SSLCertVerificationError):
        move(server, client)
    with pytest.raises(ssl.SSLError):
        server.receive(client.output())


def test_a_peer_without_a_certificate_has_none(certificates: Certificates) -> None:
    client, server = ends(certificates)
    shake_hands(client, server)
    assert dict(server.certificate) == {}
    assert client.certificate["subject"]
