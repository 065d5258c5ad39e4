"""The server's end of TLS: its certificates, and the encryption of one client's bytes."""

from __future__ import annotations

import ssl
from typing import Any, Protocol

from mqlight.net.tls import Tls

AMQP_TLS_HEADER = b"AMQP\x02\x01\x00\x00"
"""The answer of a server with TLS to a client that begins without TLS (AMQP 1.0 section 2.2)."""
_ALERTS = {
    "UNKNOWN_CA": "the client does not trust the authority that signed this server's certificate",
    "CERTIFICATE_EXPIRED": "the client says that this server's certificate has expired",
    "BAD_CERTIFICATE": "the client refuses this server's certificate; is it for the host name that the client uses?",
    "CERTIFICATE_UNKNOWN": "the client refuses this server's certificate",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client showed no certificate; --tls-client-ca requires one",
    "UNSUPPORTED_PROTOCOL": "the client does not support TLS 1.2 or newer",
}


class TlsError(ValueError):
    """The certificates are unusable, or a handshake failed. The text gives the reason."""


class Output(Protocol):
    """A source of bytes to send."""

    def output(self) -> bytes:
        """Return the bytes to send now."""

    def sent(self, size: int) -> None:
        """Note that the first ``size`` of these bytes were sent."""


def server_context(certificate: str, key: str | None, client_ca: str | None) -> ssl.SSLContext:
    """Return a context for TLS 1.2 or later with the certificate and key in two PEM files, or in one.

    With ``client_ca`` clients must show a certificate that this authority signed.

    Raises:
        TlsError: A file is unusable.
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
        return f"the file is not a matching PEM file ({error.reason or error})"
    return getattr(error, "strerror", None) or str(error)


class Encryption:
    """The TLS of one client. :meth:`receive` decrypts input; :meth:`output` encrypts the output of ``inner``."""

    def __init__(self, context: ssl.SSLContext, inner: Output) -> None:
        self._tls = Tls(context, None)
        self._inner = inner
        self._begin = b""
        self._farewell: bytes | None = None
        """The last bytes to send, after a fault."""
        self._plain = 0
        """The number of bytes of ``inner`` that are encrypted. They count as sent when all of them are sent."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the socket and return the decrypted bytes.

        Raises:
            TlsError: The handshake or the connection failed. There may be a last :meth:`output`.
        """
        if len(self._begin) < 4:
            self._begin += data[:4]
            if self._begin == b"AMQP":
                self._farewell = AMQP_TLS_HEADER
                raise TlsError("the client does not speak TLS, which this port needs; use an amqps:// URL")
        try:
            return self._tls.receive(data)
        except ssl.SSLError as error:
            self._farewell = self._tls.output()
            raise TlsError(_said(error, self._begin)) from None

    def output(self) -> bytes:
        if self._farewell is not None:
            return self._farewell
        if self._tls.ready and not self._tls.unsent and (plain := self._inner.output()):
            self._tls.write(plain)
            self._plain = len(plain)
        return self._tls.output()

    def sent(self, size: int) -> None:
        if self._farewell is not None:
            self._farewell = self._farewell[size:]
            return
        self._tls.sent(size)
        if self._plain and not self._tls.unsent:
            plain, self._plain = self._plain, 0
            self._inner.sent(plain)

    @property
    def common_name(self) -> str | None:
        """The common name in the client's certificate; None without a verified certificate that has exactly one."""
        subject: Any = self._tls.certificate.get("subject", ())
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
        return f"the client does not speak TLS; it began with {begin!r}"
    return f"TLS failed: {reason.replace('_', ' ').lower()}"
