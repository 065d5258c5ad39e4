"""Drive an engine by a socket. The connection lives until one of the two ends."""

from __future__ import annotations

from mqlight.amqp.engine import Engine
from mqlight.net.tcp import Tcp

_TLS = (b"\x15\x03", b"AMQP\x02")
"""The first bytes from a server that wants TLS: an alert, or AMQP's header for TLS (AMQP 1.0 section 5.2)."""


class Driver:
    """An engine and its socket.

    Except for :meth:`receive`, :meth:`close` and the two that wait, the caller holds the owner's lock.
    """

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
        "wait_readable",
        "wait_writable",
    )

    def __init__(self, tcp: Tcp, engine: Engine, url: str, answer_by: float) -> None:
        self._tcp = tcp
        self.engine = engine
        self.url = url
        self.answer_by = answer_by
        """The time by which the server must have answered our open frame."""
        self.greeted_at: float | None = None
        """The time at which the server answered our open frame, None before."""
        self.speaks_tls = False
        """Whether the server answered in TLS to a connection without TLS."""
        self.broken: OSError | None = None
        """The error of :meth:`receive`."""
        self.receive = tcp.receive
        self.wait_readable = tcp.wait_readable
        self.wait_writable = tcp.wait_writable
        self.close = tcp.close
        self.abort = tcp.abort
        self.forget = tcp.forget

    def take(self, data: bytes) -> None:
        """Give the engine the bytes from :meth:`receive`; no bytes mean that the peer is gone."""
        if data:
            if self.greeted_at is None and data.startswith(_TLS):
                self.speaks_tls = True
            self.engine.receive(data)
        else:
            self.engine.end_of_input()

    def flush(self) -> bool:
        """Send the output. Return True if all is sent or the socket is broken, False if the socket is full.

        After an exception nothing more may be sent, because the engine does not know which bytes were.
        """
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
                if not engine.pending() and not tcp.unsent:
                    return True
            tcp.send(b"")
            return not tcp.unsent and self.flush()
        except OSError as error:
            if error.errno is None:  # it is not the socket's, but that of a signal's handler, such as a TimeoutError
                raise
            return True  # the next read from the socket gives the same error
