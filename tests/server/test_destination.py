"""The queue behind a subscription: its order, its size, and which consumer is next."""

from __future__ import annotations

import pytest

from mqlight.server.destination import Destination, DestinationName
from server.world import Client, World


@pytest.fixture
def world() -> World:
    return World()


def queue(world: World, *bodies: str, ttl: int | None = None) -> Destination:
    """The destination of a client without credit, with these messages."""
    world.listen()
    world.publish(*bodies, ttl=ttl)
    return world.broker.destinations[DestinationName("t", client_id="c")]


def bodies(destination: Destination) -> list[str]:
    return [message.rest.decode() for message in destination.waiting()]


def test_a_message_that_is_put_back_goes_to_its_old_place(world: World) -> None:
    destination = queue(world, "a", "b", "c", "d")
    first, second, third = (destination.take() for _ in range(3))
    destination.put_back(third)
    destination.put_back(first)
    assert bodies(destination) == ["a", "c", "d"]
    destination.put_back(second)
    assert bodies(destination) == ["a", "b", "c", "d"]
    assert [destination.take().rest for _ in range(4)] == [b"a", b"b", b"c", b"d"]


def test_bytes_and_count_are_those_of_what_waits(world: World) -> None:
    destination = queue(world, "one", "three")
    assert (destination.count, destination.bytes) == (2, 8)
    message = destination.take()
    assert (destination.count, destination.bytes) == (1, 5)
    destination.rest(message)
    assert (destination.count, destination.bytes) == (2, 8)
    assert destination.wake(message.sequence) and not destination.wake(message.sequence)
    assert bodies(destination) == ["one", "three"] and destination.bytes == 8


def test_what_is_withdrawn_is_named(world: World) -> None:
    destination = queue(world, "a", "b", "c")
    numbers = [message.sequence for message in destination.waiting()]
    assert destination.withdraw({numbers[1], -1}) == {numbers[1]}
    assert bodies(destination) == ["a", "c"] and destination.bytes == 2


def test_expired_messages_are_dropped_and_the_others_stay(world: World) -> None:
    destination = queue(world, "short", ttl=1000)
    world.publish("long", ttl=5000)
    assert destination.drop_expired(world.now + 0.5) == []
    assert [message.rest for message in destination.drop_expired(world.now + 1)] == [b"short"]
    assert bodies(destination) == ["long"]


def test_the_next_consumer_has_credit_and_the_least_to_do_and_waits_longest(world: World) -> None:
    clients = [world.listen(share="s") for _ in range(3)]
    destination = world.broker.destinations[DestinationName("t", share="s")]
    assert destination.next_consumer() is None

    def has(client: Client, credit: int, holds: int, turn: int) -> None:
        client.consumer.credit, client.consumer.holds, client.consumer.turn = credit, holds, turn

    has(clients[0], 5, 2, 1)
    has(clients[1], 1, 1, 3)
    has(clients[2], 0, 0, 0)
    assert destination.next_consumer() is clients[1].consumer
    has(clients[0], 5, 1, 1)
    assert destination.next_consumer() is clients[0].consumer


def test_it_loses_messages_only_where_nobody_asked_for_more(world: World) -> None:
    world.listen(client="a", at_most_once=True)
    assert world.broker.destinations[DestinationName("t", client_id="a")].lossy
    world.listen(client="b", at_most_once=True, ttl=5)
    world.listen(client="c")
    for client in "bc":
        assert not world.broker.destinations[DestinationName("t", client_id=client)].lossy


def test_its_name_is_shown_as_its_address() -> None:
    assert (
        str(DestinationName("a/#", client_id="c")) == "private:a/#"
        and str(DestinationName("a", share="s")) == "share:s:a"
    )
