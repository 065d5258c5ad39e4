from __future__ import annotations

from collections.abc import Iterator

import pytest

import macaque
from macaque.gateway import services
from macaque.gateway.services import Services
from macaque.observe.info import ServiceInfo
from processes import Server, wait_until


@pytest.fixture
def told(shared_server: Server) -> Iterator[macaque.Server]:
    """A server that tells of a safe service, an unsafe one, one that streams, and one with a pattern."""
    app = macaque.Server(broker=shared_server.url)
    app.service("told/safe", safe=True)(lambda data: data)
    app.service("told/unsafe")(lambda data: data)
    app.service("told/wild/+", safe=True)(lambda data: data)

    @app.service("told/stream")
    def stream(data: object) -> Iterator[int]:
        yield 1

    with app:
        yield app


def test_services_are_known_after_a_look(client: macaque.Client, told: macaque.Server) -> None:
    def found() -> Services | None:
        known = Services(client)
        known.look("told/safe")
        return known if known.find("told/safe") else None

    known = wait_until(found)
    assert known.client() is client
    flags = {info.topic: (info.safe, info.streams) for info in known.all() if info.topic.startswith("told/")}
    assert flags == {
        "told/safe": (True, False),
        "told/unsafe": (False, False),
        "told/wild/+": (True, False),
        "told/stream": (False, True),
    }
    wild = known.find("told/wild/x")
    assert wild is not None and wild.topic == "told/wild/+"
    assert known.find("told/other") is None


def test_a_service_is_safe_only_if_all_servers_say_so(
    client: macaque.Client, told: macaque.Server, shared_server: Server
) -> None:
    other = macaque.Server(broker=shared_server.url)
    other.service("told/safe", share_id="other")(lambda data: data)
    with other:

        def is_unsafe() -> bool:
            known = Services(client)
            known.look("told/safe")
            info = known.find("told/safe")
            return info is not None and not info.safe

        wait_until(is_unsafe, what="the answers of both servers")


def test_servers_are_not_asked_again_and_again(
    client: macaque.Client, told: macaque.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    real = services.ask

    def count(*args: object) -> object:
        asked.append(args)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(services, "ask", count)
    known = Services(client)
    for _ in range(5):
        known.look("told/missing")
        known.find("told/safe")
    assert len(asked) == 1


def test_without_a_broker_the_last_answers_stay(nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with macaque.Client(nowhere, timeout=0.1) as client:
        known = Services(client)
        known._keep([ServiceInfo(topic="a", safe=True)])
        known.look("b")
        assert known.find("a") is not None and known.find("b") is None
        for _ in range(2):
            with pytest.raises(macaque.ConnectionLost):
                known.client()
