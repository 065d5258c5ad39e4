"""The listening socket: accepts connections, and lets time pass for them, on gevent's event loop.

All code here runs as callbacks of one loop and never waits, so it needs no lock. The messages of one read are answered
by one write per client.
"""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import time
from collections import deque
from typing import Any

import gevent
from gevent import get_hub

from mqlight.amqp.types import Condition
from mqlight.server.access import Networks, is_loopback
from mqlight.server.broker import Broker
from mqlight.server.client import Client
from mqlight.server.client_socket import SWEEP, ClientSocket
from mqlight.server.clients import Clients
from mqlight.server.grants import Grants
from mqlight.server.journal import Journal
from mqlight.server.limits import Limits
from mqlight.server.login import Logins
from mqlight.server.protocol import ServerProtocol
from mqlight.server.sasl import farewell
from mqlight.server.store import Store
from mqlight.server.users import UsersFile
from mqlight.server.writer import Writer

log = logging.getLogger(__name__)

_READ = 1
LEAVING = 100
"""The most clients without room that may still read the server's refusal."""


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
        grants: The class that decides on the links of a client.
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
        grants: type[Grants] = Grants,
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
        self._console: dict[str, str] = {}
        self.logins = Logins(users, allow_anonymous, networks, self.limits)
        self._tls = tls
        # IBM's Node.js client throws if its mechanism is not offered (MQ Light contract, 1). So offer it, then refuse.
        self._mechanisms: tuple[str, ...] = ("ANONYMOUS", "PLAIN")
        if tls is not None and tls.verify_mode is ssl.CERT_REQUIRED:
            self._mechanisms += ("EXTERNAL",)
        self._grants = grants
        self._clients = Clients(self.limits)
        self._dirty: set[Client] = set()
        self._leaving: deque[socket.socket] = deque()
        """The sockets of clients that were turned away, until they have read the refusal."""
        self._turned_away = 0
        self._acceptable = get_hub().loop.io(sock.fileno(), _READ)
        self._sweeper: Any = None
        self._alarm: Any = None
        self._alarm_at: float | None = None
        """The time at which the broker is woken for resting messages."""

    def tell_console(self, url: str) -> None:
        """Tell the console's address to later clients of this machine, in the open frame."""
        self._console = {"console": url}

    def start(self) -> None:
        self._acceptable.start(self._accept)
        self._sweeper = gevent.spawn(self._sweep)

    def serve(self, client_socket: ClientSocket, address: str) -> ServerProtocol:
        """Return the protocol for a new client."""
        return ServerProtocol(
            self.broker,
            address=address,
            check=lambda identity: self.logins.check(client_socket, identity),
            dirty=self._dirty.add,
            named=self._clients.name,
            heartbeat=self._heartbeat,
            limits=self.limits,
            properties=self._console | self._properties if is_loopback(client_socket.host) else self._properties,
            mechanisms=self._mechanisms,
            grants=self._grants,
        )

    def gone(self, client_socket: ClientSocket) -> None:
        """Note that a client's socket is closed."""
        self._clients.remove(client_socket)
        self._dirty.discard(client_socket.client)

    @property
    def connections(self) -> int:
        """The number of connected clients."""
        return len(self._clients.sockets)

    @property
    def clients(self) -> list[Client]:
        """The connected clients."""
        return list(self._clients.sockets)

    def flush(self) -> None:
        """Send the output that the last event left, to all clients."""
        dirty, sockets = self._dirty, self._clients.sockets
        while dirty:
            client_socket = sockets.get(dirty.pop())
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
            log.exception("a fault of the server while it gave out messages that had rested")
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
        excess = self._clients.excess(host)
        if excess is None:
            self._clients.add(ClientSocket(self, sock, host, port, self._tls))
        else:
            self._turn_away(sock, host, excess)

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
                log.exception("a fault of the server while it dropped expired messages")
            if self.broker.expired > before:
                log.info("%d messages were dropped, their time to live is over", self.broker.expired - before)
            for client_socket in list(self._clients.sockets.values()):
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
        changed = self.logins.changed()
        for client, client_socket in list(self._clients.sockets.items()):
            if changed(client.user.name):
                log.warning("%s: %s has to log in again", client, client.user)
                client_socket.protocol.close(
                    Condition("amqp:connection:forced", "what this user may do has changed"), now
                )

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
        sockets = self._clients.sockets
        for client_socket in list(sockets.values()):
            client_socket.protocol.close(Condition("amqp:connection:forced", "the server is shutting down"), now)
        self.flush()
        while sockets and time.monotonic() < now + 1.0:
            gevent.sleep(0.01)
        for client_socket in list(sockets.values()):
            client_socket.close()
        if self._writer is not None:
            self._writer.close()
        while self._leaving:
            self._leaving.popleft().close()
