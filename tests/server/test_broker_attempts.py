"""Lost deliveries that count as attempts, and the time of the next attempt."""

from __future__ import annotations

from contextlib import closing

import pytest

from mqlight.amqp.capabilities import Marks
from mqlight.amqp.types import Outcome
from mqlight.server.dispatcher import LONGEST_REST
from server.world import Client, DurableWorld, World


@pytest.fixture
def world() -> World:
    """A broker, and the time."""
    return World()


def worker(world: World, marks: Marks = Marks.REDELIVERED, *, ttl: float = 60.0) -> Client:
    client = world.listen(share="s", ttl=ttl)
    client.consumer.marks = marks
    return client.credit(10)


def lose(world: World, marks: Marks, *, begun: bool) -> int:
    """A worker gets the message and is lost; returns the delivery count afterwards."""
    client = worker(world, marks)
    (message,) = client.held
    message.begun = begun
    client.leave()
    world.wait(LONGEST_REST)
    return message.count


def counts(world: World, marks: Marks, *begun: bool) -> list[int]:
    worker(world, marks).leave()
    world.publish("m")
    return [lose(world, marks, begun=each) for each in begun]


def test_a_peer_that_marks_nothing_has_tried_what_it_loses(world: World) -> None:
    assert counts(world, Marks.NONE, False, False, False) == [1, 2, 3]


def test_of_unmarked_deliveries_only_the_first_counts(world: World) -> None:
    assert counts(world, Marks.REDELIVERED, False, False, False, False, False, False) == [1] * 6


def test_marked_deliveries_count(world: World) -> None:
    assert counts(world, Marks.REDELIVERED, False, True, True, False, True) == [1, 2, 3, 3, 4]


def test_where_every_delivery_is_marked_only_marked_ones_count(world: World) -> None:
    assert counts(world, Marks.EVERY, False, False, True, False) == [0, 0, 1, 1]


@pytest.mark.parametrize("marks", Marks)
def test_a_message_that_has_not_left_was_not_given_out(world: World, marks: Marks) -> None:
    worker(world, marks).leave()
    world.publish("sent", "unsent")
    for _ in range(3):
        client = worker(world, marks)
        sent, unsent = client.held
        client.consumer.unsent = lambda unsent=unsent: [unsent]  # type: ignore[misc]
        client.leave()
        assert (unsent.given, unsent.count, unsent.losses) == (0, 0, 0)
        world.wait(LONGEST_REST)
    assert sent.given == sent.losses == 3


def test_a_mark_is_of_one_delivery(world: World) -> None:
    client = worker(world)
    world.publish("m")
    client.held[0].begun = True
    client.settle(Outcome.RELEASED)
    (message,) = client.held
    assert not message.begun
    client.leave()
    assert message.count == 0


def test_what_a_restarted_server_gives_out_may_have_been_given_out_before() -> None:
    world = DurableWorld()
    with closing(world.store):
        worker(world, ttl=600.0)
        world.send("m")
        world.commit()
        world.crash()
        assert worker(world, ttl=600.0).held[0].given == 2


def test_a_message_rests_longer_with_each_loss_from_the_second_on(world: World) -> None:
    worker(world).leave()
    world.publish("m")
    rests = []
    for _ in range(10):
        worker(world).leave()
        rests.append(0.0 if world.broker.wake_at is None else round(world.broker.wake_at - world.now, 3))
        world.now += rests[-1]
        world.broker.wake(world.now)
    assert rests == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_other_messages_pass_one_that_rests(world: World) -> None:
    worker(world).leave()
    world.publish("deadly")
    for _ in range(2):
        worker(world).leave()
    client = worker(world)
    world.publish("a", "b")
    assert client.got == ["a", "b"] and world.waiting() == ["deadly"]
    world.wait(0.1)
    assert client.got == ["a", "b", "deadly"]


def test_a_message_that_rests_keeps_its_time_to_live_and_its_room(world: World) -> None:
    worker(world).leave()
    world.publish("m", ttl=3000)
    for _ in range(2):
        worker(world).leave()
    (destination,) = world.broker.destinations.values()
    assert (destination.count, destination.bytes) == (1, 1)
    world.wait(3.0)
    assert (destination.count, destination.bytes, world.waiting()) == (0, 0, [])


def test_a_consumer_that_answers_ends_the_row_of_losses(world: World) -> None:
    client = worker(world)
    world.publish("m")
    for _ in range(3):
        client.leave()
        world.wait(LONGEST_REST)
        client = worker(world)
    client.settle(Outcome.MODIFIED)
    client.leave()
    assert world.broker.wake_at is None


def test_what_rests_is_gone_with_its_destination(world: World) -> None:
    worker(world).leave()
    world.publish("m")
    for _ in range(2):
        worker(world).leave()
    world.listen(share="s").leave(forget=True)
    assert world.broker.destinations == {}
    world.wait(LONGEST_REST)
    assert worker(world).got == []
