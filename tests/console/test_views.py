"""The parts together: what happens once a second."""

from __future__ import annotations

from console.watched import Watched
from mqlight.server.console.destinations import CARDS


def test_every_part_counts_once_a_second() -> None:
    world = Watched()
    world.client("w").listen("private:t")
    world.wait(1.0)
    world.send("t")
    world.wait(1.0)
    assert world.views.overview.rate == 1.0
    assert world.views.destinations.cards(world.now)[0]["arriving"] == 1.0
    card = next(each for each in world.views.clients.cards() if each["id"] == "web")
    assert (card["sent"], card["rate"]) == (1, 1.0)


def test_without_a_page_many_destinations_cost_nothing() -> None:
    world = Watched()
    client = world.client("c")
    for i in range(CARDS):
        client.listen(f"private:t/{i}")
    for _ in range(2):
        world.now += 1.0
        world.views.second(world.now, watched=False)
    assert world.views.overview.totals(world.now)["series"] == []


def test_times_are_shown_as_those_of_the_wall() -> None:
    assert Watched().views.wall(2.5) == 2500
