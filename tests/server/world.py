"""A broker, its clients and the time, all in the hands of a test; and the store of one whose messages outlive it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mqlight.amqp.types import Condition, Outcome
from mqlight.server.broker import Broker, Limits
from mqlight.server.destination import Consumer, DestinationName
from mqlight.server.journal import Journal
from mqlight.server.publication import Publication
from mqlight.server.queued import Queued
from mqlight.server.store import Store, WriteError

ACCEPTED = (Outcome.ACCEPTED, None)


def message(body: str = "m", topic: str = "t", *, ttl: int | None = None, **options: int) -> Publication:
    """Return a publication; ``ttl`` in ms."""
    return Publication(topic, ttl, bool(options.get("durable")), options.get("count", 0), 4, body.encode())


@dataclass
class Client:
    """A consumer that keeps what it is given until it settles it."""

    world: World
    name: DestinationName
    at_most_once: bool = False
    got: list[str] = field(default_factory=list)
    held: list[Queued] = field(default_factory=list)
    consumer: Consumer = field(init=False)

    def deliver(self, message: Queued, now: float) -> None:
        self.got.append(message.rest.decode())
        if not self.at_most_once:
            self.held.append(message)

    def credit(self, credit: int) -> Client:
        self.world.broker.give_credit(self.consumer, credit, self.world.now)
        return self

    def settle(self, outcome: Outcome = Outcome.ACCEPTED, place: int = 0) -> None:
        self.world.broker.settle(self.consumer, self.held.pop(place), outcome, self.world.now)

    def leave(self, *, forget: bool = False) -> None:
        held, self.held = self.held, []
        self.world.broker.unsubscribe(self.consumer, held, self.world.now, forget=forget)


class World:
    """A broker, and the time."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.broker = Broker(self.limits)
        self.now = 1000.0

    def publish(self, *bodies: str, topic: str = "t", ttl: int | None = None) -> tuple[Outcome, Condition | None]:
        for body in bodies or ("m",):
            outcome = self.broker.publish(message(body, topic, ttl=ttl), self.now)
        return outcome

    def listen(
        self,
        pattern: str = "t",
        share: str | None = None,
        *,
        client: str = "c",
        ttl: float = 0.0,
        credit: int = 0,
        at_most_once: bool = False,
    ) -> Client:
        name = DestinationName(pattern, share=share) if share else DestinationName(pattern, client_id=client)
        client_ = Client(self, name, at_most_once)
        client_.consumer = self.broker.subscribe(name, ttl, client_.deliver, at_most_once=at_most_once)
        return client_.credit(credit) if credit else client_

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.broker.sweep(self.now)

    def waiting(self, pattern: str = "t") -> list[str]:
        """The bodies that wait in the destinations of that pattern."""
        return [
            queued.rest.decode()
            for name, destination in self.broker.destinations.items()
            if name.pattern == pattern
            for queued in destination.waiting()
        ]


class DurableWorld(World):
    """A broker with a store, in a folder or in memory. What its senders are told is in ``safe`` and ``refused``."""

    def __init__(self, folder: Path | None = None, limits: Limits | None = None) -> None:
        super().__init__(limits)
        self.folder = folder
        self.started = self.now
        self.store = self.open()
        self.begin()

    def open(self) -> Store:
        return Store(self.folder, offset=lambda: 1_000_000.0 + self.started)

    def begin(self) -> None:
        """A process begins with what the last one committed."""
        self.journal = Journal()
        self.broker = Broker(self.limits, self.journal)
        self.safe: list[str] = []
        self.refused: dict[str, Condition] = {}
        self.broker.restore(*self.store.load(), self.now)

    def crash(self, down: float = 0.0) -> None:
        """The process ends in the middle of things, and another one begins ``down`` seconds later."""
        self.started += self.now + down  # its clock begins at 0
        self.now = 0.0
        if self.folder is not None:
            self.store.close()
            self.store = self.open()
        self.begin()

    def send(self, *bodies: str, topic: str = "t", ttl: int | None = None, **options: int) -> Outcome | None:
        """Publish messages whose senders want to know; returns the last outcome."""
        outcome: Outcome | None = None
        for body in bodies or ("m",):
            tell = partial(self.told, body)
            outcome, condition = self.broker.publish(message(body, topic, ttl=ttl, **options), self.now, tell)
            if outcome is not None:
                self.told(body, condition)
        return outcome

    def told(self, body: str, condition: Condition | None) -> None:
        assert body not in self.safe and body not in self.refused, "told twice"
        if condition is None:
            self.safe.append(body)
        else:
            self.refused[body] = condition

    def commit(self) -> None:
        """Write all there is."""
        batch = self.journal.take(math.inf)
        try:
            self.store.write(batch)
            self.store.commit()
        except WriteError as error:
            self.broker.not_written(batch, str(error))
        else:
            self.broker.written(batch)

    def destinations(self) -> list[str]:
        return [str(name) for name in self.broker.destinations]
