"""Each test here runs on every broker that there is."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

import macaque
from real_brokers import KINDS, NAMES, Broker


@pytest.fixture(scope="package", params=NAMES)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    broker = KINDS[request.param]()
    yield broker
    broker.close()


@pytest.fixture
def broker_url(broker: Broker) -> str:
    return broker.url


@pytest.fixture
def topic() -> str:
    """A topic that no other test has used, nor will."""
    return f"brokers/{uuid.uuid4().hex[:12]}"


@pytest.fixture
def client(broker_url: str) -> Iterator[macaque.Client]:
    with macaque.Client(broker=broker_url, timeout=20.0) as client:
        client.connect()
        yield client


@pytest.fixture
def app(broker_url: str) -> Iterator[macaque.Server]:
    app = macaque.Server(broker=broker_url)
    yield app
    app.close()
