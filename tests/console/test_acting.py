"""Sending, replaying, purging and dropping."""

from __future__ import annotations

import pytest

import macaque
from console.conftest import SERVICE, Site, serve, subscriber
from processes import Spawn, wait_until


def test_purging_and_dropping(site: Site) -> None:
    visitor = site.visitor().begin()
    with subscriber(site) as card:
        number = card["number"]
        assert visitor.post(f"api/destinations/{number}/drop").status == 409, "it has a member"
    wait_until(lambda: visitor.get(f"api/destinations/{number}").body["count"] == 0)
    visitor.post("api/messages", {"topic": "pond/1", "body": "one"})
    assert visitor.post(f"api/destinations/{number}/purge").body["purged"] == 1
    assert visitor.post(f"api/destinations/{number}/drop").body == {"dropped": 0}
    assert visitor.get(f"api/destinations/{number}").status == 404


def test_dead_letters_are_mended_and_replayed(site: Site, spawn: Spawn) -> None:
    service = """
import pytest

import macaque
app = macaque.Server()
@app.service("shop/price", share_id="prices", max_deliveries=1)
def price(order):
    if not isinstance(order["pieces"], int):
        raise ValueError("pieces is no whole number")
app.run()
"""
    serve(spawn, site, service)
    visitor = site.visitor().begin()
    with macaque.Client(site.url, "shop_1") as client:
        client.notify("shop/price", {"pieces": "three"}).result()
    [row] = wait_until(lambda: visitor.get("api/dead-letters").body["letters"])
    assert (row["topic"], row["reason"], row["attempts"]) == ("shop/price", "ValueError: pieces is no whole number", 1)
    mended = row["body"].replace('"three"', "3")
    [result] = visitor.post("api/dead-letters/replay", {"numbers": [row["number"]], "body": mended}).body["results"]
    story = wait_until(
        lambda: (found := visitor.get(f"api/messages/{result['id']}").body)["state"] == "accepted" and found
    )
    assert story["from"] == "console"
    assert visitor.get("api/dead-letters").body == {"letters": [], "of": 0}


def test_a_letter_stays_while_nobody_takes_its_request(site: Site, spawn: Spawn) -> None:
    process = spawn(["-c", SERVICE], env={"MACAQUE_BROKER": site.url})
    visitor = site.visitor().begin()
    wait_until(lambda: any(d["share"] == "macaque-dead" for d in visitor.get("api/destinations").body["destinations"]))
    process.kill()
    body = {"topic": "macaque/dead/gone", "body": "no letter at all"}
    assert visitor.post("api/messages", body).body["outcome"] == "accepted"
    [row] = visitor.get("api/dead-letters").body["letters"]
    [result] = visitor.post("api/dead-letters/replay", {"numbers": [row["number"]]}).body["results"]
    assert "no request in this letter" in result["error"]
    [gone] = visitor.post("api/dead-letters/replay", {"numbers": [12345]}).body["results"]
    assert gone["error"] == "it is no longer there"
    dropped = visitor.post("api/dead-letters/drop", {"numbers": [row["number"]]}).body
    assert dropped["dropped"] == 1 and visitor.get("api/dead-letters").body["of"] == 0
    assert visitor.post("api/undo", {"undo": dropped["undo"]}).body == {"restored": 1}
    assert visitor.get("api/dead-letters").body["of"] == 1


def test_a_service_is_called_and_its_reply_comes_back(site: Site, spawn: Spawn) -> None:
    serve(spawn, site)
    visitor = site.visitor().begin()
    call = {"topic": "shop/new", "data": '{"n": 12345678901234567890}'}
    answer = visitor.post("api/services/call", call).body
    assert (answer["failed"], answer["reply"]) == (False, '{"accepted":{"n":12345678901234567890}}')
    found = visitor.get(f"api/calls/{answer['id']}").body
    assert (found["status"], found["from"], found["data"]) == ("replied", "console", '{"n":12345678901234567890}')
    failed = visitor.post("api/services/call", {**call, "data": '"poison"'}).body
    assert failed["failed"] and "no such fish" in failed["reply"]


@pytest.mark.parametrize(
    ("call", "status", "said"),
    [
        ({"topic": "nobody/here", "data": "1"}, 409, "nobody is subscribed to nobody/here"),
        ({"topic": "t", "data": "{"}, 400, "the data is no JSON"),
        ({"topic": "t", "data": 1}, 400, "data is missing, or no text"),
        ({"topic": "t", "data": "1", "timeout": 0}, 400, "timeout is a number of seconds"),
        ({"topic": "", "data": "1"}, 400, ""),
    ],
)
def test_a_call_that_cannot_be_says_why(site: Site, call: dict[str, object], status: int, said: str) -> None:
    answer = site.visitor().begin().post("api/services/call", call)
    assert answer.status == status and said in answer.body["error"], answer.body


def test_a_call_without_a_reply_ends(site: Site) -> None:
    visitor = site.visitor().begin()
    with subscriber(site):
        answer = visitor.post("api/services/call", {"topic": "pond/1", "data": "1", "timeout": 0.1})
    assert answer.status == 504 and answer.body["error"] == "no reply from pond/1 within 0.1 s"


def test_the_demo_runs_and_ends(site: Site) -> None:
    visitor = site.visitor().begin()
    assert visitor.post("api/demo", {"run": True}).body == {"running": True}
    assert next(visitor.frames())["demo"] is True
    assert visitor.post("api/demo", {"run": False}).body == {"running": False}
    assert visitor.post("api/demo", {"run": 1}).status == 400


def test_a_purge_can_be_undone_and_every_message_has_its_place_back(site: Site) -> None:
    visitor = site.visitor().begin()
    with subscriber(site) as card:
        number = card["number"]
    wait_until(lambda: visitor.get(f"api/destinations/{number}").body["count"] == 0)
    names = [visitor.post("api/messages", {"topic": "pond/1", "body": body}).body["id"] for body in ("one", "two")]
    undo = visitor.post(f"api/destinations/{number}/purge").body["undo"]
    visitor.post("api/messages", {"topic": "pond/1", "body": "three"})
    assert visitor.post("api/undo", {"undo": undo}).body == {"restored": 2}
    waiting = visitor.get(f"api/destinations/{number}").body["messages"]
    assert [each["preview"] for each in waiting] == ["one", "two", "three"]
    story = visitor.get(f"api/messages/{names[0]}").body
    assert story["state"] == "waiting"
    assert [event["kind"] for event in story["branches"][0]["events"]] == ["dropped", "restored"]
    assert visitor.post("api/undo", {"undo": undo}).status == 409, "once"
    assert visitor.post(f"api/destinations/{number}/purge").body["purged"] == 3
    assert visitor.post(f"api/destinations/{number}/purge").body == {"purged": 0, "undo": None}


def test_what_a_dropped_destination_had_cannot_come_back(site: Site) -> None:
    visitor = site.visitor().begin()
    with subscriber(site) as card:
        number = card["number"]
    wait_until(lambda: visitor.get(f"api/destinations/{number}").body["count"] == 0)
    visitor.post("api/messages", {"topic": "pond/1", "body": "one"})
    undo = visitor.post(f"api/destinations/{number}/purge").body["undo"]
    visitor.post(f"api/destinations/{number}/drop")
    answer = visitor.post("api/undo", {"undo": undo})
    assert answer.status == 409 and "has ended meanwhile" in answer.body["error"]


def test_the_history_can_be_cleared_and_the_messages_stay(site: Site) -> None:
    visitor = site.visitor().begin()
    with subscriber(site) as card:
        visitor.post("api/messages", {"topic": "pond/1", "body": "one"})
        assert visitor.post("api/clear").body == {"forgotten": 1}
        assert visitor.get("api/messages").body["messages"] == []
        [waiting] = visitor.get(f"api/destinations/{card['number']}").body["messages"]
    assert (waiting["preview"], waiting["id"]) == ("one", None)
    totals = next(visitor.frames())["totals"]
    assert (totals["messages"], totals["held"]) == (1, 0)
