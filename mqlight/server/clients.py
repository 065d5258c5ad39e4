"""The connected clients, found by socket, by address and by client id."""

from __future__ import annotations

import logging
import time
from collections import Counter

from mqlight.amqp.types import Condition
from mqlight.server.client import Client
from mqlight.server.client_socket import ClientSocket
from mqlight.server.limits import Limits

log = logging.getLogger(__name__)


class Clients:
    """The connected clients of a server."""

    def __init__(self, limits: Limits) -> None:
        self.sockets: dict[Client, ClientSocket] = {}
        self._limits = limits
        self._hosts: Counter[str] = Counter()
        self._by_id: dict[str, ClientSocket] = {}

    def excess(self, host: str) -> Condition | None:
        """Return the reason why there is no room for another client from an address; None if there is room."""
        limits = self._limits
        if len(self.sockets) >= limits.connections:
            return limits.reached("connections", f"the server has {len(self.sockets)} connections already")
        if self._hosts[host] >= limits.connections_per_address:
            return limits.reached("connections_per_address", f"{host} has {self._hosts[host]} connections already")
        return None

    def add(self, client_socket: ClientSocket) -> None:
        """Add a client that has connected."""
        self.sockets[client_socket.client] = client_socket
        self._hosts[client_socket.host] += 1

    def name(self, client: Client) -> Condition | None:
        """Take the id of a client. Close an older client of the same user with that id (MQ Light contract, 8).

        Returns:
            The reason why the client may not have the id, or None.
        """
        name = client.client_id
        if not name:
            return None
        old = self._by_id.get(name)
        if old is not None and old.client.user.name != client.user.name:
            reason = f"not authorized: 2035 the client id {name} is in use by another user"
            return Condition("amqp:not-allowed", reason)
        self._by_id[name] = self.sockets[client]
        if old is not None and old.client is not client:
            log.warning("%s takes the client id %s over from %s", client.address, name, old.client.address)
            reason = f"ServerContext_Takeover: {client.address} connected with the client id {name}"
            old.protocol.close(Condition("amqp:link:stolen", reason), time.monotonic())
        return None

    def remove(self, client_socket: ClientSocket) -> None:
        """Remove a client whose socket is closed."""
        client, host = client_socket.client, client_socket.host
        if self.sockets.pop(client, None) is not None:
            seconds = time.monotonic() - client_socket.since
            why = client_socket.protocol.ended or "it did not log in"
            log.info("%s (%s): gone after %.1f s: %s", client, client.user, seconds, why)
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]
        if self._by_id.get(client.client_id) is client_socket:
            del self._by_id[client.client_id]
