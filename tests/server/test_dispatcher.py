"""Messages on their way to the consumers of a destination, and back."""

from __future__ import annotations

import pytest

from mqlight.amqp.types import Outcome
from server.world import World, message


@pytest.fixture
def world() -> World:
    """A broker without destinations, and the time."""
    return World()


# Credit and fairness


def test_without_credit_messages_wait_in_their_order(world: World) -> None:
    client = world.listen()
    world.publish("a", "b", "c")
    assert client.got == [] and world.waiting() == ["a", "b", "c"]
    client.credit(2)
    assert client.got == ["a", "b"] and world.waiting() == ["c"]


def test_credit_is_used_up_message_by_message(world: World) -> None:
    client = world.listen(credit=2)
    world.publish("a", "b", "c")
    assert client.got == ["a", "b"]
    client.settle()
    assert client.got == ["a", "b"]
    assert client.consumer.credit == 0


def test_credit_that_was_taken_back_gives_nothing(world: World) -> None:
    client = world.listen(credit=5).credit(0)
    world.publish("a")
    assert client.got == []


def test_the_least_loaded_member_of_a_share_comes_first(world: World) -> None:
    busy, idle = (world.listen(share="s", credit=9) for _ in range(2))
    world.publish("a", "b", "c", "d")
    assert (len(busy.held), len(idle.held)) == (2, 2)
    idle.settle()
    idle.settle()
    world.publish("e", "f")
    assert (len(busy.held), len(idle.held)) == (2, 2)
    assert idle.got[2:] == ["e", "f"]


def test_a_slow_member_does_not_starve_the_rest(world: World) -> None:
    slow, quick = (world.listen(share="s", credit=1000) for _ in range(2))
    for number in range(100):
        world.publish(str(number))
        if quick.held:
            quick.settle()
    assert len(slow.got) == 1 and len(quick.got) == 99


def test_members_with_the_same_load_take_turns(world: World) -> None:
    members = [world.listen(share="s", credit=9) for _ in range(3)]
    turns = []
    for number in range(6):
        world.publish(str(number))
        (one,) = (index for index, member in enumerate(members) if member.held)
        turns.append(one)
        members[one].settle()
    assert turns == [0, 1, 2, 0, 1, 2]


def test_a_member_without_credit_is_passed_over(world: World) -> None:
    without, with_ = world.listen(share="s"), world.listen(share="s", credit=5)
    world.publish("a", "b")
    assert (without.got, with_.got) == ([], ["a", "b"])


def test_members_that_take_at_most_once_take_turns_as_well(world: World) -> None:
    members = [world.listen(share="s", credit=9, at_most_once=True) for _ in range(2)]
    world.publish("a", "b", "c", "d")
    assert [member.got for member in members] == [["a", "c"], ["b", "d"]]


def test_a_full_destination_is_emptied_fairly_when_credit_comes(world: World) -> None:
    members = [world.listen(share="s") for _ in range(2)]
    world.publish("a", "b", "c")
    members[0].credit(1)
    members[1].credit(9)
    assert [member.got for member in members] == [["a"], ["b", "c"]]


# What is done with a message


@pytest.mark.parametrize("outcome", [Outcome.ACCEPTED, Outcome.REJECTED])
def test_what_is_accepted_or_rejected_never_comes_again(world: World, outcome: Outcome) -> None:
    client = world.listen(credit=9)
    world.publish("m")
    client.settle(outcome)
    client.leave()
    assert world.listen(credit=9).got == []


@pytest.mark.parametrize(("outcome", "count"), [(Outcome.RELEASED, 0), (Outcome.MODIFIED, 1)])
def test_what_is_released_or_modified_comes_again(world: World, outcome: Outcome, count: int) -> None:
    client = world.listen(credit=9)
    world.publish("m")
    client.settle(outcome)
    assert client.got == ["m", "m"]
    assert client.held[0].count == count


def test_what_is_released_goes_to_another_member_when_the_first_has_no_credit(world: World) -> None:
    one, two = world.listen(share="s", credit=1), world.listen(share="s")
    world.publish("m")
    two.credit(1)
    one.settle(Outcome.RELEASED)
    assert (one.got, two.got) == (["m"], ["m"])


def test_what_comes_back_goes_to_its_old_place(world: World) -> None:
    client = world.listen(credit=3)
    world.publish("a", "b", "c", "d")
    for place in (1, 0, 0):
        client.settle(Outcome.RELEASED, place)
    assert world.waiting() == ["a", "b", "c", "d"]
    client.credit(9)
    assert client.got[3:] == ["a", "b", "c", "d"]


def test_what_a_consumer_held_goes_to_the_others_when_it_leaves(world: World) -> None:
    dying, living = world.listen(share="s", credit=3), world.listen(share="s")
    world.publish("a", "b", "c", "d")
    dying.settle()
    living.credit(9)
    dying.leave()
    assert living.got == ["d", "b", "c"]
    assert [queued.count for queued in living.held] == [0, 1, 1]


def test_delivery_attempts_before_ours_are_counted_on(world: World) -> None:
    client = world.listen(credit=9)
    world.broker.publish(message(count=3), world.now)
    client.settle(Outcome.MODIFIED)
    assert client.held[0].count == 4


def test_the_copies_of_a_message_are_counted_each_for_itself(world: World) -> None:
    one, two = world.listen(client="a", credit=9), world.listen(client="b", credit=9)
    world.publish()
    one.settle(Outcome.MODIFIED)
    assert (one.held[0].count, two.held[0].count) == (1, 0)


def test_what_was_given_at_most_once_is_not_given_again(world: World) -> None:
    client = world.listen(share="s", credit=9, at_most_once=True)
    world.publish("m")
    assert client.consumer.holds == 0
    client.leave()
    assert world.listen(share="s", credit=9).got == []


# A message that a consumer cannot deliver (AMQP 1.0 section 3.4.5)


def test_what_a_consumer_cannot_deliver_goes_to_another_and_never_back_to_it(world: World) -> None:
    one = world.listen(share="s", credit=5)
    world.publish("m")
    one.settle(Outcome.UNDELIVERABLE)
    assert one.got == ["m"]
    world.publish("next")
    one.settle()
    two = world.listen(share="s", credit=5)
    assert (one.got, two.got) == (["m", "next"], ["m"])
    two.settle(Outcome.RELEASED)
    assert (one.got, two.got) == (["m", "next"], ["m", "m"])
    two.leave()
    one.credit(5)
    assert one.got == ["m", "next"]
    three = world.listen(share="s", credit=5)
    assert three.got == ["m"]
    three.settle()
    (destination,) = world.broker.destinations.values()
    assert (destination.count, destination.bytes, destination.refusers) == (0, 0, {})


def test_what_no_consumer_can_deliver_waits_for_the_end_of_its_time_to_live(world: World) -> None:
    client = world.listen(credit=5)
    world.publish("m", ttl=1000)
    client.settle(Outcome.UNDELIVERABLE)
    (destination,) = world.broker.destinations.values()
    assert (destination.count, destination.bytes) == (1, 1)
    world.now += 2
    world.broker.sweep(world.now)
    assert (destination.count, destination.bytes, world.broker.expired) == (0, 0, 1)


def test_the_bytes_of_what_no_consumer_can_deliver_stay_counted_when_others_expire(world: World) -> None:
    client = world.listen(credit=1)
    world.publish("undeliverable")
    client.settle(Outcome.UNDELIVERABLE)
    world.publish("short", ttl=1000)
    world.publish("long")
    world.wait(2)
    (destination,) = world.broker.destinations.values()
    assert (destination.count, destination.bytes) == (2, len("undeliverable" + "long"))
    assert len(world.broker.purge(destination)) == 2
    assert (destination.count, destination.bytes, destination.refusers) == (0, 0, {})
