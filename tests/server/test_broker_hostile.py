"""One message, or one consumer, must not hurt others; and giving back many messages costs little for each."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import msgspec
import pytest

from mqlight.amqp.sections import header
from mqlight.amqp.types import Outcome
from mqlight.server.broker import Limits
from mqlight.server.queued import MOST_COUNT, Queued
from server.world import ACCEPTED, Client, World, message


@pytest.fixture
def world() -> World:
    """A broker without destinations, and the time."""
    return World()


def broken(client: Client) -> list[str]:
    """Make a client fail at each message; returns the list that tells when its owner has heard of it."""
    told: list[str] = []

    def fail(message: Queued, now: float) -> None:
        raise RuntimeError("this link cannot take a message")

    client.consumer.deliver = fail
    client.consumer.failed = lambda: told.append("failed")
    client.consumer.held = lambda: client.held
    return told


# One consumer


def test_a_consumer_that_fails_is_ended_and_the_next_one_gets_its_message(world: World) -> None:
    bad, good = (world.listen(share="s", credit=9) for _ in range(2))
    told = broken(bad)
    assert world.publish("a", "b") == ACCEPTED
    assert good.got == ["a", "b"] and told == ["failed"]
    assert bad.consumer.over and bad.consumer.destination.consumers == [good.consumer]
    assert [held.count for held in good.held] == [1, 0], "the attempt that failed counts"


def test_what_a_failing_consumer_held_goes_back_in_order_and_counts_as_tried(world: World) -> None:
    bad = world.listen(share="s", ttl=60, credit=9)
    world.publish("a", "b")
    broken(bad)
    world.publish("c")
    assert world.waiting() == ["a", "b", "c"]
    assert [queued.count for queued in bad.consumer.destination.waiting()] == [1, 1, 1]
    good = world.listen(share="s", ttl=60, credit=9)
    assert good.got == ["a", "b", "c"] and len(good.held) == 3


def test_a_message_that_a_failing_consumer_had_noted_already_is_given_back_once(world: World) -> None:
    bad = world.listen(share="s", ttl=60)
    world.publish("a")
    broken(bad)

    def fail_late(message: Queued, now: float) -> None:
        bad.held.append(message)
        raise RuntimeError("too late")

    bad.consumer.deliver = fail_late
    bad.credit(1)
    assert world.waiting() == ["a"]


def test_a_consumer_that_fails_while_another_one_settles_does_not_disturb_it(world: World) -> None:
    good, bad = world.listen(share="s", ttl=60, credit=1), world.listen(share="s", ttl=60)
    world.publish("a")
    broken(bad)
    bad.credit(1)
    good.settle(Outcome.RELEASED)
    assert bad.consumer.over and world.waiting() == ["a"]
    good.credit(1)
    assert good.got == ["a", "a"]


def test_a_thousand_failing_consumers_end_one_after_the_other(world: World) -> None:
    clients = [world.listen(share="s", ttl=60, credit=1) for _ in range(1000)]
    for client in clients:
        broken(client)
    assert world.publish("a") == ACCEPTED
    assert world.waiting() == ["a"] and all(client.consumer.over for client in clients)


def test_other_destinations_of_a_message_get_it_whatever_the_first_one_does(world: World) -> None:
    bad, *others = [world.listen("t", client=str(number), credit=9) for number in range(3)]
    broken(bad)
    world.publish("m")
    assert [client.got for client in others] == [["m"], ["m"]]
    assert len(world.broker.destinations) == 2, "nothing outlives the consumer, so its destination ends with it"


def test_a_consumer_that_is_over_gets_no_credit_settles_nothing_and_leaves_twice(world: World) -> None:
    bad = world.listen(share="s", ttl=60, credit=2)
    world.publish("a")
    (held,) = bad.held
    broken(bad)
    world.publish("b")
    bad.credit(9)
    world.broker.settle(bad.consumer, held, Outcome.ACCEPTED, world.now)
    bad.leave()
    assert world.waiting() == ["a", "b"]


def test_an_at_most_once_consumer_that_fails_gives_the_message_back(world: World) -> None:
    bad = world.listen(share="s", ttl=60, credit=1, at_most_once=True)
    broken(bad)
    world.publish("a")
    assert world.waiting() == ["a"]


# One message


@pytest.mark.parametrize(
    ("field", "value", "becomes"),
    [("delivery_count", 2**32, MOST_COUNT), ("delivery_count", -1, 0), ("priority", 300, 255), ("priority", -1, 0)],
)
def test_a_field_that_no_header_can_carry_is_made_the_nearest_one(
    world: World, field: str, value: int, becomes: int
) -> None:
    client = world.listen(credit=1)
    world.broker.publish(msgspec.structs.replace(message("m"), **{field: value}), world.now)
    (queued,) = client.held
    assert {"delivery_count": queued.count, "priority": queued.priority}[field] == becomes
    assert header(None, queued.count, queued.durable, queued.priority)


def test_the_largest_delivery_count_stays_what_it_is(world: World) -> None:
    client = world.listen(share="s", ttl=60, credit=9)
    world.broker.publish(message("m", count=MOST_COUNT), world.now)
    client.settle(Outcome.MODIFIED)
    client.leave()
    other = world.listen(share="s", ttl=60, credit=9)
    assert other.held[0].count == MOST_COUNT


# Many messages


def test_messages_that_come_back_in_any_order_wait_in_the_order_of_their_coming(world: World) -> None:
    chance = random.Random(1)
    for _ in range(50):
        client = world.listen(share="s", ttl=60, credit=20)
        world.publish(*"abcdefghijklmnopqrstuvwxyz")
        while client.held:
            if chance.random() < 0.1:
                world.broker.give_credit(client.consumer, 1, world.now)
            client.settle(Outcome.RELEASED, chance.randrange(len(client.held)))
            client.consumer.credit = 0
        sequences = [queued.sequence for queued in client.consumer.destination.waiting()]
        assert sequences == sorted(sequences) and len(sequences) == client.consumer.destination.count
        client.credit(1000)
        assert client.got[-26:] == list("abcdefghijklmnopqrstuvwxyz")
        client.leave(forget=True)


def test_messages_that_were_given_back_expire_and_are_withdrawn_like_others(world: World) -> None:
    client = world.listen(share="s", ttl=60, credit=3)
    world.publish("a", "b", ttl=1000)
    world.publish("c")
    for _ in range(3):
        client.settle(Outcome.RELEASED)
    destination = client.consumer.destination
    assert world.waiting() == ["a", "b", "c"] and destination.count == 3
    assert destination.withdraw({next(destination.waiting()).sequence}) and world.waiting() == ["b", "c"]
    world.wait(2)
    assert world.waiting() == ["c"] and destination.bytes == 1


def given_back_by_links(number: int, links: int) -> Callable[[], None]:
    world = World(Limits(queue_messages=10**6))
    clients = [world.listen(share="s", ttl=60, credit=number // links) for _ in range(links)]
    world.publish(*["m"] * number)
    assert sum(len(client.held) for client in clients) == number

    def leave() -> None:
        for client in clients:
            client.consumer.credit = 0
        for client in clients:
            client.leave()
        assert clients[0].consumer.destination.count == number

    return leave


def released_one_by_one(number: int) -> Callable[[], None]:
    world = World(Limits(queue_messages=10**6))
    client = world.listen(share="s", ttl=60, credit=number)
    world.publish(*["m"] * number)
    held = client.held

    def release() -> None:
        for queued in held:
            world.broker.settle(client.consumer, queued, Outcome.RELEASED, world.now)
        assert client.consumer.destination.count == number

    return release


def taken_in_turns(number: int) -> Callable[[], None]:
    """Given back in order, and taken again one by one."""
    world = World(Limits(queue_messages=10**6))
    client = world.listen(share="s", ttl=60, credit=number)
    world.publish(*["m"] * number)
    for queued in client.held:
        world.broker.settle(client.consumer, queued, Outcome.RELEASED, world.now)
    client.held.clear()

    def take() -> None:
        for _ in range(number):
            world.broker.give_credit(client.consumer, 1, world.now)
        assert client.consumer.destination.count == 0

    return take


def forgotten_one_by_one(number: int) -> Callable[[], None]:
    world = World(Limits(destinations=10**6))
    clients = [world.listen(f"t/{n}", ttl=0) for n in range(number)]

    def forget() -> None:
        for client in clients:
            client.leave(forget=True)
        assert not world.broker.destinations

    return forget


@pytest.mark.parametrize(
    "work",
    [
        lambda number: given_back_by_links(number, 1),
        lambda number: given_back_by_links(number, 20),
        released_one_by_one,
        taken_in_turns,
        forgotten_one_by_one,
    ],
    ids=["one link", "twenty links", "one by one", "in turns", "destinations"],
)
def test_four_times_the_messages_cost_about_four_times_the_work(work: Callable[[int], Callable[[], None]]) -> None:
    def cost(number: int) -> float:
        times = []
        for _ in range(3):
            run = work(number)
            start = time.process_time()
            run()
            times.append(time.process_time() - start)
        return min(times)

    assert cost(8000) < 10 * max(cost(2000), 0.001)


def test_a_full_destination_is_searched_for_expired_messages_ten_times_a_second_at_most() -> None:
    world = World(Limits(queue_messages=1000))
    client = world.listen(share="s", ttl=60)
    for place in range(1000):
        world.publish("m", ttl=1000 + place)
    searched = set()
    world.now += 1
    for _ in range(1000):
        world.now += 0.001
        world.publish("n", ttl=60_000)
        searched.add(client.consumer.destination.searched_at)
    assert 9 <= len(searched) <= 11
    assert client.consumer.destination.count > 800, "what expired has made room"
