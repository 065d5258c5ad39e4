"""A client's protocol against a scripted server: pure, so connections come and go when a test says so."""

from __future__ import annotations

from typing import Any

from amqp.pair import End, pump
from mqlight.amqp.capabilities import ANONYMOUS_RELAY
from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Handle, Outcome
from mqlight.errors import MQLightError
from mqlight.outgoing import Outgoing
from mqlight.protocol import ClientProtocol
from mqlight.subscription import Subscription

GONE = Condition("amqp:connection:forced", "the client was stopped")
DENIED = Condition("amqp:not-allowed", "not for you")


class Application:
    """A protocol, the server that it is connected to, and what the application was told."""

    def __init__(self) -> None:
        self.states: list[tuple[bool, MQLightError | None]] = []
        self.rooms = 0
        self.wakes: list[float] = []
        self.now = 0.0
        self.outcomes: list[tuple[str, Outcome, Condition | None]] = []
        self.subscribed: list[Exception | None] = []
        self.ended: list[Exception | None] = []
        self.got: list[tuple[Subscription, Link, Handle, bytes, bool]] = []
        self.protocol = ClientProtocol(
            on_state=lambda *state: self.states.append(state), on_room=self.room, wake=self.wakes.append,
            clock=lambda: self.now,
        )  # fmt: skip
        self.server: End
        self.engine: Engine

    def room(self) -> None:
        self.rooms += 1

    def begin(self, *offered: str, **options: Any) -> End:
        """A connection whose first bytes are not sent yet."""
        self.server = End(server=True, offered=offered, **options)
        self.engine = Engine(self.protocol, server=False, container_id="c")
        self.protocol.begin(self.engine)
        return self.server

    def connect(self, *offered: str, **options: Any) -> End:
        self.begin(*(offered or (ANONYMOUS_RELAY,)), **options)
        self.pump()
        return self.server

    def pump(self) -> None:
        pump(self.engine, self.server)

    def disconnect(self) -> None:
        self.engine.end_of_input()
        self.protocol.end()

    def send(self, body: str, topic: str = "t", *, settled: bool = False, mandatory: bool = False) -> None:
        def told(outcome: Outcome, condition: Condition | None) -> None:
            self.outcomes.append((body, outcome, condition))

        self.protocol.senders.send(Outgoing(topic, body.encode(), settled, mandatory, told))

    def answer(self, outcome: Outcome = Outcome.ACCEPTED, condition: Condition | None = None) -> None:
        """The server settles every message that it holds."""
        for link, handle, *_ in self.server.all("message"):
            link.settle(handle, outcome, condition)
        self.pump()

    def subscribe(self, pattern: str = "t", share: str | None = None, **options: Any) -> Subscription:
        options = {"qos": 1, "ttl": 0, "credit": 8, **options}

        def on_message(link: Link, handle: Handle, data: bytes, settled: bool) -> None:
            self.got.append((subscription, link, handle, data, settled))

        subscription = Subscription(
            pattern, share, on_message=on_message, on_subscribed=self.subscribed.append, **options
        )
        self.protocol.subscriptions.subscribe(subscription)
        return subscription

    def settle(self, place: int = 0, outcome: Outcome | None = Outcome.ACCEPTED) -> bool:
        subscription, link, handle, *_ = self.got[place]
        return subscription.settle(link, handle, outcome, None)

    def links(self, *, receiving: bool) -> list[Link]:
        """The server's ends of the links that the client receives, or else sends, on."""
        return [link for link in self.server.engine.links() if link.receiver is not receiving]

    def give(self, *bodies: str, place: int = 0, settled: bool = False) -> None:
        """The server sends on a link that the client receives on."""
        link = self.links(receiving=True)[place]
        for body in bodies:
            link.send(body.encode(), body, settled)
        self.pump()

    @property
    def told(self) -> list[tuple[str, Outcome]]:
        return [(body, outcome) for body, outcome, _ in self.outcomes]

    @property
    def counts(self) -> tuple[int, int]:
        return self.protocol.senders.outstanding, self.protocol.senders.waiting
