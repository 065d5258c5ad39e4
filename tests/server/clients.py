"""A server without sockets, and real engines as its clients."""

from __future__ import annotations

from typing import Any

from amqp.pair import End
from mqlight.amqp.link import Link
from mqlight.amqp.message import Message, decode, encode
from mqlight.amqp.types import Condition, Outcome, Terminus
from mqlight.server.broker import Broker, Limits
from mqlight.server.client import Client as ServedClient
from mqlight.server.permissions import EVERYTHING, Permissions, User
from mqlight.server.protocol import ServerProtocol
from mqlight.server.sasl import Identity


class Client(End):
    """A client's engine and the server's end of its connection."""

    def __init__(self, server: Server, client_id: str, **options: Any) -> None:
        super().__init__(server=False, container_id=client_id, **options)
        self.home = server
        self.connection = ServerProtocol(
            server.broker,
            address=f"{client_id}:1",
            check=server.check,
            dirty=server.dirty.add,
            named=server.name,
            heartbeat=2.0,
            limits=server.limits,
            properties={"product": "p"},
        )

    def send(self, link: Link, message: Message | bytes, token: object = None, *, settled: bool = False) -> None:
        data = message if isinstance(message, bytes) else encode(message)
        link.send(data, token, settled)
        self.home.run()

    def publisher(self, topic: str | None, *capabilities: str) -> Link:
        link = self.engine.attach_sender(f"to {topic}", Terminus(topic, capabilities=capabilities))
        self.home.run()
        return link

    def listen(self, address: str, *, credit: int = 100, ttl: int = 0, at_most_once: bool = False) -> Link:
        link = self.engine.attach_receiver(address, Terminus(address, timeout=ttl), at_most_once=at_most_once)
        if credit:
            link.flow(credit)
        self.home.run()
        return link

    def settle(self, place: int = 0, outcome: Outcome = Outcome.ACCEPTED) -> None:
        link, handle, *_ = self.all("message")[place]
        assert link.settle(handle, outcome, None)
        self.home.run()

    @property
    def bodies(self) -> list[Any]:
        return [decode(data).body for data in self.messages]

    @property
    def received(self) -> list[Message]:
        return [decode(data) for data in self.messages]


class Server:
    """A broker with its clients, and what their connections report."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits(queue_messages=5000, message_size=10_000)
        self.broker = Broker(self.limits)
        self.refusal: Condition | None = None
        self.now = 1000.0
        self.clients: list[Client] = []
        self.dirty: set[ServedClient] = set()
        self.named: list[ServedClient] = []
        self.user = User(None, EVERYTHING)

    def check(self, identity: Identity) -> User | str | None:
        return self.user if identity.password in (None, "right") else "not in the users file"

    def name(self, client: ServedClient) -> Condition | None:
        self.named.append(client)
        return self.refusal

    def client(self, client_id: str = "c", **options: Any) -> Client:
        client = Client(self, client_id, **options)
        self.clients.append(client)
        client.engine.open()
        self.run()
        return client

    def cut(self, client: Client) -> None:
        """The client's socket breaks."""
        self.clients.remove(client)
        client.connection.end_of_input(self.now)

    def run(self) -> None:
        """Move bytes until everybody is silent."""
        for _ in range(1000):
            moved = False
            for client in self.clients:
                while data := client.output():
                    client.sent(len(data))
                    client.connection.receive(data, self.now)
                    moved = True
                while data := client.connection.output():
                    assert client.connection.client in self.dirty, "there is output, and nobody was told"
                    client.connection.sent(len(data))
                    client.receive(data)
                    moved = True
                self.dirty.discard(client.connection.client)
            if not moved:
                return
        raise AssertionError("they never fall silent")


def text(body: str, topic: str | None = None, **fields: Any) -> Message:
    return Message(body=body, to=topic, **fields)


def listen_anywhere(client: Client) -> Link:
    """Attach to a topic whose name is for the server to make."""
    link = client.engine.attach_receiver("r", Terminus(None, dynamic=True), at_most_once=False)
    link.flow(10)
    client.home.run()
    return link


def restricted(server: Server, **permissions: tuple[str, ...]) -> Client:
    """A client whose user may do only so much."""
    server.user = User("fish", Permissions(**permissions))
    return server.client()
