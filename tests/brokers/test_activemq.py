"""ActiveMQ Classic, which is spoken to in plain AMQP 1.0: what services need of it, and what it cannot do."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

import macaque


@pytest.fixture
def url() -> str:
    url = os.environ.get("MACAQUE_TEST_ACTIVEMQ")
    if not url:
        pytest.skip("MACAQUE_TEST_ACTIVEMQ names no broker: export MACAQUE_TEST_ACTIVEMQ=$(scripts/activemq start)")
    return url


@pytest.fixture
def topic() -> str:
    """A topic that no other test uses."""
    return f"brokers/{uuid.uuid4().hex[:12]}"


@pytest.fixture
def client(url: str) -> Iterator[macaque.Client]:
    with macaque.Client(broker=url, timeout=20.0) as client:
        yield client


def test_calls_are_answered_with_results_and_errors(url: str, topic: str, client: macaque.Client) -> None:
    app = macaque.Server(broker=url)

    @app.service(topic, share_id="w")
    def serve(data: Any) -> Any:
        if data == "refuse":
            macaque.abort(404, "no such thing")
        return data

    with app:
        calls = [client.call(topic, number) for number in range(50)]
        assert [call.result() for call in calls] == list(range(50))
        assert client.call(topic, "é" * 100_000).result() == "é" * 100_000
        with pytest.raises(macaque.RemoteError, match="no such thing"):
            client.call(topic, "refuse").result()


def test_requests_of_a_share_are_divided_and_wait_while_nobody_serves(
    url: str, topic: str, client: macaque.Client
) -> None:
    seen: list[list[int]] = [[], []]
    calls = [client.call(topic, number) for number in range(20)]
    apps = [macaque.Server(broker=url) for _ in seen]
    for app, mine in zip(apps, seen, strict=True):
        app.service(topic, share_id="w", credit=1)(mine.append)
    with apps[0], apps[1]:
        for call in calls:
            call.result()
    assert sorted(seen[0] + seen[1]) == list(range(20))


def test_a_topic_without_a_service_is_a_timeout(client: macaque.Client, topic: str) -> None:
    with pytest.raises(macaque.Timeout):
        client.call(topic, 1, timeout=1.0).result()


def test_a_pattern_is_refused_with_what_would_do(url: str) -> None:
    app = macaque.Server(broker=url)
    app.service("brokers/+", share_id="w")(lambda data: data)
    with pytest.raises(Exception, match="no wildcards"):
        app.connect()
    app.close()
