"""The figures of the whole server, and the list of problems."""

from __future__ import annotations

from console.watched import Watched
from mqlight.amqp.message import Message
from mqlight.server.journal import Journal
from mqlight.server.links import SENDER_CREDIT


def test_all_messages_are_counted_whatever_became_of_them() -> None:
    world = Watched()
    world.client("w").listen("private:t")
    for topic in ("t", "t", "nobody"):
        world.send(topic)
    world.wait(1.0)
    totals = world.views.overview.totals(world.now)
    assert (totals["messages"], totals["nobody"], totals["held"], totals["recorded"]) == (3, 1, 3, 3)
    assert (totals["connected"], totals["gone"], totals["destinations"]) == (2, 0, 1)
    assert totals["series"][-1][1] == 0


def test_the_rate_is_that_of_the_last_second() -> None:
    world = Watched()
    world.client("w").listen("private:t")
    world.wait(1.0)
    for _ in range(10):
        world.send("t")
    world.wait(2.0)
    assert world.views.overview.rate == 5.0


def test_attention_is_empty_while_all_is_well() -> None:
    world = Watched()
    world.client("w").listen("share:s:t")
    world.send("t")
    assert world.views.overview.attention(world.now) == []


def test_a_share_without_members_a_busy_one_and_dead_letters_need_attention() -> None:
    world = Watched()
    worker = world.client("w")
    worker.listen("share:s:t", credit=0, ttl=600)
    world.client("busy").listen("share:b:u", credit=1)
    world.client("keeper").listen("share:macaque-dead:macaque/dead/#", credit=0)
    for topic in ("t", "u", "u", "macaque/dead/u"):
        world.send(topic)
    world.cut(worker)
    world.wait(5.0)
    assert [each["text"] for each in world.views.overview.attention(world.now)] == [
        "share:s:t has 1 message and no member",
        "share:b:u has no credit since 5 s",
        "1 dead letter to mend, replay or drop",
    ]


def test_a_sender_without_credit_needs_attention() -> None:
    world = Watched()
    world.broker.journal = Journal()
    world.client("w").listen("share:billing:t", credit=0, ttl=600)
    web = world.client("web")
    link = web.publisher("t")
    for _ in range(SENDER_CREDIT):
        web.send(link, Message(body="m", to="t"))
    [line] = world.views.overview.attention(world.now)
    assert line["text"].startswith("web has no credit to send to t") and line["link"] == "/clients"
