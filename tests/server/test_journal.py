"""Messages that outlive the server, and the moment when senders are told. The tests set time and disk, and crash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mqlight.amqp.types import Outcome
from mqlight.server.broker import FULL, Limits
from mqlight.server.journal import GRACE, MOST
from server.world import DurableWorld


@pytest.fixture
def world() -> Iterator[DurableWorld]:
    """A broker with a store that has nothing yet."""
    world = DurableWorld()
    yield world
    world.store.close()


def break_store(world: DurableWorld) -> None:
    """Nothing can be written."""
    world.store._db.execute("PRAGMA query_only = ON")


def mend_store(world: DurableWorld) -> None:
    """It can be again."""
    world.store._db.execute("PRAGMA query_only = OFF")


# When a sender is told


def test_a_sender_is_told_when_its_message_is_committed_and_not_before(world: DurableWorld) -> None:
    world.listen(share="s", ttl=60)
    assert world.send("a", "b") is None
    assert world.safe == []
    world.commit()
    assert world.safe == ["a", "b"]


def test_a_message_may_be_given_out_before_it_is_committed(world: DurableWorld) -> None:
    client = world.listen(share="s", ttl=60, credit=9)
    world.send("a")
    assert client.got == ["a"] and world.safe == []


def test_what_is_done_with_before_its_commit_is_safe_and_never_written(world: DurableWorld) -> None:
    client = world.listen(share="s", ttl=60, credit=9)
    world.commit()
    world.send("a")
    client.settle()
    assert world.safe == ["a"]
    assert not world.journal


def test_what_a_consumer_was_given_is_written_a_moment_later_and_what_waits_at_once(world: DurableWorld) -> None:
    world.listen(share="s", ttl=60, credit=1)
    world.commit()
    world.send("given")
    assert world.journal and not world.journal.urgent
    world.send("waiting")
    assert world.journal.urgent
    assert [put.message.rest for put in world.journal.take(world.now).puts.values()] == [b"waiting"]
    assert [put.message.rest for put in world.journal.take(world.now + GRACE).puts.values()] == [b"given"]


def test_a_sender_is_told_when_every_kept_copy_is_safe(world: DurableWorld) -> None:
    quick = world.listen(client="a", ttl=60, credit=9)
    world.listen(client="b", ttl=60)
    world.listen(client="c", credit=9)
    world.send("m")
    quick.settle()
    assert world.safe == []
    world.commit()
    assert world.safe == ["m"]


def test_a_message_for_a_destination_that_goes_before_the_commit_is_safe(world: DurableWorld) -> None:
    client = world.listen(ttl=60)
    world.send("m")
    client.leave(forget=True)
    assert world.safe == ["m"]


def test_what_is_given_at_most_once_is_done_with_at_once(world: DurableWorld) -> None:
    world.listen(ttl=60, credit=9, at_most_once=True)
    world.commit()
    world.send("m")
    assert world.safe == ["m"] and not world.journal


def test_one_batch_writes_so_much_and_the_next_one_the_rest(world: DurableWorld) -> None:
    client = world.listen(share="s", ttl=60, credit=MOST + 2)
    world.commit()
    world.send(*(str(n) for n in range(MOST + 5)))
    world.commit()
    assert len(world.safe) == MOST and world.journal.urgent
    world.commit()
    assert len(world.safe) == MOST + 5
    for _ in range(MOST + 2):
        client.settle()
    world.commit()
    world.commit()
    assert not world.journal
    world.crash()
    assert world.waiting() == [str(n) for n in range(MOST + 2, MOST + 5)]


# What has nothing to do with the disk


def test_what_is_sent_at_most_once_never_touches_the_disk(world: DurableWorld) -> None:
    world.listen(share="s", ttl=60)
    world.commit()
    world.publish("m")
    assert not world.journal and world.waiting() == ["m"]


def test_a_destination_that_goes_with_its_consumers_never_touches_the_disk(world: DurableWorld) -> None:
    client = world.listen(credit=1)
    assert world.send("a", "b") is Outcome.ACCEPTED
    client.settle(Outcome.MODIFIED)
    client.leave()
    world.wait(1)
    assert not world.journal


# What comes back after a crash


def test_every_message_comes_back_once_and_in_order(world: DurableWorld) -> None:
    world.listen(share="s", ttl=60)
    world.send(*"abc")
    world.commit()
    world.send(*"de")
    world.commit()
    world.crash()
    assert world.waiting() == list("abcde")
    assert world.listen(share="s", ttl=60, credit=9).got == list("abcde")


def test_what_was_not_committed_is_lost_and_its_sender_was_not_told(world: DurableWorld) -> None:
    world.listen(share="s", ttl=60)
    world.send("a")
    world.commit()
    world.send("b")
    assert world.safe == ["a"]
    world.crash()
    assert world.waiting() == ["a"]


def test_what_was_held_comes_back_to_its_place_and_what_was_settled_does_not(world: DurableWorld) -> None:
    client = world.listen(share="s", ttl=60, credit=2)
    world.send(*"abc")
    world.commit()
    client.settle(place=1)
    world.commit()
    world.crash()
    assert world.waiting() == ["a", "c"]


def test_new_messages_come_after_the_old_ones(world: DurableWorld) -> None:
    world.listen(share="s", ttl=60)
    world.send(*"ab")
    world.commit()
    world.crash()
    world.send(*"cd")
    world.commit()
    world.crash()
    assert world.waiting() == list("abcd")


def test_a_message_keeps_its_delivery_count(world: DurableWorld) -> None:
    client = world.listen(share="s", ttl=60, credit=3)
    world.send("a", "b", "c", count=2)
    client.settle(Outcome.MODIFIED)  # before it is written
    world.commit()
    client.settle(Outcome.MODIFIED)  # after that
    client.leave()
    world.commit()
    world.crash()
    client = world.listen(share="s", ttl=60, credit=3)
    assert {held.rest.decode(): held.count for held in client.held} == {"a": 3, "b": 3, "c": 3}


def test_a_message_keeps_what_is_left_of_its_time(world: DurableWorld) -> None:
    world.listen(share="s", ttl=60)
    world.send("short", ttl=3000)
    world.send("long", ttl=10_000)
    world.send("for ever")
    world.commit()
    world.crash(down=4)
    assert world.waiting() == ["long", "for ever"]
    assert world.listen(share="s", ttl=60, credit=9).held[0].expires == pytest.approx(world.now + 6)
    world.commit()
    world.crash()
    assert world.waiting() == ["long", "for ever"]


def test_what_runs_out_is_deleted(world: DurableWorld) -> None:
    client = world.listen(share="s", ttl=60)
    world.send("swept", "popped", "full", ttl=1000)
    world.commit()
    world.wait(1)
    client.credit(9)
    world.commit()
    assert world.store.load()[1] == []


def test_a_destination_that_nobody_listens_to_is_forgotten_on_the_wall_clocks_time(world: DurableWorld) -> None:
    world.listen("a", ttl=60).leave()
    world.listen("b", ttl=600).leave()
    world.send("m", topic="a")
    world.commit()
    world.crash(down=61)
    assert world.destinations() == ["private:b"]
    assert world.send("n", topic="a") is Outcome.RELEASED
    world.commit()
    assert [found.name.pattern for found in world.store.load()[0]] == ["b"]
    assert world.store.load()[1] == []


def test_a_destination_that_had_consumers_gets_its_time_to_live_from_the_restart(world: DurableWorld) -> None:
    world.listen(share="s", ttl=60)
    world.send("m")
    world.commit()
    world.crash(down=1000)
    world.wait(59)
    assert world.waiting() == ["m"]
    world.commit()
    world.crash(down=2)
    assert world.destinations() == []


def test_a_destination_that_was_forgotten_stays_so(world: DurableWorld) -> None:
    client = world.listen(ttl=60)
    world.send("m")
    world.commit()
    client.leave(forget=True)
    world.commit()
    world.crash()
    assert world.destinations() == [] and world.store.load() == ([], [])


def test_a_destination_that_comes_again_in_the_same_batch_is_there(world: DurableWorld) -> None:
    world.listen(ttl=60).leave(forget=True)
    world.listen(ttl=60)
    world.send("m")
    world.commit()
    world.crash()
    assert world.destinations() == ["private:t"] and world.waiting() == ["m"]


def test_a_subscriber_without_time_to_live_makes_the_destination_mortal(world: DurableWorld) -> None:
    """It replaces the time to live that there was, and the next end of its last consumer is the end of it."""
    world.listen(share="s", ttl=60)
    world.send("m")
    world.commit()
    world.listen(share="s")
    world.commit()
    world.crash()
    assert world.destinations() == []
    world.commit()
    assert world.store.load() == ([], [])


def test_a_subscriber_with_time_to_live_makes_it_immortal_again(world: DurableWorld) -> None:
    world.listen(share="s", ttl=60)
    world.send("m")
    world.commit()
    world.listen(share="s")
    world.commit()
    world.listen(share="s", ttl=60)
    world.commit()
    world.crash()
    assert world.waiting() == ["m"]


def test_what_another_destination_loses_one_keeps(world: DurableWorld) -> None:
    world.listen("t", client="mortal")
    world.listen("+", client="c", ttl=60)
    world.send("m")
    world.commit()
    world.crash()
    assert world.waiting("+") == ["m"] and world.destinations() == ["private:+"]


def test_a_destination_fuller_than_allowed_gives_out_what_it_has(tmp_path: Path) -> None:
    world = DurableWorld(tmp_path)
    world.listen(share="s", ttl=60)
    world.send(*"abc")
    world.commit()
    world.limits = Limits(queue_messages=2)
    world.crash()
    assert world.send("d") is Outcome.REJECTED
    assert world.listen(share="s", ttl=60, credit=9).got == list("abc")
    world.store.close()


# A store that fails


def test_what_cannot_be_written_is_refused_with_the_reason_and_given_to_nobody(world: DurableWorld) -> None:
    client = world.listen(share="s", ttl=60)
    world.commit()
    break_store(world)
    world.send("a", "b")
    world.commit()
    assert list(world.refused) == ["a", "b"] and world.safe == []
    assert world.refused["a"].name == FULL
    assert "cannot store messages at the moment: the store :memory: fails" in world.refused["a"].description
    assert "attempt to write" in world.refused["a"].description
    assert client.credit(9).got == []
    (destination,) = world.broker.destinations.values()
    assert destination.bytes == 0


def test_while_the_store_fails_what_has_to_be_kept_is_refused_at_once_and_the_rest_is_served(
    world: DurableWorld,
) -> None:
    client = world.listen(share="s", ttl=60, credit=9)
    other = world.listen("other", client="o", credit=9)
    world.send("old")
    world.commit()
    break_store(world)
    client.settle()
    world.commit()
    assert world.send("new") is Outcome.REJECTED
    assert world.send("elsewhere", topic="other") is Outcome.ACCEPTED
    assert world.publish("at most once")[0] is Outcome.ACCEPTED
    assert client.got == ["old", "at most once"] and other.got == ["elsewhere"]


def test_when_the_store_works_again_what_it_missed_is_written(world: DurableWorld) -> None:
    client = world.listen(share="s", ttl=60, credit=3)
    world.send("settled", "tried", "waits")
    world.commit()
    break_store(world)
    client.settle()
    client.settle(Outcome.MODIFIED)
    world.listen("late", ttl=60)
    world.commit()
    world.commit()
    mend_store(world)
    assert world.send("early") is Outcome.REJECTED
    world.commit()
    assert world.send("new") is None
    world.commit()
    world.crash()
    assert world.waiting() == ["tried", "waits", "new"]
    assert world.destinations() == ["share:s:t", "private:late"]
    assert [held.count for held in world.listen(share="s", ttl=60, credit=3).held] == [1, 0, 0]


def test_the_sender_of_a_message_that_a_consumer_has_waits_for_that_consumer(world: DurableWorld) -> None:
    client = world.listen(share="s", ttl=60, credit=3)
    world.commit()
    break_store(world)
    world.send("settled", "goes back", "stays")
    world.commit()
    assert world.safe == [] and world.refused == {}
    client.settle()
    assert world.safe == ["settled"]
    client.credit(0).settle(Outcome.RELEASED)
    world.commit()
    assert list(world.refused) == ["goes back"] and world.waiting() == []
    mend_store(world)
    world.commit()
    assert world.safe == ["settled", "stays"]
    world.crash()
    assert world.waiting() == ["stays"]


def test_what_is_settled_while_its_batch_fails_is_safe(world: DurableWorld) -> None:
    client = world.listen(share="s", ttl=60, credit=3)
    world.commit()
    world.send("a", "b")
    batch = world.journal.take(world.now + GRACE)
    client.settle()
    client.settle(Outcome.MODIFIED)
    world.broker.not_written(batch, "no room")
    assert world.safe == ["a"] and world.refused == {}
    world.commit()
    world.crash()
    assert world.waiting() == ["b"]
    assert [held.count for held in world.listen(share="s", ttl=60, credit=2).held] == [1]


def test_a_message_in_two_destinations_is_refused_once(world: DurableWorld) -> None:
    clients = [world.listen(client=name, ttl=60) for name in "ab"]
    world.commit()
    break_store(world)
    world.send("m")
    world.commit()
    assert list(world.refused) == ["m"]
    assert [client.credit(9).got for client in clients] == [[], []]


@pytest.mark.parametrize("committed", ["neither", "the message", "both"])
def test_a_purge_that_is_undone_is_undone_in_the_store_too(world: DurableWorld, committed: str) -> None:
    world.listen(share="s", ttl=60)
    world.send("a", "b")
    if committed != "neither":
        world.commit()
    [destination] = world.broker.destinations.values()
    gone = world.broker.purge(destination)
    if committed == "both":
        world.commit()
    assert world.broker.unpurge(destination, gone, world.now)
    world.send("c")
    world.commit()
    world.crash()
    assert world.waiting() == ["a", "b", "c"]
