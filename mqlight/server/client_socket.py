"""The socket of one client: moves its bytes, on gevent's event loop.

All code here runs as callbacks of one loop and never waits, so it needs no lock.
"""

from __future__ import annotations

import enum
import logging
import socket
import ssl
import time
from typing import Protocol

from gevent import get_hub

from mqlight.amqp.engine import READ
from mqlight.amqp.types import Condition
from mqlight.server.access import Visitor
from mqlight.server.client import Client
from mqlight.server.limits import Limits
from mqlight.server.permissions import User
from mqlight.server.protocol import ServerProtocol
from mqlight.server.tls import Encryption, Output, TlsError

log = logging.getLogger(__name__)

_READ, _WRITE = 1, 2
SWEEP = 1.0
"""Seconds between two calls of :meth:`ClientSocket.tick` by the owner."""
LINGER = 2.0
"""Seconds that a client has to read the server's last bytes."""


class Owner(Protocol):
    """The owner of a client's socket."""

    limits: Limits

    def serve(self, client_socket: ClientSocket, address: str) -> ServerProtocol:
        """Return the protocol for a new client."""

    def flush(self) -> None:
        """Send the output that the last event left, to all clients."""

    def gone(self, client_socket: ClientSocket) -> None:
        """Note that the socket is closed."""


class Stage(enum.Enum):
    """The stage in the life of a socket."""

    OPEN = "bytes go both ways"
    LEAVING = "all output is sent, and the server waits for the client's end of input"
    CLOSED = "the socket is closed"


class ClientSocket:
    """A client's socket, and the server's end of its connection."""

    def __init__(self, owner: Owner, sock: socket.socket, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.host = host
        self.since = time.monotonic()
        self.protocol = owner.serve(self, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        self._owner = owner
        self._sock = sock
        self._tls = None if tls is None else Encryption(tls, self.protocol)
        self._source: Output = self.protocol if self._tls is None else self._tls
        self._most_unread = owner.limits.unread // 64
        loop = get_hub().loop
        self._readable = loop.io(sock.fileno(), _READ)
        self._writable = loop.io(sock.fileno(), _WRITE)
        self._beat = loop.timer(0)
        self._stage = Stage.OPEN
        self._paused = False
        """Whether reading is paused: the login is being checked, or the client does not read its output."""
        self._full = False
        """Whether the socket is full."""
        self._unread = 0
        """Bytes that came since the client last read all of its output."""
        self._leave_at: float | None = None
        log.info("%s: a connection from here", self.client.address)
        self._readable.start(self._read)

    @property
    def client(self) -> Client:
        """The client."""
        return self.protocol.client

    @property
    def closed(self) -> bool:
        """Whether the socket is closed."""
        return self._stage is Stage.CLOSED

    @property
    def visitor(self) -> Visitor:
        """The client's address and certificate."""
        return Visitor(self.host, self._tls is not None, None if self._tls is None else self._tls.common_name)

    def decided(self, answer: User | str | None) -> None:
        """Take the user who logs in, or the reason for a refusal; None after a fault of the server."""
        now = time.monotonic()
        if answer is None:
            self.protocol.close(Condition("amqp:internal-error", "a fault of the server"), now)
        else:
            self.protocol.decide(answer, now)
        self.flush()
        self._read_again()

    # Input

    def _read(self) -> None:
        try:
            data = self._sock.recv(READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        now = time.monotonic()
        if not data:
            self._end_of_input(now)
        elif self._stage is Stage.OPEN:
            self._take(data, now)
        self._owner.flush()
        if not data:
            self.close()

    def _take(self, data: bytes, now: float) -> None:
        protocol, client = self.protocol, self.client
        if self._full:
            self._unread += len(data)
        try:
            if self._tls is not None:
                data = self._tls.receive(data)
                self.flush()
            if data:
                protocol.receive(data, now)
                if protocol.hurries:  # its first heartbeat may be due before the next sweep
                    protocol.hurries = False
                    self.tick(now)
        except TlsError as error:
            log.warning("%s: refused: %s", client.address, error)
            self._end_of_input(now)
            self.flush()
        except Exception:
            log.exception("%s: a fault of the server ends this connection", client.address)
            try:
                protocol.close(Condition("amqp:internal-error", "a fault of the server"), now)
            except Exception:
                self.fail(now)
                return
        if self._must_not_read:
            if self._unread > self._most_unread:
                log.info("%s: is not read from until it reads", client)
            self._paused = True
            self._readable.stop()

    @property
    def _must_not_read(self) -> bool:
        return self.protocol.pending or self._unread > self._most_unread

    def _read_again(self) -> None:
        if self._paused and not self.closed and not self._must_not_read:
            self._paused = False
            self._readable.start(self._read)

    def _end_of_input(self, now: float) -> None:
        try:
            self.protocol.end_of_input(now)
        except Exception:
            log.exception("%s: a fault of the server at the end of this connection", self.client.address)

    # Output

    def flush(self) -> None:
        """Send the output, as far as the socket takes it. The rest goes when the socket takes more."""
        if self._full or self.closed:
            return
        source, sock = self._source, self._sock
        while data := source.output():
            try:
                size = sock.send(data)
            except (BlockingIOError, InterruptedError):
                size = 0
            except OSError:
                return  # the next read from the socket reports the same error
            source.sent(size)
            if size < len(data):
                self._full = True
                self._writable.start(self._write)
                return
        self._unread = 0
        self._read_again()
        if self.client.closed and self._stage is Stage.OPEN:
            self._leave()

    def _write(self) -> None:
        self._writable.stop()
        self._full = False
        try:
            self.flush()
        except Exception:
            self.fail(time.monotonic())

    # The end

    def _leave(self) -> None:
        """Close the sending side only. A full close could destroy output that the client has not read yet."""
        self._stage = Stage.LEAVING
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self._paused = False
        self._readable.start(self._read)

    def fail(self, now: float) -> None:
        """End this connection, and no other, after a fault of the server. Log the fault."""
        log.exception("%s: a fault of the server ends this connection", self.client.address)
        self._end_of_input(now)
        self.close()

    def close(self) -> None:
        """Close the socket. May be called twice."""
        if not self.closed:
            self._stage = Stage.CLOSED
            for watcher in (self._readable, self._writable, self._beat):
                watcher.stop()
                watcher.close()
            self._sock.close()
            self._owner.gone(self)

    # Time

    def tick(self, now: float) -> None:
        """Let time pass. Close an ended client's socket after ``LINGER`` seconds, even if the client does not."""
        due = self.protocol.tick(now)
        if due is not None and due < now + 2 * SWEEP and not self.closed:  # the next sweeps would be too late for it
            self._beat.stop()
            self._beat = get_hub().loop.timer(max(due - now, 0.01))
            self._beat.start(self._tick_now)
        if self.client.closed:
            if self._leave_at is None:
                self._leave_at = now + LINGER
            elif now >= self._leave_at:
                self.close()

    def _tick_now(self) -> None:
        self.tick(time.monotonic())
        self._owner.flush()
