"""Why a message was not delivered: each sentence comes from the real situation."""

from __future__ import annotations

import re

import pytest

from console.watched import Watched
from mqlight.amqp.message import Message
from mqlight.amqp.types import Condition, Outcome
from mqlight.server.broker import Limits
from mqlight.server.console.why import of_sender, span, why
from mqlight.server.journal import Journal
from mqlight.server.links import SENDER_CREDIT, Publisher
from mqlight.server.permissions import Permissions, User


def test_nobody_is_subscribed() -> None:
    world = Watched()
    cause = world.why(world.send("orders/new"))
    assert cause.code == "nobody"
    assert cause.text == "Nobody is subscribed to this topic"
    assert "orders/new" in cause.remedy


@pytest.mark.parametrize("pattern", ["Orders/New", "orders/ned", "orders", "order/new", "shop/orders/new"])
def test_nobody_is_subscribed_but_a_subscription_comes_close(pattern: str) -> None:
    world = Watched()
    world.client("c").listen(f"private:{pattern}")
    world.client("d").listen("private:weather")
    cause = world.why(world.send("orders/new"))
    assert cause.text == f"Nobody is subscribed to this topic; 1 subscription comes close: {pattern}"


def test_the_subscription_came_later() -> None:
    world = Watched()
    story = world.send("t")
    world.wait(3.0)
    world.client("c").listen("private:t")
    cause = world.why(story)
    assert cause.code == "subscribed-later"
    assert cause.text == "Nobody was subscribed to this topic when it came; the subscription of c to t began 3 s later"


def test_the_share_has_no_member() -> None:
    world = Watched()
    worker = world.client("w")
    worker.listen("share:billing:t", ttl=600)
    world.cut(worker)
    world.wait(12.0)
    cause = world.why(world.send("t"))
    assert (cause.code, cause.text) == ("no-member", "The share billing has no member since 12 s")


def test_the_members_have_no_credit_since_they_are_busy() -> None:
    world = Watched()
    for name in ("w1", "w2"):
        world.client(name).listen("share:billing:t", credit=1)
    world.send("t"), world.send("t")
    world.wait(12.0)
    cause = world.why(world.send("t"))
    assert cause.code == "no-credit"
    expected = "No member of the share billing has credit: 2 members are busy since 12 s, with 2 messages in hand"
    assert cause.text == expected


def test_a_member_asks_for_no_messages() -> None:
    world = Watched()
    world.client("w").listen("share:billing:t", credit=0)
    assert "none asks for messages" in world.why(world.send("t")).text


def test_a_member_holds_it() -> None:
    world = Watched()
    world.client("w").listen("share:billing:t")
    story = world.send("t")
    world.wait(7.0)
    assert world.why(story).text == "w holds it since 7 s and has not settled it"


def test_the_destination_is_full() -> None:
    world = Watched(limits=Limits(queue_messages=1))
    world.client("w").listen("share:billing:t", credit=0)
    world.send("t")
    cause = world.why(world.send("t"))
    assert cause.code == "full"
    assert cause.text.startswith("The destination share:billing:t is full: it holds 1 of 1 messages")


def test_a_full_destination_drops_what_is_at_most_once() -> None:
    world = Watched(limits=Limits(queue_messages=1))
    world.client("w").listen("private:t", credit=0, at_most_once=True)
    world.send("t")
    assert world.why(world.send("t")).code == "full"


def test_the_user_may_not_send_there() -> None:
    world = Watched()
    fish = world.client("fish")
    fish.connection.client.user = User("fish", Permissions(("pond/#",), ()))
    cause = world.why(world.send("shop/new", client_id="fish"))
    assert cause.code == "not-permitted"
    assert cause.text == "The user 'fish' may not send to 'shop/new'"
    assert 'a line "fish send PATTERN"' in cause.remedy


def test_the_time_to_live_ran_out_while_it_waited() -> None:
    world = Watched()
    world.client("w").listen("share:billing:t", credit=0)
    story = world.send("t", ttl=30_000)
    world.wait(31.0)
    assert world.why(story).text == "Its time to live of 30 s ran out while it waited in the share billing"


def test_the_time_to_live_ran_out_after_a_worker_held_it() -> None:
    world = Watched()
    worker = world.client("w")
    worker.listen("share:billing:t", credit=1, ttl=600)
    story = world.send("t", ttl=30_000)
    world.wait(20.0)
    worker.settle(outcome=Outcome.RELEASED)
    world.wait(11.0)
    assert world.why(story).text == "Its time to live of 30 s ran out after w had held it and not settled it"


def test_it_was_rejected_with_a_condition() -> None:
    world = Watched()
    worker = world.client("w")
    worker.listen("private:t")
    story = world.send("t")
    link, handle, *_ = worker.all("message")[0]
    link.settle(handle, Outcome.REJECTED, Condition("amqp:decode-error", "no JSON"))
    world.run()
    cause = world.why(story)
    assert (cause.code, cause.text) == ("rejected", "w rejected it: no JSON (amqp:decode-error)")


@pytest.mark.parametrize(("outcome", "word"), [(Outcome.RELEASED, "released"), (Outcome.MODIFIED, "modified")])
def test_it_was_given_back(outcome: Outcome, word: str) -> None:
    world = Watched()
    first = world.client("w")
    first.listen("share:s:t", credit=1)
    story = world.send("t")
    first.settle(outcome=outcome)
    first.engine.links()[0].flow(1)
    world.run()
    first.settle(1, outcome=outcome)
    world.client("v").listen("share:s:t", credit=0)
    [consumer, _] = world.broker.destinations[story.branches[0].destination.name].consumers
    world.broker.observer = None  # what follows is about the words alone
    consumer.credit = 1
    assert world.why(story).text == f"It was {word} 2 times, last by w"


def test_its_receivers_went_away_with_it() -> None:
    world = Watched()
    world.client("keeper").listen("share:s:t", credit=0, ttl=60)
    story = world.send("t")
    for name in ("w1", "w2"):
        worker = world.client(name)
        worker.listen("share:s:t", credit=1)
        world.run()
        world.cut(worker)
    assert re.match(r"Its receivers went away 2 times while they held it, last w2: it rests", world.why(story).text)


def test_its_receiver_lost_its_connection_and_the_subscription_ended() -> None:
    world = Watched()
    worker = world.client("w")
    worker.listen("private:t")
    story = world.send("t")
    world.cut(worker)
    cause = world.why(story)
    assert cause.code == "connection-lost"
    assert cause.text.startswith("w lost its connection with it in hand")


def test_its_subscription_ended_while_it_waited() -> None:
    world = Watched()
    worker = world.client("w")
    worker.listen("private:t", credit=0)
    story = world.send("t")
    world.cut(worker)
    assert world.why(story).text == "The subscription of w to t ended before it was delivered"


def test_it_was_purged() -> None:
    world = Watched()
    world.client("w").listen("share:s:t", credit=0)
    story = world.send("t")
    [destination] = world.broker.destinations.values()
    assert len(world.broker.purge(destination)) == 1
    assert world.why(story).code == "purged"
    assert destination.count == 0 and destination.bytes == 0


@pytest.mark.parametrize("topic", ["t", None], ids=["a link to a topic", "a link to any topic"])
def test_it_is_too_large(topic: str | None) -> None:
    world = Watched()
    web = world.client("web")
    web.send(web.publisher(topic), Message(body="m" * 20_000, to="t"))
    [story] = world.history.stories.values()
    cause = world.why(story)
    assert (cause.code, story.topic, story.sender) == ("too-large", topic or "", "web")
    assert cause.text == "The message is larger than the 10000 bytes that are allowed"
    assert "--message-size" in cause.remedy
    assert world.history.refusals == 1


def test_its_sender_has_no_credit() -> None:
    world = Watched()
    world.broker.journal = Journal()
    world.client("w").listen("share:billing:t", credit=0, ttl=600)
    web = world.client("web")
    link = web.publisher("t")
    [served] = web.connection.client.served.values()
    assert isinstance(served, Publisher)
    for _ in range(SENDER_CREDIT - 1):
        web.send(link, Message(body="m", to="t"))
    assert of_sender(served) is None
    web.send(link, Message(body="m", to="t"))
    cause = of_sender(served)
    assert cause is not None and cause.code == "sender-no-credit"
    assert cause.text == "web has no credit to send to t: its last 1000 messages are not on the disk yet"
    world.broker.written(world.broker.journal.take(world.now))
    assert of_sender(served) is None, "the store has written them"


def test_the_server_refuses_what_is_no_message() -> None:
    world = Watched()
    web = world.client("web")
    web.send(web.publisher(None), Message(body="m"))
    story = next(iter(world.history.stories.values()))
    assert world.why(story).text.startswith("The server refused it: The message is for no topic")


def test_a_message_that_was_delivered_has_no_cause() -> None:
    world = Watched()
    worker = world.client("w")
    worker.listen("private:t")
    story = world.send("t")
    worker.settle()
    assert why(story, world.broker, world.now) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.44, "0.4 s"), (3, "3 s"), (12.4, "12 s"), (119, "119 s"), (180, "3 min"), (7300, "2 h")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert span(seconds) == text
