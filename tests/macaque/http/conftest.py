"""A broker inside of the process, a transport of it, and a sender of messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from macaque.http.local import LocalBroker, LocalTransport
from mqlight.amqp.message import Message, encode
from mqlight.amqp.types import Condition, Outcome


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    broker = LocalBroker()
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def transport(broker: LocalBroker) -> Iterator[LocalTransport]:
    transport = LocalTransport(broker, None, "me")
    transport.start()
    yield transport
    transport.stop(0.0)


class Sender:
    """Sends messages, and keeps their outcomes."""

    def __init__(self, transport: LocalTransport) -> None:
        self.outcomes: list[tuple[Outcome, Condition | None]] = []
        self._transport = transport

    def __call__(self, topic: str, body: str = "", **fields: Any) -> None:
        message = encode(Message(body=body, to=topic, **fields))
        self._transport.publish(topic, message, mandatory=True, on_outcome=lambda *told: self.outcomes.append(told))

    @property
    def told(self) -> list[Outcome]:
        return [outcome for outcome, _ in self.outcomes]


@pytest.fixture
def send(transport: LocalTransport) -> Sender:
    return Sender(transport)
