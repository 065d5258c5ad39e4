"""The demo: traffic of every kind, marked, and gone when it ends."""

from __future__ import annotations

import pytest

from console.watched import Watched
from mqlight.amqp.message import Message
from mqlight.server.console.calls import calls, tree
from mqlight.server.console.demo import LONGEST


class Shop(Watched):
    """A world in which the demo runs."""

    def __init__(self) -> None:
        super().__init__()
        self.views.demo.start(self.now)

    def run_for(self, seconds: float) -> None:
        for _ in range(int(seconds * 10)):
            self.now += 0.1
            self.history.tick(self.now, watched=True)
            self.views.demo.tick(self.now)
            self.broker.sweep(self.now)
            self.run()
        self.views.second(self.now, watched=True)


def test_the_demo_shows_every_kind_of_fate() -> None:
    shop = Shop()
    shop.run_for(90)
    states = {story.state for story in shop.history.stories.values()}
    assert {"accepted", "expired", "nobody", "rejected", "waiting"} <= states
    statuses = {call.status for call in calls(shop.history)}
    assert {"replied", "error", "nobody"} <= statuses
    assert all(story.topic.startswith(("demo/", "response/demo-")) for story in shop.history.stories.values())
    assert shop.broker.destinations and len(shop.views.clients.cards()) == 8


def test_an_order_is_a_call_with_two_calls_inside_it() -> None:
    shop = Shop()
    shop.run_for(30)
    order = next(c for c in calls(shop.history) if c.request.topic == "demo/order" and c.status == "replied")
    family = [(call.request.topic, depth) for call, depth in tree(shop.history, order.request)]
    assert family == [("demo/order", 0), ("demo/stock", 1), ("demo/price", 1)]


@pytest.mark.parametrize("seconds", [0, 5, 12.3])
def test_the_demo_leaves_nothing_behind(seconds: float) -> None:
    shop = Shop()
    shop.run_for(seconds)
    shop.views.demo.stop(shop.now)
    assert not shop.views.demo.running and not shop.broker.destinations
    published = shop.broker.published
    shop.run_for(5)
    assert shop.broker.published == published


def test_the_demo_ends_by_itself() -> None:
    shop = Shop()
    shop.run_for(1)
    shop.views.demo.start(shop.now)
    shop.now += LONGEST - 1
    shop.views.demo.tick(shop.now)
    assert shop.views.demo.running
    shop.now += 1
    shop.views.demo.tick(shop.now)
    assert not shop.views.demo.running


@pytest.mark.parametrize("body", ["no JSON", "[]", "{}", '{"uuid": "u", "data": {"fish": 1}}', b"\x00", None])
def test_strangers_cannot_disturb_the_demo(body: object) -> None:
    shop = Shop()
    web = shop.client("web")
    web.send(web.publisher("demo/order"), Message(body=body))
    shop.run_for(3)
    story = next(each for each in shop.history.stories.values() if each.sender == "web")
    assert story.state == "rejected"


@pytest.mark.parametrize("body", ["no JSON", "[]", '{"data": "x"}', b"\x00", None])
def test_strangers_who_answer_in_the_place_of_a_service_do_no_harm(body: object) -> None:
    shop = Shop()
    web = shop.client("web")
    link = web.publisher("response/demo-shop-1")
    for i in range(200):
        web.send(link, Message(body=body, correlation_id=f"demo-{i}"))
    shop.run_for(20)
    assert any(call.status == "replied" for call in calls(shop.history))


def test_a_stranger_may_order_too() -> None:
    shop = Shop()
    shop.client("web").listen("private:response/web")
    request = '{"uuid": "u1", "data": {"fish": "eel", "pieces": 2}, "replyTo": "response/web"}'
    shop.send("demo/order", request)
    shop.run_for(5)
    assert [body for body in shop.clients[0].bodies if "u1" in body] == [
        '{"uuid":"u1","data":{"accepted":"eel","price":8}}'
    ]
