from __future__ import annotations

from typing import Any

import pytest

from macaque.testing.hub import Hub
from macaque.testing.memory import Memory
from mqlight.amqp.message import Message, decode, encode
from mqlight.amqp.types import Outcome
from mqlight.connection import State
from mqlight.delivery import Delivery
from mqlight.errors import NetworkError, StoppedError
from mqlight.outlet import BUFFER


class World:
    """A sender and a receiver of one broker."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.states: list[State] = []
        self.sender = Memory(self.hub, "sender", lambda state, error: self.states.append(state))
        self.receiver = Memory(self.hub, "receiver", None)
        self.outcomes: list[Outcome] = []
        self.arrived: list[Delivery] = []
        for each in self.sender, self.receiver:
            each.start()
            each.wait_started(1.0)

    def subscribe(self, **options: Any) -> Any:
        return self.receiver.subscribe("t", on_delivery=self.arrived.append, **options)

    def send(self, text: str, **fields: Any) -> bool:
        message = encode(Message(body=text, to="t", **fields))
        return self.sender.publish(
            "t", message, mandatory=True, on_outcome=lambda outcome, why: self.outcomes.append(outcome)
        )

    def texts(self) -> list[str]:
        return [decode(each.message).body for each in self.arrived]


def test_a_message_passes_through_both_engines_and_its_outcome_comes_back() -> None:
    world = World()
    world.subscribe()
    assert world.send("hello")
    assert world.texts() == ["hello"] and world.outcomes == [Outcome.ACCEPTED]
    assert world.arrived[0].accept()
    assert world.states == [State.STARTING, State.STARTED]
    assert world.sender.url == "memory:" and world.sender.dialect is not None


def test_a_message_without_a_subscription_is_released() -> None:
    world = World()
    world.send("hello")
    assert world.outcomes == [Outcome.RELEASED]


def test_credit_is_the_number_of_messages_that_a_subscription_holds() -> None:
    world = World()
    subscription = world.subscribe(credit=2)
    for number in range(5):
        world.send(str(number))
    assert world.texts() == ["0", "1"]
    world.arrived[0].accept()
    assert world.texts() == ["0", "1", "2"]
    world.receiver.add_credit(subscription, 2)
    assert world.texts() == ["0", "1", "2", "3", "4"]


def test_a_message_that_is_given_back_comes_again_and_counts() -> None:
    world = World()
    world.subscribe(lane=world.receiver.lane(1))
    world.send("hello")
    world.arrived[0].fail()
    assert decode(world.arrived[1].message).delivery_count == 1
    world.arrived[1].release()
    assert world.texts() == ["hello"] * 3


def test_a_paused_connection_gets_no_more_and_a_stopped_one_gives_back() -> None:
    world = World()
    world.subscribe(share="s", ttl=60)
    world.send("first")
    world.receiver.pause()
    world.send("second")
    assert world.texts() == ["first"]
    world.receiver.stop(5.0)
    assert world.receiver.state is State.STOPPED and world.hub.now == pytest.approx(1005.0, abs=0.1)
    other = Memory(world.hub, "other", None)
    other.start()
    other.subscribe("t", "s", on_delivery=world.arrived.append)
    assert world.texts() == ["first", "first", "second"]


def test_a_connection_that_was_cut_comes_back_and_sends_what_waited() -> None:
    world = World()
    world.subscribe(share="s", ttl=60)
    world.sender.cut()
    world.receiver.cut()
    assert world.sender.state is State.RETRYING and isinstance(world.sender.error, NetworkError)
    assert not world.send("hello")
    world.hub.advance(1.0)
    assert world.states[-1] is State.STARTED
    assert world.texts() == ["hello"] and world.outcomes == [Outcome.ACCEPTED]


def test_a_subscription_is_given_up() -> None:
    world = World()
    told: list[Any] = []
    world.receiver.unsubscribe(world.subscribe(), forget=True, on_unsubscribed=told.append)
    assert told == [None]
    world.send("hello")
    assert world.outcomes == [Outcome.RELEASED]


def test_a_connection_that_is_not_started_sends_nothing_and_one_without_room_waits() -> None:
    world = World()
    world.sender.cut()
    for number in range(BUFFER):
        world.send(str(number))
    world.send("one more")  # waits until the connection is back
    assert len(world.outcomes) >= BUFFER
    world.sender.stop()
    with pytest.raises(StoppedError, match="the client is stopped, so it cannot send"):
        world.send("hello")


def test_a_connection_may_be_started_twice_and_stopped_twice() -> None:
    world = World()
    world.sender.start()
    assert world.hub.members == [world.sender, world.receiver]
    world.sender.stop()
    world.sender.stop()
    assert world.states[-1] is State.STOPPED


def test_a_waiting_thread_and_a_task_for_later_run_at_once() -> None:
    world = World()
    seen: list[int] = []
    world.receiver.run_soon(lambda: seen.append(1))
    world.receiver.before_blocking()
    with world.receiver.batch():
        assert seen == [1]
