"""The history: what it records of messages, what it forgets, and what stays exact."""

from __future__ import annotations

import gc
import tracemalloc

from console.watched import Watched
from mqlight.amqp.message import Message, encode
from mqlight.amqp.types import Outcome
from mqlight.server.console.history import BURST, ODD_BURST, QUIET_RATE


def test_a_story_tells_every_step_of_a_message() -> None:
    world = Watched()
    worker = world.client("worker")
    worker.listen("share:s:orders/#")
    story = world.send("orders/new", "apples")
    assert (story.sender, story.topic, story.state) == ("web", "orders/new", "held")
    world.wait(1.0)
    worker.settle(outcome=Outcome.RELEASED)
    world.wait(1.0)
    worker.settle(1)
    [branch] = story.branches
    assert [(event.kind, event.who) for event in branch.events] == [
        ("given", "worker"), ("released", "worker"), ("given", "worker"), ("accepted", "worker")
    ]  # fmt: skip
    assert story.state == "accepted" and story.final
    assert story.content.text == "apples"


def test_every_receiver_has_a_branch_of_its_own() -> None:
    world = Watched()
    world.client("a").listen("private:t")
    world.client("b").listen("private:#", credit=0)
    story = world.send("t")
    assert [branch.state for branch in story.branches] == ["held", "waiting"]
    assert story.state == "waiting", "the branch that needs a look most"


def test_at_most_once_is_delivered_when_it_is_sent() -> None:
    world = Watched()
    world.client("a").listen("private:t", at_most_once=True)
    assert world.send("t").state == "accepted"


def test_the_memory_is_bounded_and_the_history_says_what_fell_out() -> None:
    tracemalloc.start()
    world = Watched(memory=1024 * 1024)
    world.client("a").listen("private:t", at_most_once=True)
    for _ in range(300):
        world.history.allowance = BURST
        world.send("t", "x" * 9000)
    history = world.history
    for story in history.stories.values():
        assert story.content.text
    assert history.taken <= history.memory
    assert len(history.stories) + history.fallen == history.recorded == 300
    assert next(iter(history.stories)) == history.fallen + 1, "the oldest fall out"
    gc.collect()  # of what other tests left
    before = tracemalloc.get_traced_memory()[0]
    history.clear()
    del story
    gc.collect()
    assert before - tracemalloc.get_traced_memory()[0] < 1.2 * history.memory
    tracemalloc.stop()


def test_messages_that_wait_for_long_keep_no_story_that_fell_out() -> None:
    world = Watched(memory=1024 * 1024)
    world.client("a").listen("share:s:t", credit=0)
    for _ in range(1000):
        world.history.allowance = BURST
        world.send("t", "x" * 1000)
    [destination] = world.broker.destinations.values()
    traced = [message for message in destination.waiting() if message.trace is not None]
    assert destination.count == 1000
    assert len(traced) == len(world.history.stories) < 300


def test_counters_stay_exact_while_messages_are_sampled() -> None:
    world = Watched()
    client = world.client("a")
    client.listen("private:t", at_most_once=True)
    link = client.publisher(None)
    for _ in range(BURST + 100):
        client.engine.links()[-1].send(encode(Message(body="m", to="t")), None, True)
        if world.broker.published % 500 == 0:
            world.run()
    world.run()
    assert link
    assert world.broker.published == BURST + 100
    assert world.history.recorded == BURST
    world.wait(0.1)
    assert world.history.sampling_at == world.now
    world.history.allowance = 0
    world.now += 1.0
    world.history.tick(world.now, watched=False)
    assert world.history.allowance == QUIET_RATE


def test_what_goes_wrong_with_an_unrecorded_message_is_recorded() -> None:
    world = Watched()
    worker = world.client("worker")
    worker.listen("private:t")
    world.history.allowance = 0
    web = world.client("web")
    web.send(web.publisher(None), Message(body="m", to="t"))
    assert world.history.recorded == 0
    worker.settle(outcome=Outcome.REJECTED)
    [story] = world.history.stories.values()
    assert (story.state, story.topic, story.partial) == ("rejected", "t", True)


def test_refusals_are_counted_and_their_stories_bounded() -> None:
    world = Watched()
    web = world.client("web")
    link = web.publisher(None)
    for _ in range(ODD_BURST + 10):
        web.send(link, Message(body="m", to="nobody"))
    assert world.history.unrouted == ODD_BURST + 10
    assert world.history.recorded == ODD_BURST


def test_a_cleared_history_keeps_its_numbers() -> None:
    world = Watched()
    world.client("a").listen("private:t")
    world.send("t")
    world.history.clear()
    assert not world.history.stories and world.history.taken == 0
    assert world.send("t").number == 2
