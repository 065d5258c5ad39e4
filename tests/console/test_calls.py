"""Requests, their replies, and the calls inside a call."""

from __future__ import annotations

from typing import Any

import pytest

from console.watched import Watched
from mqlight.amqp.message import Message
from mqlight.amqp.types import Outcome
from mqlight.server.console.calls import Call, calls, tree
from mqlight.server.console.history import Story

TRACE, OTHER = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"


def everybody(topic: str) -> bool:
    return True


@pytest.fixture
def world() -> Watched:
    """A world with the workers shop, stock and price, each of which answers the topic of its name."""
    world = Watched()
    for name in ("shop", "stock", "price"):
        world.client(name).listen(f"share:{name}:{name}")
    return world


def row(world: Watched, request: Story) -> dict[str, Any]:
    return next(each for each in world.views.calls.rows(everybody) if each["id"] == world.views.messages.id(request))


def family(world: Watched, request: Story) -> list[tuple[str, int]]:
    return [(call.request.topic, depth) for call, depth in tree(world.history, request)]


def test_a_call_is_split_into_waiting_and_working(world: Watched) -> None:
    world.client("slow").listen("share:slow:slow", credit=0)
    request = world.call("slow", "u1")
    assert row(world, request)["status"] == "waiting"
    world.wait(2.0)
    slow = world.clients[3]
    slow.engine.links()[0].flow(1)
    world.run()
    assert row(world, request)["status"] == "running"
    world.wait(1.0)
    world.reply(request, "slow")
    found = row(world, request)
    assert (found["status"], found["worker"], found["attempt"]) == ("replied", "slow", 1)
    assert (found["waiting"], found["working"], found["total"]) == (2000.0, 1000.0, 3000.0)


@pytest.mark.parametrize(("outcome", "status"), [(Outcome.ACCEPTED, "no reply"), (Outcome.REJECTED, "rejected")])
def test_a_request_without_a_reply_says_how_it_ended(world: Watched, outcome: Outcome, status: str) -> None:
    request = world.call("shop", "u1")
    world.clients[0].settle(outcome=outcome)
    assert row(world, request)["status"] == status


def test_a_request_to_nobody_is_a_call_too(world: Watched) -> None:
    assert row(world, world.call("nobody/here", "u1"))["status"] == "nobody"


def test_the_reply_of_a_failed_call_says_its_error(world: Watched) -> None:
    request = world.call("shop", "u1")
    body = '{"uuid": "u1", "error": {"code": 404, "message": "no fish"}}'
    world.send("response/web", body, "shop", correlation_id="u1")
    assert (row(world, request)["status"], row(world, request)["error"]) == ("error", "404 no fish")


def test_a_reader_who_may_not_see_the_topic_sees_no_data_and_no_error(world: Watched) -> None:
    world.call("shop", "u1")
    [found] = world.views.calls.rows(lambda topic: False)
    assert (found["data"], found["error"]) == ("", "")


def nest(world: Watched, trace: str) -> tuple[Story, Story, Story]:
    """The web calls shop, which calls stock and then price."""
    outer = world.call("shop", "u1", trace=trace)
    world.wait(0.1)
    stock = world.call("stock", "u2", "shop", trace)
    world.wait(0.1)
    world.reply(stock, "stock")
    world.wait(0.1)
    price = world.call("price", "u3", "shop", trace)
    world.wait(0.1)
    world.reply(price, "price")
    world.reply(outer, "shop")
    return outer, stock, price


@pytest.mark.parametrize("trace", ["", TRACE], ids=["by the worker", "by the trace"])
def test_nested_calls_are_a_tree_whichever_of_them_is_asked_for(world: Watched, trace: str) -> None:
    for request in nest(world, trace):
        assert family(world, request) == [("shop", 0), ("stock", 1), ("price", 1)]


def test_a_trace_relates_calls_that_another_client_of_the_worker_made(world: Watched) -> None:
    outer = world.call("shop", "u1", trace=TRACE)
    world.wait(0.1)
    inner = world.call("stock", "u2", "another_client", TRACE)
    world.wait(0.1)
    world.call("price", "u3", "stock", TRACE)
    unrelated = world.call("price", "u4", "another_client", OTHER)
    assert family(world, inner) == [("shop", 0), ("stock", 1), ("price", 2)]
    assert family(world, outer) == family(world, inner)
    assert family(world, unrelated) == [("price", 0)]


def test_a_call_without_a_trace_begins_the_trace_of_the_calls_inside_it(world: Watched) -> None:
    outer = world.call("shop", "179d6f7d-c299-4861-b3a7-000000000001")
    world.wait(0.1)
    world.call("stock", "u2", "another_client", "179d6f7dc2994861b3a7000000000001")
    assert family(world, outer) == [("shop", 0), ("stock", 1)]


def test_a_call_that_could_belong_to_two_calls_belongs_to_the_call_around_both(world: Watched) -> None:
    outer = world.call("shop", "u1", trace=TRACE)
    world.wait(0.1)
    world.call("stock", "u2", "shop", TRACE), world.call("price", "u3", "shop", TRACE)
    world.wait(0.1)
    world.call("nobody/knows", "u4", "another_client", TRACE)
    assert family(world, outer) == [("shop", 0), ("stock", 1), ("price", 1), ("nobody/knows", 1)]


@pytest.mark.parametrize("begun", [True, False], ids=["a trace that began here", "a trace of another system"])
def test_calls_side_by_side_of_one_client_are_not_inside_each_other(world: Watched, begun: bool) -> None:
    outer = world.call("shop", TRACE, trace="" if begun else TRACE)
    world.wait(0.1)
    for name, span in (("stock", 5), ("price", 5 if begun else 6)):
        world.call(name, name, "another_client", TRACE, span)
    assert family(world, outer) == [("shop", 0), ("stock", 1), ("price", 1)]


def test_a_call_with_another_span_of_the_same_client_is_inside(world: Watched) -> None:
    outer = world.call("shop", TRACE)
    world.wait(0.1)
    world.call("stock", "u2", "another_client", TRACE, 5)
    world.wait(0.1)
    world.call("price", "u3", "another_client", TRACE, 6)
    assert family(world, outer) == [("shop", 0), ("stock", 1), ("price", 2)]


def test_an_untraced_call_that_could_belong_to_two_calls_stands_alone(world: Watched) -> None:
    world.call("shop", "v1"), world.call("shop", "v2")
    alone = world.call("stock", "v3", "shop")
    assert family(world, alone) == [("stock", 0)], "the worker has two requests, and no trace says which it was"


def test_calls_one_after_the_other_are_not_nested(world: Watched) -> None:
    first = world.call("shop", "u1", trace=TRACE)
    world.reply(first, "shop")
    world.wait(0.1)
    world.call("stock", "u2", "shop", TRACE)
    assert family(world, first) == [("shop", 0)]


def test_the_details_of_a_call_have_its_request_its_reply_and_its_tree(world: Watched) -> None:
    outer, stock, _ = nest(world, TRACE)
    found = world.views.calls.detail(stock, world.now, everybody)
    assert (found["topic"], found["trace"]) == ("stock", TRACE)
    assert (found["request"]["topic"], found["answer"]["topic"]) == ("stock", "response/shop")
    assert [(each["topic"], each["depth"], each["start"]) for each in found["tree"]] == [
        ("shop", 0, 0.0), ("stock", 1, 100.0), ("price", 1, 300.0)
    ]  # fmt: skip
    world.history.clear()
    assert world.views.calls.detail(outer, world.now, everybody)["tree"][0]["topic"] == "shop", "it has fallen out"


def test_a_request_is_found_by_amqps_own_properties_too(world: Watched) -> None:
    web = world.client("web")
    web.send(web.publisher(None), Message(body="1", to="shop", reply_to="r", message_id="m1"))
    [call] = calls(world.history)
    assert isinstance(call, Call) and call.request.topic == "shop" and call.worker == "shop"
