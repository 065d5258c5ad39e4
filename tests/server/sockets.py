"""A server of client sockets without a listener: real sockets in pairs, on the event loop of the test."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import gevent

from amqp.pair import End
from mqlight.server.broker import Broker
from mqlight.server.client import Client
from mqlight.server.client_socket import ClientSocket
from mqlight.server.clients import Clients
from mqlight.server.limits import Limits
from mqlight.server.permissions import EVERYTHING, User
from mqlight.server.protocol import ServerProtocol


class House:
    """The owner of the sockets."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.broker = Broker(self.limits)
        self.clients = Clients(self.limits)
        self.user = User(None, EVERYTHING)
        self.answer: User | str | None = self.user
        self.dirty: set[Client] = set()
        self.ends: list[socket.socket] = []

    def serve(self, client_socket: ClientSocket, address: str) -> ServerProtocol:
        return ServerProtocol(
            self.broker,
            address=address,
            check=lambda identity: self.answer,
            dirty=self.dirty.add,
            named=self.clients.name,
            heartbeat=30.0,
            limits=self.limits,
            properties={},
        )

    def flush(self) -> None:
        while self.dirty:
            if (client_socket := self.clients.sockets.get(self.dirty.pop())) is not None:
                client_socket.flush()

    def gone(self, client_socket: ClientSocket) -> None:
        self.clients.remove(client_socket)

    def connect(self, host: str = "127.0.0.1", client_id: str | None = None) -> tuple[ClientSocket, Peer]:
        """A client that has connected. With an id it also logs in."""
        theirs, ours = socket.socketpair()
        theirs.setblocking(False)
        ours.setblocking(False)
        self.ends.append(theirs)
        made = ClientSocket(self, ours, host, 1000 + len(self.ends), None)
        self.clients.add(made)
        peer = Peer(theirs, client_id or "")
        if client_id is not None:
            peer.until(lambda: bool(peer.end.all("open")))
        return made, peer

    def close(self) -> None:
        for client_socket in list(self.clients.sockets.values()):
            client_socket.close()
        for end in self.ends:
            end.close()


class Peer:
    """The client's end of a socket, with an engine."""

    def __init__(self, sock: socket.socket, client_id: str) -> None:
        self.sock = sock
        self.end = End(server=False, container_id=client_id)
        self.over = False
        """Whether the server has closed its sending side."""
        self.end.engine.open()

    def move(self) -> None:
        """Move the bytes that can be moved, and let the server's callbacks run."""
        self.say()
        try:
            while not self.over and (data := self.sock.recv(65536)):
                self.end.receive(data)
            self.over = True
        except BlockingIOError:
            pass

    def say(self) -> None:
        """Send what the socket takes, and let the server's callbacks run. Nothing is read."""
        try:
            while data := self.end.output():
                self.end.sent(self.sock.send(data))
        except (BlockingIOError, BrokenPipeError):
            pass
        gevent.sleep(0)

    def until(self, done: Callable[[], object]) -> None:
        deadline = time.monotonic() + 10
        while not done():
            assert time.monotonic() < deadline
            self.move()
