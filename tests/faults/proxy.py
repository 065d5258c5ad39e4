"""A network that fails when a test says so: it stands between two parts, forwards their bytes, and does its worst."""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import dataclass
from enum import Enum

CHUNK = 65536
POLL = 0.02
"""Seconds after which a thread looks again whether the fault is over."""


class Way(Enum):
    """The direction of bytes."""

    UP = "to the server"
    DOWN = "to the client"


@dataclass(frozen=True)
class Flaw:
    """One fault of a connection after ``after`` bytes in one direction: its end by FIN, or by RST (``reset``); silence
    in both directions for ever (``hang``); or ``mask`` over the next byte.
    """

    way: Way
    after: int
    mask: int | None = None
    reset: bool = False
    hang: bool = False


class Proxy:
    """Listens on a port of its own and forwards to ``port``, both on 127.0.0.1.

    Bytes that a fault holds back are kept, not lost, as TCP would have them. ``delay`` (seconds before a read is passed
    on) and ``rate`` (bytes a second) may be set at any time. A flaw of ``flaws`` is for one of the connections to come:
    each new one takes the next.
    """

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        self.rate: float | None = None
        self.garble: Way | None = None
        """Flip a bit of the next byte that goes this way, once."""
        self.flaws: list[Flaw] = []
        self.flawed = 0
        """Return the number of flaws that have happened."""
        self.accepted = 0
        self._target = port
        self._open = threading.Event()
        self._open.set()
        self._closed = False
        self._lines: set[_Line] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"amqp://127.0.0.1:{self.port}"
        self._start(self._accept)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Faults

    def cut(self, *, reset: bool = False) -> None:
        """End every connection: by FIN, or by RST."""
        for line in list(self._lines):
            line.end(reset)

    def stall(self) -> None:
        """Pass nothing on, and tell nobody: connections are accepted, and bytes taken, into the void."""
        self._open.clear()

    def resume(self, *, forget: bool = False) -> None:
        """The end of a stall: everything is delivered at last. ``forget``: what was there before stays dead for ever,
        with no FIN, like a connection that a router has forgotten.
        """
        if forget:
            for line in list(self._lines):
                line.forgotten = True
        self._open.set()

    def close(self) -> None:
        self._closed = True
        self.stall()
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        self.cut(reset=True)
        for thread in self._threads:
            thread.join(10)

    # Bytes

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads = [other for other in self._threads if other.is_alive()] + [thread]
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._start(self._connect, client)

    def _connect(self, client: socket.socket) -> None:
        while not self._open.wait(POLL):
            if self._closed:
                client.close()
                return
        try:
            server = socket.create_connection(("127.0.0.1", self._target), 10)
        except OSError:
            _end(client, reset=True)
            return
        line = _Line(client, server, self.flaws.pop(0) if self.flaws else None)
        self._lines.add(line)
        self._start(self._forward, line, Way.DOWN)
        self._forward(line, Way.UP)
        if not line.forgotten:
            self._lines.discard(line)

    def _forward(self, line: _Line, way: Way) -> None:
        giver, taker = (line.client, line.server) if way is Way.UP else (line.server, line.client)
        flaw = line.flaw if line.flaw is not None and line.flaw.way is way else None
        passed = 0
        try:
            while data := giver.recv(CHUNK):
                if self.delay:
                    time.sleep(self.delay)
                if self.rate:
                    time.sleep(len(data) / self.rate)
                while not self._open.wait(POLL):
                    if self._closed or line.ended.is_set():
                        return
                if self.garble is way:
                    self.garble = None
                    data = bytes([data[0] ^ 0x80]) + data[1:]
                if flaw is not None and flaw.after < passed + len(data):
                    at = flaw.after - passed
                    self.flawed += 1
                    if flaw.mask is None:
                        taker.sendall(data[:at])
                        if not flaw.hang:
                            line.end(flaw.reset)
                            return
                        line.forgotten = True
                    else:
                        data = data[:at] + bytes([data[at] ^ flaw.mask]) + data[at + 1 :]
                    flaw = None
                while line.forgotten:
                    if self._closed or line.ended.wait(POLL):
                        return
                passed += len(data)
                taker.sendall(data)
        except OSError:
            pass
        if not line.forgotten:
            line.end(False)  # one of the two is gone, so the other has to go


class _Line:
    """Two sockets, and what is to become of them."""

    def __init__(self, client: socket.socket, server: socket.socket, flaw: Flaw | None) -> None:
        self.client = client
        self.server = server
        self.flaw = flaw
        self.forgotten = False
        self.ended = threading.Event()
        self._lock = threading.Lock()
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(None)

    def end(self, reset: bool) -> None:
        with self._lock:
            if self.ended.is_set():
                return
            self.ended.set()
            for sock in (self.client, self.server):
                _end(sock, reset)


def _end(sock: socket.socket, reset: bool) -> None:
    try:
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # A thread that receives keeps the connection up until it is woken, and SHUT_RD alone tells the peer nothing.
        sock.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
    except OSError:
        pass  # the peer was quicker
    sock.close()
