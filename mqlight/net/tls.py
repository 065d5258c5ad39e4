"""Either end of TLS over memory buffers, so that one thread may receive while another sends."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from mqlight.amqp.output import CHUNK


class Tls:
    """The TLS of one connection. The caller moves the bytes, and nothing here waits.

    Args:
        context: The certificates and checks.
        host: The name that the server's certificate must have; None at the server's end.
    """

    __slots__ = ("_incoming", "_outgoing", "_pending", "_tls", "ready")

    def __init__(self, context: ssl.SSLContext, host: str | None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=host is None, server_hostname=host)
        self._pending = b""
        self.ready = False
        """Whether the handshake is done. Not before then may :meth:`write` be called."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the socket, and return the bytes in clear that they complete, maybe none.

        Raises:
            ssl.SSLError: The handshake or the connection failed. There may be a last :meth:`output`.
        """
        self._incoming.write(data)
        parts = []
        try:
            if not self.ready:
                self._tls.do_handshake()
                self.ready = True
            while part := self._tls.read(CHUNK):
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        """Encrypt bytes for the peer."""
        self._tls.write(data)

    def output(self) -> bytes:
        """Return the encrypted bytes to send now. Report with :meth:`sent` how many of them were sent."""
        if not self._pending:
            self._pending = self._outgoing.read()
        return self._pending

    def sent(self, size: int) -> None:
        """Take note that the first ``size`` bytes of the last :meth:`output` were sent."""
        self._pending = self._pending[size:]

    @property
    def unsent(self) -> bool:
        """Whether bytes of the last :meth:`output` are still to be sent."""
        return bool(self._pending)

    @property
    def certificate(self) -> Mapping[str, Any]:
        """The peer's certificate, empty if the peer showed none that was checked."""
        return self._tls.getpeercert() or {}
