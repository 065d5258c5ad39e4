"""`with client.batch()`: the calls of one thread leave together, and none of them stays behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import macaque
from mqlight.outlet import BATCH
from processes import Server


class Counting:
    """Counts how often a client has sent something."""

    def __init__(self, client: macaque.Client, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent = 0
        flush_soon = client._connection._outlet.flush_soon

        def counted() -> None:
            self.sent += 1
            flush_soon()

        monkeypatch.setattr(client._connection._outlet, "flush_soon", counted)


@pytest.fixture
def client(server: Server) -> Iterator[macaque.Client]:
    app = macaque.Server(server.url)

    @app.service("batch/upper", share_id="batch")
    def upper(data: str) -> str:
        return data.upper()

    with app, macaque.Client(server.url) as client:
        client.call("batch/upper", "ready").result()
        yield client


def test_calls_of_a_batch_leave_together_and_all_are_answered(
    client: macaque.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(client, monkeypatch)
    with client.batch():
        with client.batch():
            calls = [client.call("batch/upper", f"word{number}") for number in range(BATCH - 1)]
        assert counting.sent == 0
    assert counting.sent >= 1
    assert [call.result() for call in calls] == [f"WORD{number}" for number in range(BATCH - 1)]


def test_a_batch_holds_back_no_more_than_its_bound(client: macaque.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(client, monkeypatch)
    with client.batch():
        calls = [client.call("batch/upper", "x") for _ in range(BATCH)]
        assert counting.sent >= 1
    assert {call.result() for call in calls} == {"X"}


def test_a_result_can_be_waited_for_within_a_batch(client: macaque.Client) -> None:
    with client.batch():
        assert client.call("batch/upper", "fish", timeout=5).result() == "FISH"


def test_an_exception_in_the_block_keeps_no_call_back(client: macaque.Client) -> None:
    calls = []
    with pytest.raises(ZeroDivisionError), client.batch():
        calls.append(client.call("batch/upper", "fish", timeout=5))
        1 / 0  # noqa: B018
    assert calls[0].result() == "FISH"


def test_another_thread_sends_at_once_beside_a_batch(client: macaque.Client) -> None:
    results: list[str] = []
    other = threading.Thread(target=lambda: results.append(client.call("batch/upper", "other", timeout=5).result()))
    with client.batch():
        mine = client.call("batch/upper", "mine", timeout=5)
        other.start()
        other.join(10)
        assert results == ["OTHER"]
    assert mine.result() == "MINE"
