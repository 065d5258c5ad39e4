from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from macaque.gateway.streams import Heard, Streams, is_events
from macaque.gateway.subscriptions import Listener
from macaque.http.answer import Problem

ENDED = Problem(503, "The gateway is stopping.")


class Source:
    """Events that come when the test puts them."""

    def __init__(self, *events: bytes) -> None:
        self.closed = threading.Event()
        self._events = iter(events)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        for event in self._events:
            return event
        assert self.closed.wait(10)
        raise StopIteration

    def close(self) -> None:
        self.closed.set()


def test_a_stream_has_a_place_until_it_is_closed() -> None:
    streams = Streams(1)
    first = streams.hold(Source(b"a"), lambda: True)
    assert next(first) == b"a" and len(streams) == 1
    second = Source()
    with pytest.raises(Problem, match="The gateway has 1 streams"):
        streams.hold(second, lambda: True)
    assert second.closed.is_set()
    first.close()
    first.close()
    assert len(streams) == 0 and list(first) == []
    streams.hold(Source(), lambda: True)


def test_a_waiting_stream_ends_with_an_event_when_the_gateway_stops() -> None:
    streams = Streams(2)
    held = streams.hold(Source(b"a"), lambda: True)
    assert next(held) == b"a"
    threading.Timer(0.05, streams.end, (ENDED,)).start()
    (event,) = list(held)
    assert event.startswith(b"event: error\n") and b"stopping" in event
    late = streams.hold(Source(b"a"), lambda: True)
    assert list(late) == [event]


def test_a_stream_ends_with_the_token_of_its_caller() -> None:
    valid: list[Any] = [True]
    held = Streams(1).hold(Source(b"a", b"b", b"c"), lambda: bool(valid))
    assert next(held) == b"a"
    valid.clear()
    (event,) = list(held)
    assert b"no longer valid" in event


def test_the_messages_of_a_listener_are_events() -> None:
    left: list[str] = []
    listener = Listener()
    heard = Heard(listener, lambda: left.append("left"))
    listener.put(b'{"topic":"a"}')
    listener.end(ENDED)
    assert [next(heard), next(heard), next(heard)] == [
        b":\n\n",
        b'id: 0\ndata: {"topic":"a"}\n\n',
        b"event: error\ndata: " + ENDED.body + b"\n\n",
    ]
    assert list(heard) == []
    heard.close()
    assert left == ["left"]


def test_a_quiet_listener_has_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("macaque.http.events.PAUSE", 0.01)
    heard = Heard(Listener(), lambda: None)
    assert [next(heard) for _ in range(3)] == [b":\n\n"] * 3
    heard.close()
    assert list(heard) == [b'event: end\ndata: {"parts":0}\n\n']


def test_events_are_known_by_their_type() -> None:
    assert is_events([("content-type", "text/event-stream")])
    assert not is_events([("Content-Type", "application/json")])
