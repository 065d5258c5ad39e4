"""The cards of clients."""

from __future__ import annotations

from console.watched import Watched
from mqlight.server.console.clients import GONE


def test_a_card_stays_for_a_while_when_its_client_has_gone() -> None:
    world = Watched()
    client = world.client("fish")
    world.wait(1.0)
    assert (world.views.clients.connected, world.views.clients.gone) == (1, 0)
    world.cut(client)
    world.wait(1.0)
    [card] = world.views.clients.cards()
    assert card["gone"] is not None and world.views.clients.gone == 1
    world.wait(GONE + 1)
    assert world.views.clients.cards() == []


def test_the_latest_sender_comes_first() -> None:
    world = Watched()
    for name in ("a", "b", "c"):
        world.client(name)
    world.wait(1.0)
    world.send("t", client_id="b")
    world.wait(1.0)
    assert [(card["id"], card["sent"]) for card in world.views.clients.cards()] == [("b", 1), ("a", 0), ("c", 0)]


def test_a_client_that_came_and_went_between_two_looks_has_a_card() -> None:
    world = Watched()
    world.client("w").listen("private:t")
    world.wait(1.0)
    world.send("t", client_id="brief")
    world.cut(world.clients[-1])
    world.wait(1.0)
    card = next(each for each in world.views.clients.cards() if each["id"] == "brief")
    assert card["sent"] == 1


def test_the_page_of_a_client_has_its_links_and_what_it_holds() -> None:
    world = Watched()
    world.client("web")
    worker = world.client("worker")
    worker.listen("share:s:orders/#", credit=5)
    worker.publisher("done")
    world.send("orders/new", "apples")
    world.wait(1.0)
    found = world.views.clients.detail("worker", world.now, lambda topic: True)
    assert found is not None
    receives, sends = found["links"]
    assert (receives["direction"], receives["address"], receives["credit"]) == ("receives", "share:s:orders/#", 4)
    assert (receives["messages"], receives["unsettled"], receives["oldest"]) == (1, 1, 1.0)
    assert (sends["direction"], sends["address"], sends["messages"], sends["why"]) == ("sends", "done", 0, None)
    assert [(each["topic"], each["preview"], each["holder"]) for each in found["holds"]] == [
        ("orders/new", "apples", "worker")
    ]
    hidden = world.views.clients.detail("worker", world.now, lambda topic: False)
    assert hidden is not None and hidden["holds"][0]["preview"] == ""


def test_the_page_of_a_client_stays_for_a_while_when_it_has_gone() -> None:
    world = Watched()
    client = world.client("fish")
    world.wait(1.0)
    world.cut(client)
    world.wait(1.0)
    found = world.views.clients.detail("fish", world.now, lambda topic: True)
    assert found is not None and found["gone"] is not None and found["links"] == []
    assert world.views.clients.detail("stranger", world.now, lambda topic: True) is None


def test_a_client_that_comes_back_from_elsewhere_has_a_new_card() -> None:
    world = Watched()
    client = world.client("fish")
    world.send("t", client_id="fish")
    world.wait(1.0)
    world.cut(client)
    again = world.client("fish")
    again.connection.client.address = "elsewhere:2"
    world.wait(1.0)
    [card] = world.views.clients.cards()
    assert (card["address"], card["sent"], card["gone"]) == ("elsewhere:2", 0, None)
