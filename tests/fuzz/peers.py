"""Peers that get the fuzzer's bytes: an engine's owner, the server with its broker, a client's session.

Each is a promise in code: the connection ends once, nothing is heard after its end, each outcome and each detach is
told once, what goes out is bounded, and nobody else notices.
"""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

from amqp.pair import End, pump
from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.message import Message, encode
from mqlight.amqp.types import Condition, Handle, Outcome, Peer, Terminus
from mqlight.outgoing import Outgoing
from mqlight.protocol import ClientProtocol
from mqlight.server.broker import Broker
from mqlight.server.limits import Limits
from mqlight.server.permissions import EVERYTHING, User
from mqlight.server.protocol import ServerProtocol
from mqlight.subscription import Subscription

MOST_OUT = 4_000_000
"""Bytes: the most that a few thousand bytes of input may make an end say."""
DENIED = Condition("amqp:not-allowed", "not for you")


class Host:
    """The owner of an engine who does all that an owner may, whenever chance says so."""

    def __init__(self, *, server: bool, random: Random) -> None:
        self.random = random
        self.over = False
        self.held: list[tuple[Link, Handle]] = []
        self.waiting: set[object] = set()
        self.gone: set[Link] = set()
        self.now = 0.0
        self.said = 0
        self.server = server
        self.engine = Engine(self, server=server, container_id="h", heartbeat=5.0, max_message_size=2000)
        if not server:
            self.engine.open()
            self.engine.attach_sender("a", Terminus("t", capabilities=("x",)))
            self.engine.attach_receiver("b", Terminus("private:t", timeout=1), at_most_once=False).flow(10)

    def speak(self) -> None:
        """Send what there is to send."""
        while output := self.engine.output():
            self.said += len(output)
            assert self.said < MOST_OUT, "there is no end to what it says"
            self.engine.sent(self.random.choice((len(output), 1 + len(output) // 2)))

    def act(self) -> None:
        """Do something on one's own account."""
        chance = self.random.randrange(24)
        links = self.engine.links()
        link = self.random.choice(links) if links else None
        if chance == 0:
            self.now += self.random.choice((0.1, 3.0))
            self.engine.tick(self.now)
        elif chance == 1:
            self.engine.attach_sender("a", Terminus("t"), at_most_once=True)
        elif chance == 2:
            self.engine.attach_receiver("b", Terminus("private:t"), at_most_once=False).flow(3)
        elif chance < 8:
            self.settle()
        elif link is None:
            return
        elif chance == 8 and not link.refused:
            link.detach(closed=self.random.random() < 0.5, condition=self.random.choice((None, DENIED)))
        elif link.receiver and chance < 14:
            link.flow(self.random.choice((1, 10, 1000)))
        elif link.receiver and chance == 14:
            link.stop_flow()
        elif not link.receiver and chance == 15:
            link.drain_answered()
        elif not link.receiver and link.credit:
            for _ in range(min(link.credit, 3)):
                token = object()
                settled = self.random.random() < 0.3
                if not settled:
                    self.waiting.add(token)
                link.send(bytes(self.random.choice((0, 1, 100, 3000))), token, settled)

    def settle(self) -> None:
        if self.held:
            link, handle = self.held.pop(self.random.randrange(len(self.held)))
            condition = DENIED if self.random.random() < 0.3 else None
            link.settle(handle, self.random.choice(list(Outcome)), condition)

    def on_open(self, peer: Peer) -> None:
        assert not self.over and isinstance(peer.container_id, str) and isinstance(peer.properties, dict)
        if self.server:
            self.engine.open()

    def on_attach(self, link: Link) -> None:
        assert not self.over and link not in self.gone and isinstance(link.name, str)
        assert link.source.address is None or isinstance(link.source.address, str)
        assert link.settles_at_once in (True, False)
        if not link.local:
            if self.random.random() < 0.1:
                link.refuse(DENIED)
            else:
                link.accept()
                if link.receiver:
                    link.flow(self.random.choice((0, 1, 100)))

    def on_detach(self, link: Link, closed: bool, condition: Condition | None) -> None:
        assert not self.over and link not in self.gone
        self.gone.add(link)
        self.waiting.difference_update(link.unsettled.values())

    def on_credit(self, link: Link) -> None:
        assert not self.over and link not in self.gone and link.credit >= 0

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        assert not self.over and link not in self.gone and link.receiver and type(data) is bytes
        assert len(data) <= 2000
        if not settled:
            self.held.append((link, handle))

    def on_received(self, link: Link, token: Any) -> None:
        """Nothing."""

    def on_outcomes(self, link: Link, tokens: list[Any], outcome: Outcome, condition: Condition | None) -> None:
        assert not self.over and link not in self.gone
        for token in tokens:
            self.waiting.remove(token)

    def on_close(self, condition: Condition | None) -> None:
        assert not self.over
        self.over = True


def hear(host: Host, pieces: list[bytes]) -> None:
    """The peer says ``pieces``, then its socket ends."""
    for piece in pieces:
        host.engine.receive(piece)
        if host.random.random() < 0.7 and not host.over:
            host.act()
        if host.random.random() < 0.7:
            host.speak()
    host.engine.tick(host.now + 1.0)
    if host.random.random() < 0.3:
        host.engine.close(host.random.choice((None, DENIED)))
    host.speak()
    host.engine.end_of_input()
    host.speak()
    assert host.over and host.engine.closed
    assert host.engine.output() == b""


class Honest(End):
    """A client that knows how to behave, connected to a broker of its own."""

    def __init__(self) -> None:
        super().__init__(server=False, container_id="honest")
        self.broker = Broker(Limits(queue_messages=1000, queue_bytes=1_000_000))
        self.connection = connect(self.broker)
        self.engine.open()
        pump(self, Door(self.connection))
        self.sender = self.engine.attach_sender("s", Terminus("honest/topic"))
        self.listener = self.engine.attach_receiver("r", Terminus("private:honest/topic"), at_most_once=False)
        self.listener.flow(10)
        pump(self, Door(self.connection))

    def is_served(self) -> None:
        """A message to oneself goes through."""
        before = len(self.messages)
        self.sender.send(HELLO, "token")
        pump(self, Door(self.connection))
        assert len(self.messages) > before and self.outcomes[-1] == ("token", Outcome.ACCEPTED)
        for link, handle, *_ in self.all("message"):
            link.settle(handle, Outcome.ACCEPTED)
        self.listener.flow(10 - self.listener.credit)
        self.heard.clear()
        pump(self, Door(self.connection))


neighbour = cache(Honest)
"""One for all inputs: whatever was said to the server before, it serves this client."""
HELLO = encode(Message(body="hello"))


class Door:
    """The server's end of a connection as amqp.pair.pump wants it."""

    def __init__(self, connection: ServerProtocol) -> None:
        self.output = connection.output
        self.sent = connection.sent
        self._connection = connection

    def receive(self, data: bytes) -> None:
        self._connection.receive(data, 0.0)


def connect(broker: Broker) -> ServerProtocol:
    return ServerProtocol(
        broker,
        address="127.0.0.1:1",
        check=lambda identity: User(None, EVERYTHING) if identity.password in (None, "right") else "wrong password",
        dirty=lambda connection: None,
        named=lambda connection: None,
        heartbeat=5.0,
        limits=Limits(message_size=2000),
        properties={"product": "p"},
    )


def serve(pieces: list[bytes], random: Random) -> None:
    """The server hears ``pieces`` from one client, goes on serving another, and forgets all of the first."""
    honest = neighbour()
    broker = honest.broker
    connection = connect(broker)
    now = 0.0
    said = 0
    for piece in pieces:
        if connection.closed:
            break
        connection.receive(piece, now)
        now += random.choice((0.0, 0.0, 0.5))
        if random.random() < 0.3:
            connection.tick(now)
            broker.sweep(now)
        if random.random() < 0.02:
            connection.close(DENIED, now)
        while random.random() < 0.9 and (output := connection.output()):
            said += len(output)
            assert said < MOST_OUT, "there is no end to what it says"
            connection.sent(len(output))
    pump(honest, Door(honest.connection))
    honest.is_served()
    connection.end_of_input(now)
    engine: Engine | None = getattr(connection, "engine", None)  # who has not logged in has none
    assert connection.closed and (engine is None or engine.closed)
    honest.is_served()
    broker.sweep(now + 1e9)
    assert [str(name) for name in broker.destinations] == ["private:honest/topic"]
    (left,) = broker.destinations.values()
    assert len(left.consumers) == 1 and not left.queue and not left.consumers[0].holds


class Application:
    """A client's application: it has messages to send and listens to topics."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.protocol = ClientProtocol(on_state=lambda connected, error: None, on_room=lambda: None)
        self.engine = Engine(self.protocol, server=False, container_id="c", heartbeat=5.0)
        self.outcomes: list[int] = []
        self.held: list[tuple[Subscription, Link, Handle, bool]] = []
        self.subscriptions = [self.subscribe(qos, credit) for qos, credit in ((1, 10), (0, 3))]
        self.sent = 0
        for _ in range(3):
            self.send()

    def subscribe(self, qos: int, credit: int) -> Subscription:
        def on_message(link: Link, handle: Handle, data: bytes, settled: bool) -> None:
            self.held.append((subscription, link, handle, settled))

        subscription = Subscription(
            f"q{qos}", None, qos=qos, ttl=0, credit=credit, on_message=on_message, on_subscribed=lambda error: None
        )
        self.protocol.subscriptions.subscribe(subscription)
        return subscription

    def send(self) -> None:
        number = self.sent
        self.sent += 1
        settled, mandatory = number % 3 == 0, number % 2 == 0

        def told(outcome: Outcome, condition: Condition | None) -> None:
            self.outcomes.append(number)

        self.protocol.senders.send(Outgoing("ab"[number % 2], HELLO, settled, mandatory, told))

    def act(self) -> None:
        chance = self.random.randrange(12)
        if chance < 3:
            self.send()
        elif chance < 7 and self.held:
            subscription, link, handle, settled = self.held.pop()
            subscription.settle(link, handle, None if settled else Outcome.ACCEPTED, None)
        elif chance == 7 and self.subscriptions:
            self.protocol.subscriptions.unsubscribe(
                self.subscriptions.pop(), forget=self.random.random() < 0.5, on_ended=None
            )
        elif chance == 8:
            self.protocol.subscriptions.pause()


def session_of(application: Application, pieces: list[bytes]) -> None:
    """The server says ``pieces``; then the connection is over, and so is every message."""
    engine, protocol, random = application.engine, application.protocol, application.random
    protocol.begin(engine)
    said = 0
    for piece in [b"", *pieces]:
        engine.receive(piece)
        if engine.closed:
            break
        if random.random() < 0.5:
            application.act()
        while random.random() < 0.9 and (output := engine.output()):
            said += len(output)
            assert said < MOST_OUT, "there is no end to what it says"
            engine.sent(len(output))
    engine.end_of_input()
    protocol.give_up(DENIED)
    assert sorted(application.outcomes) == list(range(application.sent)), "an outcome is told once"
    assert protocol.senders.outstanding == 0 and protocol.senders.waiting == 0 and protocol.subscriptions.holds == 0
