"""An engine on a socket: a connection that lives until the first of the two ends."""

from __future__ import annotations

from mqlight.amqp.engine import Engine
from mqlight.wire.tcp import Tcp

_TLS = (b"\x15\x03", b"AMQP\x02")
"""How a server answers that wants TLS: with an alert, or AMQP's header for TLS (AMQP 1.0 section 5.2)."""


class Channel:
    """All of it but :meth:`receive`, :meth:`wait_writable` and :meth:`close` is called under its owner's lock."""

    __slots__ = (
        "_tcp",
        "abort",
        "answer_by",
        "broken",
        "close",
        "engine",
        "forget",
        "greeted_at",
        "receive",
        "speaks_tls",
        "url",
        "wait_writable",
    )

    def __init__(self, tcp: Tcp, engine: Engine, url: str, answer_by: float) -> None:
        self._tcp = tcp
        self.engine = engine
        self.url = url
        self.answer_by = answer_by
        """When the server must have answered our open frame."""
        self.greeted_at: float | None = None
        """When it has."""
        self.speaks_tls = False
        """It answers in TLS, and we did not."""
        self.broken: OSError | None = None
        """How :meth:`receive` failed."""
        self.receive = tcp.receive
        self.wait_writable = tcp.wait_writable
        self.close = tcp.close
        self.abort = tcp.abort
        self.forget = tcp.forget

    def take(self, data: bytes) -> None:
        """What :meth:`receive` gave: bytes, or none when the peer is gone."""
        if data:
            if self.greeted_at is None and data.startswith(_TLS):
                self.speaks_tls = True
            self.engine.receive(data)
        else:
            self.engine.end_of_input()

    def flush(self) -> bool:
        """Send until nothing is left (True) or the socket is full (False). A broken socket has nothing left to send."""
        tcp, engine = self._tcp, self.engine
        try:
            while not tcp.unsent:
                data = engine.output()
                if not data:
                    return True
                size = tcp.send(data)
                engine.sent(size)
                if size < len(data):
                    return False
            tcp.send(b"")
            return not tcp.unsent and self.flush()
        except OSError:
            return True  # the same fact is about to be read from the socket
