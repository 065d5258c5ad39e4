"""The destinations: cards, rates, and a look that touches nothing."""

from __future__ import annotations

from console.watched import Watched


def everybody(topic: str) -> bool:
    return True


def test_a_card_has_the_members_and_their_work() -> None:
    world = Watched()
    world.client("w1").listen("share:s:t", credit=5)
    world.client("w2").listen("share:s:t", credit=0, ttl=60)
    for _ in range(3):
        world.send("t")
    world.wait(2.0)
    [card] = world.views.destinations.cards(world.now)
    assert (card["name"], card["kind"], card["count"], card["unsettled"], card["given"]) == (
        "share:s:t", "share", 2, 3, 3
    )  # fmt: skip
    first, second = card["members"]
    assert (first["client"], first["credit"], first["holds"], first["taken"], first["oldest"]) == ("w1", 2, 3, 3, 2.0)
    assert (second["credit"], second["oldest"]) == (0, None)


def test_rates_are_those_of_the_last_second() -> None:
    world = Watched()
    world.client("w").listen("private:t", credit=2)
    world.wait(0.5)
    for _ in range(4):
        world.send("t")
    world.wait(0.5)
    [card] = world.views.destinations.cards(world.now)
    assert (card["arriving"], card["leaving"]) == (8.0, 4.0)
    world.wait(0.5)
    assert world.views.destinations.cards(world.now)[0]["arriving"] == 0


def test_shares_come_first_and_topics_for_replies_last() -> None:
    world = Watched()
    client = world.client("c")
    for address in ("private:response/c", "private:a", "share:s:z"):
        client.listen(address)
    assert [card["pattern"] for card in world.views.destinations.cards(world.now)] == ["z", "a", "response/c"]


def test_a_look_shows_held_messages_first_and_changes_nothing() -> None:
    world = Watched()
    world.client("w").listen("share:s:t", credit=1)
    for body in ("one", "two"):
        world.send("t", body, ttl=9_000)
    [destination] = world.broker.destinations.values()
    before = (destination.count, destination.turns, [message.count for message in destination.waiting()])
    rows = world.views.destinations.peek(destination, world.now, everybody)
    assert [(each["preview"], each["holder"], each["left"]) for each in rows] == [("one", "w", 9.0), ("two", "", 9.0)]
    assert before == (destination.count, destination.turns, [message.count for message in destination.waiting()])
    assert world.views.destinations.peek(destination, world.now, lambda topic: False)[0]["preview"] == ""


def test_a_route_is_where_a_message_would_go() -> None:
    world = Watched()
    world.client("w").listen("share:s:shop/#", credit=7)
    world.client("v").listen("private:pond/#")
    [found] = world.views.destinations.route("shop/new")
    assert (found["name"], found["members"], found["credit"]) == ("share:s:shop/#", 1, 7)
    assert world.broker.published == 0
