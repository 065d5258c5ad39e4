"""The room for messages, and what is told when there is none."""

from __future__ import annotations

import pytest

from mqlight.amqp.types import Outcome
from mqlight.server.broker import FULL, Limits
from server.world import ACCEPTED, World


@pytest.fixture
def world() -> World:
    """A broker without destinations, and the time."""
    return World()


def test_a_full_destination_is_an_outcome_and_its_sender_learns_which_and_why() -> None:
    world = World(Limits(queue_messages=2))
    world.listen("t", share="s")
    assert world.publish("a", "b") == ACCEPTED
    outcome, condition = world.publish("c")
    assert outcome is Outcome.REJECTED and condition is not None and condition.name == FULL
    assert "share:s:t" in condition.description and "2 of 2 messages" in condition.description
    assert world.waiting() == ["a", "b"]


def test_bytes_are_limited_as_well() -> None:
    world = World(Limits(queue_bytes=10))
    client = world.listen()
    assert world.publish("12345", "67890") == ACCEPTED
    assert world.publish("1")[0] is Outcome.REJECTED
    client.credit(1)
    assert world.publish("12345") == ACCEPTED


def test_a_message_that_is_larger_than_a_destination_is_not_lost_in_silence() -> None:
    world = World(Limits(queue_bytes=10))
    client = world.listen()
    assert world.publish("12345678901")[0] is Outcome.REJECTED
    client.credit(1)
    assert world.publish("12345678901") == ACCEPTED
    assert client.got == ["12345678901"]


def test_what_one_destination_refuses_none_gets() -> None:
    world = World(Limits(queue_messages=1))
    world.listen("full", client="a")
    world.publish("m", topic="full")
    other = world.listen("#", client="b", credit=9)
    assert world.publish("n", topic="full")[0] is Outcome.REJECTED
    assert other.got == []


def test_a_destination_full_of_what_nobody_wants_any_more_takes_messages() -> None:
    world = World(Limits(queue_messages=1))
    world.listen()
    world.publish("old", ttl=1000)
    world.now += 1
    assert world.publish("new") == ACCEPTED
    assert world.waiting() == ["new"]


def test_who_asked_for_at_most_once_loses_messages_but_not_its_senders() -> None:
    world = World(Limits(queue_messages=1))
    client = world.listen(at_most_once=True)
    assert world.publish("a", "b", "c") == ACCEPTED
    (destination,) = world.broker.destinations.values()
    assert (world.waiting(), destination.dropped) == (["a"], 2)
    client.credit(9)
    assert client.got == ["a"]


def test_a_destination_that_outlives_its_consumers_does_not_lose_messages() -> None:
    world = World(Limits(queue_messages=1))
    world.listen(at_most_once=True, ttl=60)
    assert world.publish("a", "b")[0] is Outcome.REJECTED


def test_what_comes_back_is_taken_back_even_when_there_is_no_room() -> None:
    world = World(Limits(queue_messages=1))
    client = world.listen(credit=1)
    world.publish("a", "b")
    client.settle(Outcome.RELEASED)
    assert world.waiting() == ["a", "b"]
    assert world.publish("c")[0] is Outcome.REJECTED


def test_many_destinations_come_and_go_and_leave_nothing(world: World) -> None:
    clients = [world.listen(f"{n % 7}/{n}/+", client=str(n), ttl=n % 3) for n in range(1000)]
    assert world.publish("m", topic="3/24/x") == ACCEPTED
    for client in clients:
        client.leave()
    world.wait(3)
    assert world.broker.destinations == {}
    assert world.publish("m", topic="3/24/x") == (Outcome.RELEASED, None)
