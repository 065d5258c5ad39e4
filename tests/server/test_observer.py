"""The events of messages that the broker reports to an observer."""

from __future__ import annotations

from typing import Any

import pytest

from mqlight.amqp.types import Condition, Outcome
from mqlight.server.broker import Limits
from mqlight.server.observer import Observer, Story
from mqlight.server.queued import Trace
from server.world import World


class Recorder:
    """An observer, a story and a trace in one: every call is an entry of ``events``, its times left out."""

    def __init__(self, allowance: int = 100) -> None:
        self.allowance = allowance
        self.events: list[tuple[Any, ...]] = []
        self.declines = False

    def published(self, message: Any, now: float, sender: object) -> Story:
        self.allowance -= 1
        self.events.append(("published", message.rest.decode(), sender))
        return self

    def unwatched(self, destination: Any, message: Any) -> Trace | None:
        self.events.append(("unwatched", str(destination.name)))
        return None if self.declines else self

    def refused(self, sender: object, topic: Any, data: bytes, outcome: Outcome, condition: Any, now: float) -> None:
        self.events.append(("refused", topic, outcome))

    def added(self, destination: Any) -> None:
        self.events.append(("added", str(destination.name)))

    def forgotten(self, destination: Any) -> None:
        self.events.append(("forgotten", str(destination.name)))

    def trace(self, destination: Any, message: Any) -> Trace:
        self.events.append(("trace", str(destination.name)))
        return self

    def given(self, client: object, at_most_once: bool, now: float) -> None:
        self.events.append(("given",))

    def settled(self, client: object, outcome: Outcome, now: float) -> None:
        self.events.append(("settled", outcome.name))

    def rejected(self, condition: Condition) -> None:
        self.events.append(("rejected", condition.name))

    def lost(self, client: object, now: float) -> None:
        self.events.append(("lost",))

    def expired(self, now: float) -> None:
        self.events.append(("expired",))

    def dropped(self, why: str) -> None:
        self.events.append(("dropped", why))


def watched(allowance: int = 100, limits: Limits | None = None) -> tuple[World, Recorder]:
    world, recorder = World(limits), Recorder(allowance)
    observer: Observer = recorder
    world.broker.observer = observer
    return world, recorder


def test_a_message_is_reported_from_its_arrival_to_its_settlement() -> None:
    world, recorder = watched()
    client = world.listen(share="s", credit=1)
    world.publish("m")
    client.settle()
    assert recorder.events == [
        ("added", "share:s:t"),
        ("published", "m", None),
        ("trace", "share:s:t"),
        ("given",),
        ("settled", "ACCEPTED"),
    ]


def test_each_copy_of_a_message_has_its_trace() -> None:
    world, recorder = watched()
    world.listen(client="a")
    world.listen(client="b")
    recorder.events.clear()
    world.publish("m")
    assert recorder.events == [("published", "m", None), ("trace", "private:t"), ("trace", "private:t")]


@pytest.mark.parametrize("outcome", [Outcome.RELEASED, Outcome.MODIFIED])
def test_a_message_that_comes_back_is_given_again(outcome: Outcome) -> None:
    world, recorder = watched()
    client = world.listen(share="s", credit=1)
    world.publish("m")
    recorder.events.clear()
    client.settle(outcome)
    client.credit(1)
    world.wait(60)
    assert recorder.events[:2] == [("settled", outcome.name), ("given",)]


def test_a_consumer_that_goes_has_lost_its_messages() -> None:
    world, recorder = watched()
    client = world.listen(share="s", ttl=60, credit=1)
    world.publish("m")
    recorder.events.clear()
    client.leave()
    assert recorder.events == [("lost",)]


def test_the_end_of_a_time_to_live_and_of_a_destination_are_reported() -> None:
    world, recorder = watched()
    client = world.listen(share="s", ttl=60)
    world.publish("short", ttl=1000)
    world.publish("long")
    recorder.events.clear()
    world.wait(2)
    assert recorder.events == [("expired",)]
    client.leave(forget=True)
    assert recorder.events[1:] == [("dropped", "forgotten"), ("forgotten", "share:s:t")]


def test_beyond_the_allowance_only_unusual_events_are_reported() -> None:
    world, recorder = watched(allowance=1)
    client = world.listen(share="s", ttl=60, credit=2)
    world.publish("watched", "unwatched")
    assert recorder.allowance == 0
    recorder.events.clear()
    client.settle(place=1)
    assert recorder.events == []
    world.publish("another")
    client.credit(1)
    client.settle(Outcome.MODIFIED, place=1)
    assert recorder.events == [("unwatched", "share:s:t"), ("settled", "MODIFIED")]


def test_an_observer_may_decline_an_unwatched_message() -> None:
    world, recorder = watched(allowance=0)
    recorder.declines = True
    client = world.listen(share="s", credit=1)
    world.publish("m")
    client.settle(Outcome.MODIFIED)
    assert recorder.events == [("added", "share:s:t"), ("unwatched", "share:s:t")]
