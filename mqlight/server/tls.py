"""The server's end of TLS, over memory: the listener moves the bytes and nothing here waits."""

from __future__ import annotations

import ssl
from typing import Any, Protocol

from mqlight.amqp.output import CHUNK

AMQP_TLS_HEADER = b"AMQP\x02\x01\x00\x00"
"""What a server that wants TLS answers to a client that begins without (AMQP 1.0 section 2.2)."""
_ALERTS = {
    "UNKNOWN_CA": "the client does not trust the authority that signed this server's certificate",
    "CERTIFICATE_EXPIRED": "the client says that this server's certificate has expired",
    "BAD_CERTIFICATE": "the client refuses this server's certificate; is it for the host name that the client uses?",
    "CERTIFICATE_UNKNOWN": "the client refuses this server's certificate",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client showed no certificate, and --tls-client-ca asks for one",
    "UNSUPPORTED_PROTOCOL": "the client is too old: TLS 1.2 is the least",
}


class TlsError(ValueError):
    """Certificates that cannot be used, or a handshake that failed. The text says why."""


class Source(Protocol):
    """What has bytes to send."""

    def output(self) -> bytes:
        """Bytes to be sent now."""

    def sent(self, size: int) -> None:
        """So many of them are on their way."""


def server_context(certificate: str, key: str | None, client_ca: str | None) -> ssl.SSLContext:
    """TLS 1.2 or later with the certificate and key in two PEM files, or one; with ``client_ca`` clients have to show a
    certificate that it signed. Raises TlsError.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a passphrase OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, key, lambda: "")
    except (OSError, ValueError) as error:
        where = certificate if key is None else f"{certificate} with the key {key}"
        raise TlsError(f"cannot use the certificate {where}: {_reason(error)}") from None
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ValueError) as error:
            raise TlsError(f"cannot use the client authority {client_ca}: {_reason(error)}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"it is no PEM file that fits ({error.reason or error})"
    return getattr(error, "strerror", None) or str(error)


class Tls:
    """One connection: ciphertext comes in by :meth:`receive`, and goes out as :meth:`output` of what ``inner`` has."""

    def __init__(self, context: ssl.SSLContext, inner: Source) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._inner = inner
        self._ready = False
        self._failed = False
        self._begin = b""
        self._pending = b""

    def receive(self, data: bytes) -> bytes:
        """Bytes from the socket; returns what they say. Raises TlsError; there may be a last :meth:`output` then."""
        if len(self._begin) < 4:
            self._begin += data[:4]
            if self._begin == b"AMQP":
                self._failed, self._pending = True, AMQP_TLS_HEADER
                raise TlsError("the client does not speak TLS, and this port does; it needs an amqps:// URL")
        self._incoming.write(data)
        try:
            return self._decrypt()
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLError as error:
            self._failed = True
            raise TlsError(_said(error, self._begin)) from None

    def _decrypt(self) -> bytes:
        if not self._ready:
            self._tls.do_handshake()
            self._ready = True
        parts = []
        try:
            while part := self._tls.read(CHUNK):
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        return b"".join(parts)

    def output(self) -> bytes:
        if not self._pending:
            if self._ready and not self._failed and (plain := self._inner.output()):
                self._tls.write(plain)
                self._inner.sent(len(plain))
            self._pending = self._outgoing.read()
        return self._pending

    def sent(self, size: int) -> None:
        self._pending = self._pending[size:]

    @property
    def common_name(self) -> str | None:
        """Of the client's certificate, where one was shown and verified."""
        subject: Any = (self._tls.getpeercert() or {}).get("subject", ())
        names = [value for part in subject for key, value in part if key == "commonName"]
        return str(names[0]) if len(names) == 1 else None


def _said(error: ssl.SSLError, begin: bytes) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate was refused: {error.verify_message}"
    reason = error.reason or str(error)
    for name, text in _ALERTS.items():
        if reason.endswith(name):
            return text
    if not begin.startswith(b"\x16"):
        return f"the client does not speak TLS, it began with {begin!r}"
    return f"TLS failed: {reason.replace('_', ' ').lower()}"
