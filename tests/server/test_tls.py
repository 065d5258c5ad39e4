"""TLS without a socket: what each end says when the other is not what it should be."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from certificates import Certificates
from mqlight.server.tls import AMQP_TLS_HEADER, Encryption, TlsError, server_context


class Said:
    """Something with bytes to send."""

    def __init__(self) -> None:
        self.left = b""

    def output(self) -> bytes:
        return self.left

    def sent(self, size: int) -> None:
        self.left = self.left[size:]


class Client:
    """A TLS client on the other end of memory."""

    def __init__(self, server: Encryption, context: ssl.SSLContext) -> None:
        self.server = server
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    def shake_hands(self, step: int = 1 << 20) -> None:
        for _ in range(10):
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.exchange(step)
            else:
                self.exchange(step)
                return
        raise AssertionError("no handshake")

    def exchange(self, step: int = 1 << 20) -> bytes:
        """Move bytes both ways; returns what the server understood."""
        understood = b""
        data = self._outgoing.read()
        for at in range(0, len(data), step):
            understood += self.server.receive(data[at : at + step])
        while answer := self.server.output():
            self._incoming.write(answer[:step])
            self.server.sent(len(answer[:step]))
        return understood


@pytest.fixture
def said() -> Said:
    return Said()


def make(certificates: Certificates, said: Said, *, client_ca: bool = False, **client: str) -> Client:
    ca = certificates.authority if client_ca else None
    server = Encryption(server_context(certificates.host("localhost"), None, ca), said)
    context = ssl.create_default_context(cafile=certificates.authority)
    if "certificate" in client:
        context.load_cert_chain(client["certificate"])
    if "version" in client:
        context.maximum_version = ssl.TLSVersion[client["version"]]
    return Client(server, context)


@pytest.mark.parametrize("step", [1, 100, 1 << 20])
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_bytes_arrive_whole_however_they_are_cut(
    certificates: Certificates, said: Said, step: int, version: str
) -> None:
    client = make(certificates, said, version=version)
    client.shake_hands(step)
    assert client.tls.version() == version.replace("_", ".")
    client.tls.write(b"ping" * 100)
    assert client.exchange(step) == b"ping" * 100
    said.left = b"pong" * 10_000
    client.exchange(step)
    assert client.tls.read(100) == (b"pong" * 25)


def test_nothing_is_sent_in_the_clear_before_the_handshake_is_done(certificates: Certificates, said: Said) -> None:
    client = make(certificates, said)
    said.left = b"secret"
    assert client.server.output() == b""


def test_a_client_certificate_is_known_by_its_common_name(certificates: Certificates, said: Said) -> None:
    client = make(certificates, said, client_ca=True, certificate=certificates.client("fish"))
    client.shake_hands()
    assert client.server.common_name == "fish"
    client = make(certificates, said)
    client.shake_hands()
    assert client.server.common_name is None


def test_a_client_that_is_too_old_is_told_so(certificates: Certificates, said: Said) -> None:
    client = make(certificates, said)
    hello = bytes.fromhex("160301002f0100002b0301") + bytes(32) + bytes.fromhex("000004c014c00a0100")
    with pytest.raises(TlsError, match="TLS"):
        client.server.receive(hello)
        client.server.receive(bytes(20))
    assert client.server.output().startswith(b"\x15\x03")


@pytest.mark.parametrize("step", [1, 8])
def test_who_speaks_amqp_at_once_is_told_that_tls_comes_first(
    certificates: Certificates, said: Said, step: int
) -> None:
    server = make(certificates, said).server
    with pytest.raises(TlsError, match="an amqps:// URL"):
        for at in range(0, 8, step):
            server.receive(b"AMQP\x03\x01\x00\x00"[at : at + step])
    assert server.output() == AMQP_TLS_HEADER


def test_who_speaks_something_else_is_shown_what(certificates: Certificates, said: Said) -> None:
    with pytest.raises(TlsError, match="does not speak TLS; it began with b'HELO'"):
        make(certificates, said).server.receive(b"HELO there, this is no TLS")


def test_files_that_do_not_fit_are_named(certificates: Certificates, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    good = certificates.host("localhost")
    bad = str(empty)
    for arguments in ((bad, None, None), (good, bad, None), (good, None, bad)):
        with pytest.raises(TlsError, match="empty.pem"):
            server_context(*arguments)
    with pytest.raises(TlsError, match="/nowhere"):
        server_context("/nowhere", None, None)
    other = certificates.host("elsewhere.example")
    with pytest.raises(TlsError, match="cannot use the certificate .* with the key"):
        server_context(good, other, None)
