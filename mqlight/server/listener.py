"""The listening socket: accepts connections and moves their bytes, on gevent's event loop.

All code here runs as callbacks of one loop and never waits, so it needs no lock. The messages of one read are answered
by one write per client.
"""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import time
from collections import Counter, deque
from typing import Any

import gevent
from gevent import get_hub

from mqlight.amqp.engine import READ
from mqlight.amqp.types import Condition
from mqlight.server.access import Networks, Visitor
from mqlight.server.broker import Broker
from mqlight.server.journal import Journal
from mqlight.server.limits import Limits
from mqlight.server.login import Logins
from mqlight.server.permissions import User
from mqlight.server.protocol import ServerProtocol
from mqlight.server.sasl import farewell
from mqlight.server.store import Store
from mqlight.server.tls import Output, Tls, TlsError
from mqlight.server.users import UsersFile
from mqlight.server.writer import Writer

log = logging.getLogger(__name__)

_READ, _WRITE = 1, 2
SWEEP = 1.0
"""Seconds between two checks of heartbeats and times to live."""
LINGER = 2.0
"""Seconds that a client has to read the server's last bytes."""
LEAVING = 100
"""The most clients without room that may still read the server's refusal."""


class ClientSocket:
    """A client's socket."""

    def __init__(
        self, listener: Listener, sock: socket.socket, host: str, port: int, tls: ssl.SSLContext | None
    ) -> None:
        self.listener = listener
        self.sock = sock
        self.host = host
        self.client = listener.client(self, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        self._tls = None if tls is None else Tls(tls, self.client)
        self._source: Output = self.client if self._tls is None else self._tls
        self._hurried = listener.limits.unread // 64
        loop = get_hub().loop
        self._readable = loop.io(sock.fileno(), _READ)
        self._writable = loop.io(sock.fileno(), _WRITE)
        self._beat = loop.timer(0)
        self._writing = False
        self._ignored = 0
        """Bytes that were read since the client last read all of its output."""
        self._waits = False
        """Whether reading is paused: the login is being checked, or the client does not read its output."""
        self._closed_at: float | None = None
        self._over = False
        """Whether all output is sent, and the server only waits for the client's end of input."""
        self.closed = False
        self.since = time.monotonic()
        log.info("%s: a connection from here", self.client.address)
        self._readable.start(self._read)

    @property
    def visitor(self) -> Visitor:
        return Visitor(self.host, self._tls is not None, None if self._tls is None else self._tls.common_name)

    def decided(self, answer: User | str | None) -> None:
        """Take the user who logs in, or the reason for a refusal; None after a fault of the server."""
        now = time.monotonic()
        if answer is None:
            self.client.close(Condition("amqp:internal-error", "a fault of the server"), now)
        else:
            self.client.decide(answer, now)
        self.flush()
        self.read_again()

    def _read(self) -> None:
        try:
            data = self.sock.recv(READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        now = time.monotonic()
        if not data:
            self._readable.stop()
            self._end_of_input(now)
        elif not self._over:
            self._take(data, now)
        self.listener.flush()
        if not data:
            self.close()

    def _take(self, data: bytes, now: float) -> None:
        client = self.client
        if self._writing:
            self._ignored += len(data)
        try:
            if self._tls is not None:
                data = self._tls.receive(data)
                self.flush()
            if data:
                client.receive(data, now)
                if client.hurries:  # its first heartbeat may be due before the next sweep
                    client.hurries = False
                    self.tick(now)
        except TlsError as error:
            log.warning("%s: refused: %s", client.address, error)
            self._end_of_input(now)
            self.flush()
        except Exception:
            log.exception("%s: a fault of the server ends this connection", client.address)
            try:
                client.close(Condition("amqp:internal-error", "a fault of the server"), now)
            except Exception:
                self.fail(now)
                return
        if client.pending or self._ignored > self._hurried:
            if self._ignored > self._hurried:
                log.info("%s %s: is not read from until it reads", client.address, client.client_id)
            self._waits = True
            self._readable.stop()

    def _end_of_input(self, now: float) -> None:
        try:
            self.client.end_of_input(now)
        except Exception:
            log.exception("%s: a fault of the server at the end of this connection", self.client.address)

    def fail(self, now: float) -> None:
        """End this connection, and no other, after a fault of the server. Log the fault."""
        log.exception("%s: a fault of the server ends this connection", self.client.address)
        self._end_of_input(now)
        self.close()

    def read_again(self) -> None:
        """Read from the socket again, unless the login is still pending or the client still does not read."""
        if self._waits and not self.closed and not self.client.pending and self._ignored <= self._hurried:
            self._waits = False
            self._readable.start(self._read)

    def flush(self) -> None:
        """Send the output, as far as the socket takes it. The rest goes when the socket takes more."""
        if self._writing or self.closed:
            return
        source, sock = self._source, self.sock
        while data := source.output():
            try:
                size = sock.send(data)
            except (BlockingIOError, InterruptedError):
                size = 0
            except OSError:
                return  # the next read from the socket reports the same error
            source.sent(size)
            if size < len(data):
                self._writing = True
                self._writable.start(self._write)
                return
        self._ignored = 0
        if self._waits:
            self.read_again()
        if self.client.closed and not self._over:
            self._say_no_more()

    def _say_no_more(self) -> None:
        """Close the sending side only. A full close could destroy output that the client has not read yet."""
        self._over = True
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self._waits = False
        self._readable.start(self._read)

    def _write(self) -> None:
        self._writable.stop()
        self._writing = False
        try:
            self.flush()
        except Exception:
            self.fail(time.monotonic())

    def tick(self, now: float) -> None:
        """Let time pass. Close an ended client's socket after ``LINGER`` seconds, even if the client does not."""
        self._look_again(self.client.tick(now), now)
        if self.client.closed:
            self._closed_at = self._closed_at or now
            if now >= self._closed_at + LINGER:
                self.close()

    def _look_again(self, due: float | None, now: float) -> None:
        """Call :meth:`tick` again at ``due``, if the listener's sweeps would be too late for it."""
        if due is not None and due < now + 2 * SWEEP and not self.closed:
            self._beat.stop()
            self._beat = get_hub().loop.timer(max(due - now, 0.01))
            self._beat.start(self._tick_now)

    def _tick_now(self) -> None:
        self.tick(time.monotonic())
        self.listener.flush()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            for watcher in (self._readable, self._writable, self._beat):
                watcher.stop()
                watcher.close()
            self.sock.close()
            self.listener.gone(self)


class Listener:
    """A listening socket, its clients, and their broker.

    Args:
        sock: The listening socket.
        limits: The limits of the server.
        store: The store of all that outlives this process; closed with the listener.
        heartbeat: Seconds of silence after which a connection counts as lost.
        users: The users and their permissions. Without it every client on this machine may log in and do everything.
        allow_anonymous: Whether clients without credentials may log in from any address.
        networks: The networks that count as this machine.
        tls: The context for TLS; None for connections without TLS.
        properties: The properties in the server's open frame.
        kind: The class that serves a client.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        limits: Limits | None = None,
        store: Store | None = None,
        heartbeat: float = 30.0,
        users: UsersFile | None = None,
        allow_anonymous: bool = False,
        networks: Networks = (),
        tls: ssl.SSLContext | None = None,
        properties: dict[str, str] | None = None,
        kind: type[ServerProtocol] = ServerProtocol,
    ) -> None:
        sock.setblocking(False)
        self.limits = limits or Limits()
        journal = None if store is None else Journal()
        self.broker = Broker(self.limits, journal)
        self._writer: Writer | None = None
        if store is not None and journal is not None:
            self.broker.restore(*store.load(), time.monotonic())
            self._writer = Writer(self.broker, journal, store, self.flush)
        self._sock = sock
        self._heartbeat = heartbeat
        self._properties = properties or {}
        self.door = Logins(users, allow_anonymous, networks, self.limits)
        self._tls = tls
        # IBM's Node.js client throws if its mechanism is not offered (MQ Light contract, 1). So offer it, then refuse.
        self._mechanisms: tuple[str, ...] = ("ANONYMOUS", "PLAIN")
        if tls is not None and tls.verify_mode is ssl.CERT_REQUIRED:
            self._mechanisms += ("EXTERNAL",)
        self._kind = kind
        self._sockets: dict[ServerProtocol, ClientSocket] = {}
        self._hosts: Counter[str] = Counter()
        self._by_id: dict[str, ServerProtocol] = {}
        self._dirty: set[ServerProtocol] = set()
        self._leaving: deque[socket.socket] = deque()
        """The sockets of clients that were turned away, until they have read the refusal."""
        self._turned_away = 0
        self._acceptable = get_hub().loop.io(sock.fileno(), _READ)
        self._sweeper: Any = None
        self._alarm: Any = None
        self._alarm_at: float | None = None
        """The time at which the broker is woken for resting messages."""

    def start(self) -> None:
        self._acceptable.start(self._accept)
        self._sweeper = gevent.spawn(self._sweep)

    def client(self, client_socket: ClientSocket, address: str) -> ServerProtocol:
        client = self._kind(
            self.broker,
            address=address,
            check=lambda identity: self.door.check(client_socket, identity),
            dirty=self._dirty.add,
            named=self._named,
            heartbeat=self._heartbeat,
            limits=self.limits,
            properties=self._properties,
            mechanisms=self._mechanisms,
        )
        self._sockets[client] = client_socket
        self._hosts[client_socket.host] += 1
        return client

    def _named(self, client: ServerProtocol) -> Condition | None:
        """Take the id of a client. Close an older client of the same user with that id (MQ Light contract, 8).

        Returns:
            The reason why the client may not have the id, or None.
        """
        if not client.client_id:
            return None
        old = self._by_id.get(client.client_id)
        if old is not None and old.user.name != client.user.name:
            reason = f"not authorized: 2035 the client id {client.client_id} is in use by another user"
            return Condition("amqp:not-allowed", reason)
        self._by_id[client.client_id] = client
        if old is not None and old is not client:
            log.warning("%s takes the client id %s over from %s", client.address, client.client_id, old.address)
            reason = f"ServerContext_Takeover: {client.address} connected with the client id {client.client_id}"
            old.close(Condition("amqp:link:stolen", reason), time.monotonic())
        return None

    def gone(self, client_socket: ClientSocket) -> None:
        client = client_socket.client
        if self._sockets.pop(client, None) is not None:
            seconds, why = time.monotonic() - client_socket.since, client.ended or "it did not log in"
            log.info("%s %s (%s): gone after %.1f s: %s", client.address, client.client_id, client.user, seconds, why)
            self._hosts[client_socket.host] -= 1
            if not self._hosts[client_socket.host]:
                del self._hosts[client_socket.host]
        self._dirty.discard(client)
        if self._by_id.get(client.client_id) is client:
            del self._by_id[client.client_id]

    @property
    def connections(self) -> int:
        """The number of connected clients."""
        return len(self._sockets)

    @property
    def clients(self) -> list[ServerProtocol]:
        """The connected clients."""
        return list(self._sockets)

    def flush(self) -> None:
        """Send the output that the last event left, to all clients."""
        dirty = self._dirty
        while dirty:
            client_socket = self._sockets.get(dirty.pop())
            if client_socket is not None:
                try:
                    client_socket.flush()
                except Exception:
                    client_socket.fail(time.monotonic())
        if self._writer is not None:
            self._writer.poke()
        if self.broker.wake_at is not None:
            self._set_alarm(self.broker.wake_at)

    def _set_alarm(self, at: float) -> None:
        if self._alarm_at is None or at < self._alarm_at:
            if self._alarm is not None:
                self._alarm.kill(block=False)
            self._alarm_at = at
            self._alarm = gevent.spawn_later(max(0.0, at - time.monotonic()), self._wake)

    def _wake(self) -> None:
        self._alarm = self._alarm_at = None
        try:
            self.broker.wake(time.monotonic())
        except Exception:
            log.exception("a fault of the server while it gave out what had rested")
        self.flush()

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
        host, port = address[:2]
        excess = self._excess(host)
        if excess is None:
            ClientSocket(self, sock, host, port, self._tls)
        else:
            self._turn_away(sock, host, excess)

    def _excess(self, host: str) -> Condition | None:
        """Return the reason why there is no room for another client from an address; None if there is room."""
        limits = self.limits
        if len(self._sockets) >= limits.connections:
            return limits.reached("connections", f"the server has {len(self._sockets)} connections already")
        if self._hosts[host] >= limits.connections_per_address:
            return limits.reached("connections_per_address", f"{host} has {self._hosts[host]} connections already")
        return None

    def _turn_away(self, sock: socket.socket, host: str, excess: Condition) -> None:
        if not self._turned_away:
            log.warning("%s: no room: %s", host, excess.description)
        self._turned_away += 1
        if self._tls is None:
            try:
                sock.send(farewell(excess))
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the client has already gone
        self._leaving.append(sock)
        if len(self._leaving) > LEAVING:
            self._leaving.popleft().close()

    def _sweep(self) -> None:
        while True:
            gevent.sleep(SWEEP)
            now = time.monotonic()
            before = self.broker.expired
            try:
                self.broker.sweep(now)
            except Exception:
                log.exception("a fault of the server while it forgot what is over")
            if self.broker.expired > before:
                log.info("%d messages were dropped, their time to live is over", self.broker.expired - before)
            for client_socket in list(self._sockets.values()):
                try:
                    client_socket.tick(now)
                except Exception:
                    client_socket.fail(now)
            if self._turned_away > 1:
                log.warning("no room for %d connections", self._turned_away)
            self._turned_away = 0
            while self._leaving:
                self._leaving.popleft().close()
            self._look_at_users(now)
            self.flush()

    def _look_at_users(self, now: float) -> None:
        """Close the connections of users whose lines in the users file have changed. They have to log in again."""
        changed = self.door.changed()
        for client in [client for client in self._sockets if changed(client.user.name)]:
            log.warning("%s %s: %s has to log in again", client.address, client.client_id, client.user)
            client.close(Condition("amqp:connection:forced", "what this user may do has changed"), now)

    def close(self) -> None:
        """Close all connections and stop. A client that does not read within a second loses the rest of its output."""
        if self._sweeper is None:
            return
        self._sweeper.kill()
        self._sweeper = None
        if self._alarm is not None:
            self._alarm.kill()
        self._acceptable.stop()
        self._acceptable.close()
        self._sock.close()
        if self._writer is not None:
            self._writer.save()
        now = time.monotonic()
        for client in list(self._sockets):
            client.close(Condition("amqp:connection:forced", "the server is shutting down"), now)
        self.flush()
        while self._sockets and time.monotonic() < now + 1.0:
            gevent.sleep(0.01)
        for client_socket in list(self._sockets.values()):
            client_socket.close()
        if self._writer is not None:
            self._writer.close()
        while self._leaving:
            self._leaving.popleft().close()
