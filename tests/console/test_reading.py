"""The answers of the API that change nothing."""

from __future__ import annotations

import json
import platform

import pytest

import macaque
from console.conftest import Site, Start, serve, subscriber
from processes import Spawn, wait_until


def test_the_api_tells_the_story_of_a_call(site: Site, spawn: Spawn) -> None:
    serve(spawn, site)
    with macaque.Client(site.url, "web_1") as client:
        assert client.call("shop/new", {"fish": "eel"}).result() == {"accepted": {"fish": "eel"}}
    visitor = site.visitor()
    wait_until(lambda: all(row["state"] == "accepted" for row in visitor.get("api/messages").body["messages"]))
    rows = visitor.get("api/messages").body["messages"]
    assert [(row["topic"], row["role"], row["state"]) for row in rows] == [
        ("response/web_1", "reply", "accepted"), ("shop/new", "request", "accepted")
    ]  # fmt: skip
    assert rows[1]["preview"] == '{"fish":"eel"}'
    detail = visitor.get(f"api/messages/{rows[1]['id']}").body
    assert "received and settled it" in detail["answer"]
    assert [event["kind"] for event in detail["branches"][0]["events"]] == ["given", "accepted"]
    assert detail["related"] == [{"id": rows[0]["id"], "role": "reply", "topic": "response/web_1"}]
    [call] = visitor.get("api/calls").body["calls"]
    assert (call["status"], call["topic"], call["from"], call["attempt"]) == ("replied", "shop/new", "web_1", 1)
    assert call["total"] is not None and call["working"] is not None
    assert json.loads(call["data"]) == {"fish": "eel"}
    card = wait_until(lambda: next((c for c in visitor.get("api/clients").body["clients"] if c["id"] == "web_1"), None))
    assert card["sent"] == 1, "also of a client that was there for a moment only"
    assert card["library"] == f"mqlight Python {platform.python_version()}"


NESTED = """
import macaque
app = macaque.Server(cid="shop_1")
inner = macaque.Client(cid="another_client")
@app.service("shop/new", share_id="shop")
def new(order):
    return [inner.call("shop/stock", order).result(), inner.call("shop/price", order).result()]
@app.service("shop/stock", share_id="stock")
def stock(order):
    return 3
@app.service("shop/price", share_id="price")
def price(order):
    return inner.call("shop/tax", order).result()
@app.service("shop/tax", share_id="tax")
def tax(order):
    return 1
app.run()
"""


def test_the_calls_that_a_service_makes_are_inside_its_call(site: Site, spawn: Spawn) -> None:
    serve(spawn, site, NESTED)
    with macaque.Client(site.url, "web_1") as client:
        assert client.call("shop/new", 1).result() == [3, 1]
    visitor = site.visitor()
    calls = visitor.get("api/calls").body["calls"]
    outer = next(call for call in calls if call["topic"] == "shop/new")
    for call in calls:
        tree = visitor.get(f"api/calls/{call['id']}").body["tree"]
        assert [(each["topic"], each["depth"]) for each in tree] == [
            ("shop/new", 0), ("shop/stock", 1), ("shop/price", 1), ("shop/tax", 2)
        ]  # fmt: skip
        assert {each["trace"] for each in tree} == {outer["trace"]}
    found = visitor.get(f"api/messages?q=trace:{outer['trace'][:12]}").body["messages"]
    assert {row["topic"] for row in found} >= {"shop/new", "shop/stock", "shop/price", "shop/tax"}


def test_a_failed_call_says_its_error(site: Site, spawn: Spawn) -> None:
    serve(spawn, site)
    with macaque.Client(site.url) as client, pytest.raises(macaque.RemoteError):
        client.call("shop/new", "poison").result()
    [call] = site.visitor().get("api/calls").body["calls"]
    assert (call["status"], call["error"]) == ("error", "500 no such fish")


def test_a_page_may_leave_out_what_it_does_not_ask_for(site: Site) -> None:
    visitor = site.visitor().begin()
    for topic in ("a/1", "b/1", "a/2"):
        visitor.post("api/messages", {"topic": topic, "body": "m"})
    topics = [row["topic"] for row in visitor.get("api/messages?q=topic:a/%23").body["messages"]]
    assert topics == ["a/2", "a/1"]
    page = visitor.get("api/messages?limit=1").body
    rest = visitor.get(f"api/messages?before={page['messages'][0]['number']}").body["messages"]
    assert [row["topic"] for row in rest] == ["b/1", "a/1"]


def test_a_filter_that_cannot_be_understood_is_a_sentence(site: Site) -> None:
    answer = site.visitor().get("api/messages?q=state:lost")
    assert answer.status == 400 and "there is no state lost" in answer.body["error"]


@pytest.mark.parametrize("name", ["nonsense", "abcdef-1", "-", "x" * 5000])
def test_a_link_to_a_message_that_is_not_there_says_why(site: Site, name: str) -> None:
    answer = site.visitor().get(f"api/messages/{name}")
    assert answer.status == 404 and len(answer.body["error"]) > 10


def test_a_link_to_a_message_that_fell_out_says_so(start_console: Start) -> None:
    site = start_console("--console-admin", "--console-memory", str(1024 * 1024))
    visitor = site.visitor().begin()
    first = visitor.post("api/messages", {"topic": "t", "body": "m"}).body["id"]
    for _ in range(20):
        visitor.post("api/messages", {"topic": "t", "body": "x" * 100_000})
    answer = visitor.get(f"api/messages/{first}")
    assert "has fallen out of the history" in answer.body["error"]
    totals = next(visitor.frames())["totals"]
    assert totals["memory"] <= totals["memory_limit"] == 1024 * 1024
    assert totals["fallen"] > 0 and totals["held"] + totals["fallen"] == totals["recorded"] == totals["messages"]


def test_looking_into_a_destination_touches_nothing(site: Site) -> None:
    visitor = site.visitor().begin()
    with subscriber(site) as card:
        assert (card["pattern"], card["client"], card["count"]) == ("pond/#", "fish", 1)
    visitor.post("api/messages", {"topic": "pond/1", "body": "one"})
    for _ in range(3):
        seen = visitor.get(f"api/destinations/{card['number']}").body
        assert [(each["preview"], each["attempts"]) for each in seen["messages"]] == [("one", 0)]
    assert seen["waiting"] == 1 and seen["given"] == 0


def test_the_dry_run_says_where_a_topic_would_go(site: Site, spawn: Spawn) -> None:
    serve(spawn, site)
    visitor = site.visitor()
    [each] = wait_until(
        lambda: [each for each in visitor.get("api/route?topic=shop/new").body["destinations"] if each["credit"] > 0]
    )
    assert (each["name"], each["members"]) == ("share:shop:shop/new", 1)
    assert visitor.get("api/route?topic=shop/old").body["destinations"] == []
    assert visitor.get("api/route?topic=").status == 400


def test_an_export_has_all_that_a_filter_finds_with_bodies_and_stories(site: Site) -> None:
    visitor = site.visitor().begin()
    for topic in ("a/1", "b/1", "a/2"):
        visitor.post("api/messages", {"topic": topic, "body": f"body of {topic}"})
    answer = visitor.get("api/messages.jsonl?q=topic:a/%23")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert "attachment" in answer.headers["Content-Disposition"]
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert [(line["topic"], line["body"], line["state"]) for line in lines] == [
        ("a/1", "body of a/1", "nobody"), ("a/2", "body of a/2", "nobody")
    ]  # fmt: skip
    assert visitor.get("api/messages.jsonl?q=state:lost").status == 400


def test_a_pattern_can_be_tried_on_the_topics_of_the_history(site: Site) -> None:
    visitor = site.visitor().begin()
    for topic in ("orders/new", "orders/new/fast", "shop/new"):
        visitor.post("api/messages", {"topic": topic, "body": "m"})
    for pattern, topics in (
        ("orders/%23", ["orders/new", "orders/new/fast"]), ("%2B/new", ["orders/new", "shop/new"]), ("nothing", []),
    ):  # fmt: skip
        assert [each["topic"] for each in visitor.get(f"api/topics?pattern={pattern}").body["topics"]] == topics
    answer = visitor.get("api/topics?pattern=a%01")
    assert answer.status == 400 and len(answer.body["error"]) > 10
