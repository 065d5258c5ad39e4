"""Who gets which message. Time is what the tests say it is."""

from __future__ import annotations

import pytest

from mqlight.amqp.types import Outcome
from mqlight.server.broker import FULL, Limits
from server.world import ACCEPTED, World, message


@pytest.fixture
def world() -> World:
    """A broker without destinations, and the time."""
    return World()


# To whom


def test_a_message_that_nobody_listens_to_is_released(world: World) -> None:
    world.listen("other")
    assert world.publish() == (Outcome.RELEASED, None)


def test_a_message_reaches_the_one_who_listens(world: World) -> None:
    client = world.listen(credit=1)
    assert world.publish("hello") == ACCEPTED
    assert client.got == ["hello"]


def test_a_message_reaches_all_private_destinations_that_match(world: World) -> None:
    clients = [world.listen(pattern, client=pattern, credit=9) for pattern in ("a/b", "a/+", "#", "b/#")]
    world.publish("m", topic="a/b")
    assert [client.got for client in clients] == [["m"], ["m"], ["m"], []]


def test_two_clients_with_the_same_pattern_get_the_message_each(world: World) -> None:
    clients = [world.listen(client=name, credit=9) for name in "ab"]
    world.publish("m")
    assert [client.got for client in clients] == [["m"], ["m"]]


def test_one_client_with_two_links_to_one_pattern_gets_the_message_once(world: World) -> None:
    clients = [world.listen(client="c", credit=9) for _ in "ab"]
    world.publish("m")
    assert sorted(client.got for client in clients) == [[], ["m"]]


def test_of_a_share_one_gets_the_message(world: World) -> None:
    clients = [world.listen(share="s", credit=9) for _ in range(3)]
    world.publish("m")
    assert sum((client.got for client in clients), []) == ["m"]


def test_each_share_and_each_private_destination_gets_the_message(world: World) -> None:
    clients = [world.listen(share="x", credit=9), world.listen(share="y", credit=9), world.listen(credit=9)]
    world.publish("m")
    assert [client.got for client in clients] == [["m"]] * 3


def test_a_share_is_one_for_each_pattern(world: World) -> None:
    clients = [world.listen("t", share="s", credit=9), world.listen("#", share="s", credit=9)]
    world.publish("m")
    assert [client.got for client in clients] == [["m"], ["m"]]


def test_who_comes_later_does_not_get_what_was_sent_before(world: World) -> None:
    world.publish("early")
    client = world.listen(credit=9)
    world.publish("late")
    assert client.got == ["late"]


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


# Subscriptions come and go


def test_without_a_time_to_live_a_destination_goes_with_its_last_consumer(world: World) -> None:
    one, two = world.listen(share="s"), world.listen(share="s")
    world.publish("m")
    one.leave()
    assert world.publish("n") == ACCEPTED
    two.leave()
    assert world.broker.destinations == {}
    assert world.publish("o") == (Outcome.RELEASED, None)


def test_with_a_time_to_live_messages_collect_while_nobody_is_there(world: World) -> None:
    world.listen(share="s", ttl=60).leave()
    assert world.publish("a", "b") == ACCEPTED
    world.wait(59)
    assert world.listen(share="s", ttl=60, credit=9).got == ["a", "b"]


def test_a_destination_is_forgotten_when_its_time_to_live_is_over(world: World) -> None:
    world.listen(share="s", ttl=60).leave()
    world.publish("a")
    world.wait(60)
    assert world.broker.destinations == {}
    assert world.publish("b") == (Outcome.RELEASED, None)


def test_the_time_to_live_runs_only_while_nobody_is_there(world: World) -> None:
    world.listen(ttl=60).leave()
    world.wait(59)
    client = world.listen(ttl=60)
    world.wait(1000)
    client.leave()
    world.wait(59)
    assert world.publish() == ACCEPTED


def test_a_new_subscriber_replaces_the_time_to_live(world: World) -> None:
    world.listen(ttl=60).leave()
    world.listen(ttl=5).leave()
    world.wait(5)
    assert world.broker.destinations == {}


def test_to_forget_deletes_the_destination_at_once(world: World) -> None:
    world.listen(ttl=60).leave(forget=True)
    assert world.broker.destinations == {}


def test_to_forget_a_share_that_others_use_deletes_it_when_they_are_gone(world: World) -> None:
    one, two = (world.listen(share="s", ttl=60) for _ in range(2))
    one.leave(forget=True)
    assert world.publish("m") == ACCEPTED
    two.leave()
    assert world.broker.destinations == {}


def test_one_that_leaves_does_not_disturb_another_that_took_its_place(world: World) -> None:
    """A client that takes over attaches before or after its former self is gone."""
    old = world.listen(ttl=60, credit=1)
    world.publish("held", "waiting")
    new = world.listen(ttl=60, credit=9)
    assert new.got == ["waiting"]
    old.leave()
    assert new.got == ["waiting", "held"]
    assert world.publish("next") == ACCEPTED
    assert new.got[2:] == ["next"]


def test_a_destination_that_comes_again_is_empty(world: World) -> None:
    world.listen().leave()
    client = world.listen(credit=9)
    world.publish("m")
    assert client.got == ["m"]


# Time to live of messages


def test_a_message_is_not_given_out_after_its_time(world: World) -> None:
    client = world.listen()
    world.publish("short", ttl=1000)
    world.publish("long", ttl=5000)
    world.publish("for ever")
    world.now += 1
    client.credit(9)
    assert client.got == ["long", "for ever"]


def test_the_sweep_removes_messages_whose_time_is_over(world: World) -> None:
    world.listen()
    world.publish("short", ttl=1000)
    world.publish("long", ttl=5000)
    world.wait(0.999)
    assert world.waiting() == ["short", "long"]
    world.wait(0.001)
    assert world.waiting() == ["long"]
    (destination,) = world.broker.destinations.values()
    assert destination.bytes == len("long")
    world.wait(4)
    assert world.waiting() == []


def test_a_message_that_comes_back_after_its_time_is_gone(world: World) -> None:
    client = world.listen(credit=1)
    world.publish("m", ttl=1000)
    world.now += 2
    client.credit(1).settle(Outcome.RELEASED)
    assert client.got == ["m"] and world.waiting() == []


def test_a_message_that_came_back_still_expires(world: World) -> None:
    client = world.listen(credit=1)
    world.publish("m", ttl=1000)
    client.settle(Outcome.RELEASED)
    assert world.waiting() == ["m"]
    world.wait(1)
    assert world.waiting() == []


def test_a_message_knows_until_when_it_is_good(world: World) -> None:
    client = world.listen(credit=1)
    world.publish("m", ttl=1500)
    assert client.held[0].expires == world.now + 1.5


# Limits


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
