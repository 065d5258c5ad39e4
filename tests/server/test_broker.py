"""The broker: each message and its consumers. The tests set the time."""

from __future__ import annotations

import pytest

from mqlight.amqp.types import Outcome
from server.world import ACCEPTED, World


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
