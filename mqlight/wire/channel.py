"""An engine on a socket: a connection that lives until the first of the two ends."""

from __future__ import annotations

from mqlight.wire.engine import Engine
from mqlight.wire.tcp import Tcp


class Channel:
    """All of it but :meth:`receive`, :meth:`wait_writable` and :meth:`close` is called under its owner's lock."""

    __slots__ = ("_tcp", "answer_by", "close", "engine", "greeted", "receive", "url", "wait_writable")

    def __init__(self, tcp: Tcp, engine: Engine, url: str, answer_by: float) -> None:
        self._tcp = tcp
        self.engine = engine
        self.url = url
        self.answer_by = answer_by
        """When the server must have answered our open frame."""
        self.greeted = False
        """It has."""
        self.receive = tcp.receive
        self.wait_writable = tcp.wait_writable
        self.close = tcp.close

    def take(self, data: bytes) -> None:
        """What :meth:`receive` gave: bytes, or none when the peer is gone."""
        if data:
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
