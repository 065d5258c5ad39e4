"""Accepts connections and moves their bytes, on gevent's event loop.

Everything here runs as callbacks of one loop and nothing in it waits, so no lock is needed and the messages of one read
are answered by one write per client.
"""

from __future__ import annotations

import errno
import logging
import socket
import time
from typing import Any

import gevent
from gevent import get_hub

from mqlight.server.broker import Broker, Limits
from mqlight.server.connection import ClientConnection
from mqlight.wire.engine import READ
from mqlight.wire.terms import Condition

log = logging.getLogger(__name__)

_READ, _WRITE = 1, 2
SWEEP = 1.0
"""Seconds between looks at heartbeats and times to live."""


class Wire:
    """A client's socket."""

    def __init__(self, listener: Listener, sock: socket.socket, address: str) -> None:
        self.listener = listener
        self.sock = sock
        self.client = listener.client(self, address)
        loop = get_hub().loop
        self._readable = loop.io(sock.fileno(), _READ)
        self._writable = loop.io(sock.fileno(), _WRITE)
        self._writing = False
        self.closed = False
        self._readable.start(self._read)

    def _read(self) -> None:
        try:
            data = self.sock.recv(READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        now = time.monotonic()
        if data:
            try:
                self.client.receive(data, now)
            except Exception:
                log.exception("%s: a fault of the server ends this connection", self.client.address)
                self.client.close(Condition("amqp:internal-error", "a fault of the server"), now)
        else:
            self._readable.stop()
            self.client.end_of_input(now)
        self.listener.flush()
        if not data:
            self.close()

    def flush(self) -> None:
        """Send what there is, as far as the socket takes it; the rest when it takes more."""
        if self._writing or self.closed:
            return
        client, sock = self.client, self.sock
        while data := client.output():
            try:
                size = sock.send(data)
            except (BlockingIOError, InterruptedError):
                size = 0
            except OSError:
                return  # the same fact is about to be read from the socket
            client.sent(size)
            if size < len(data):
                self._writing = True
                self._writable.start(self._write)
                return
        if client.closed:
            self.close()

    def _write(self) -> None:
        self._writable.stop()
        self._writing = False
        self.flush()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            for watcher in (self._readable, self._writable):
                watcher.stop()
                watcher.close()
            self.sock.close()
            self.listener.gone(self)


class Listener:
    """A listening socket, its clients, and the broker behind them.

    :param heartbeat: seconds of silence after which a client counts as dead.
    :param max_message_size: bytes; a larger message costs its sender the link.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        limits: Limits | None = None,
        heartbeat: float = 30.0,
        max_message_size: int = 16 * 1024 * 1024,
        properties: dict[str, str] | None = None,
    ) -> None:
        sock.setblocking(False)
        self.broker = Broker(limits)
        self._sock = sock
        self._heartbeat = heartbeat
        self._max_message_size = max_message_size
        self._properties = properties or {}
        self._wires: dict[ClientConnection, Wire] = {}
        self._by_id: dict[str, ClientConnection] = {}
        self._dirty: set[ClientConnection] = set()
        self._acceptable = get_hub().loop.io(sock.fileno(), _READ)
        self._sweeper: Any = None

    def start(self) -> None:
        self._acceptable.start(self._accept)
        self._sweeper = gevent.spawn(self._sweep)

    def client(self, wire: Wire, address: str) -> ClientConnection:
        client = ClientConnection(
            self.broker,
            address=address,
            check=lambda identity: True,  # who may come in is decided by the address that the server listens on
            dirty=self._dirty.add,
            named=self._named,
            heartbeat=self._heartbeat,
            max_message_size=self._max_message_size,
            properties=self._properties,
        )
        self._wires[client] = wire
        return client

    def _named(self, client: ClientConnection) -> None:
        """A client said its id: whoever had it is sent away (wire contract 1.8)."""
        if not client.client_id:
            return
        old = self._by_id.get(client.client_id)
        self._by_id[client.client_id] = client
        if old is not None and old is not client:
            log.warning("%s takes the client id %s over from %s", client.address, client.client_id, old.address)
            reason = f"ServerContext_Takeover: {client.address} connected with the client id {client.client_id}"
            old.close(Condition("amqp:link:stolen", reason), time.monotonic())

    def gone(self, wire: Wire) -> None:
        client = wire.client
        self._wires.pop(client, None)
        self._dirty.discard(client)
        if self._by_id.get(client.client_id) is client:
            del self._by_id[client.client_id]

    def flush(self) -> None:
        """Send what the last event left to be sent, to whomever."""
        dirty = self._dirty
        while dirty:
            wire = self._wires.get(dirty.pop())
            if wire is not None:
                wire.flush()

    def _accept(self) -> None:
        try:
            sock, address = self._sock.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                log.error("no connection can be accepted for a second: %s", error.strerror)
                self._acceptable.stop()
                gevent.spawn_later(1.0, self._acceptable.start, self._accept)
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Wire(self, sock, f"{address[0]}:{address[1]}")

    def _sweep(self) -> None:
        while True:
            gevent.sleep(SWEEP)
            now = time.monotonic()
            self.broker.sweep(now)
            for client in list(self._wires):
                client.tick(now)
            self.flush()

    def close(self) -> None:
        """Say goodbye to every client and stop. What they have not read within a second they will not get."""
        if self._sweeper is None:
            return
        self._sweeper.kill()
        self._sweeper = None
        self._acceptable.stop()
        self._acceptable.close()
        self._sock.close()
        now = time.monotonic()
        for client in list(self._wires):
            client.close(Condition("amqp:connection:forced", "the server is shutting down"), now)
        self.flush()
        while self._wires and time.monotonic() < now + 1.0:
            gevent.sleep(0.01)
        for wire in list(self._wires.values()):
            wire.close()
