"""The console over HTTP: who may read and act, and what the API tells."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import macaque
import mqlight
from console.conftest import Site, Start, Visitor
from processes import ROOT, Process, Spawn, start_server, wait_until

SERVICE = """
import macaque
app = macaque.Server()
@app.service("shop/new", share_id="shop")
def new(order):
    if order == "poison":
        raise ValueError("no such fish")
    return {"accepted": order}
app.run()
"""


def serve(spawn: Spawn, site: Site, code: str = SERVICE) -> Process:
    """Start a service; returns when it serves."""
    code = "import logging; logging.basicConfig(level=20)" + code
    return spawn(["-c", code], env={"MACAQUE_BROKER": site.url}, ready="serves")


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


def test_a_stream_sends_a_frame_when_something_changes(site: Site) -> None:
    visitor = site.visitor().begin()
    frames = visitor.frames("?view=messages&q=topic:fish")
    assert next(frames)["messages"] == []
    visitor.post("api/messages", {"topic": "bird", "body": "m"})
    visitor.post("api/messages", {"topic": "fish", "body": "m"})
    rows = next(frame["messages"] for frame in frames if frame["messages"])
    assert [row["topic"] for row in rows] == ["fish"]


@contextmanager
def subscriber(site: Site) -> Iterator[dict[str, Any]]:
    """A client that is subscribed to ``pond/#`` and takes nothing; gives the card of its destination."""
    visitor = site.visitor()
    with mqlight.Client(site.url, "fish") as client:
        client.subscribe("pond/#", options={"qos": 1, "ttl": 600_000, "credit": 0, "auto_confirm": False})
        yield wait_until(lambda: visitor.get("api/destinations").body["destinations"])[0]


def test_looking_into_a_destination_touches_nothing(site: Site) -> None:
    visitor = site.visitor().begin()
    with subscriber(site) as card:
        assert (card["pattern"], card["client"], card["count"]) == ("pond/#", "fish", 1)
    visitor.post("api/messages", {"topic": "pond/1", "body": "one"})
    for _ in range(3):
        seen = visitor.get(f"api/destinations/{card['number']}").body
        assert [(each["preview"], each["attempts"]) for each in seen["messages"]] == [("one", 0)]
    assert seen["waiting"] == 1 and seen["given"] == 0


def test_purging_and_dropping(site: Site) -> None:
    visitor = site.visitor().begin()
    with subscriber(site) as card:
        number = card["number"]
        assert visitor.post(f"api/destinations/{number}/drop").status == 409, "it has a member"
    wait_until(lambda: visitor.get(f"api/destinations/{number}").body["count"] == 0)
    visitor.post("api/messages", {"topic": "pond/1", "body": "one"})
    assert visitor.post(f"api/destinations/{number}/purge").body == {"purged": 1}
    assert visitor.post(f"api/destinations/{number}/drop").body == {"dropped": 0}
    assert visitor.get(f"api/destinations/{number}").status == 404


def test_dead_letters_are_mended_and_replayed(site: Site, spawn: Spawn) -> None:
    service = """
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
    assert visitor.post("api/dead-letters/drop", {"numbers": [row["number"]]}).body == {"dropped": 1}


def test_the_dry_run_says_where_a_topic_would_go(site: Site, spawn: Spawn) -> None:
    serve(spawn, site)
    visitor = site.visitor()
    [each] = wait_until(
        lambda: [each for each in visitor.get("api/route?topic=shop/new").body["destinations"] if each["credit"] > 0]
    )
    assert (each["name"], each["members"]) == ("share:shop:shop/new", 1)
    assert visitor.get("api/route?topic=shop/old").body["destinations"] == []
    assert visitor.get("api/route?topic=").status == 400


# Who may

HOSTILE = {
    "another name": {"Host": "evil.example:9180"},
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "a sibling": {"Sec-Fetch-Site": "same-site"},
    "another origin": {"Origin": "http://evil.example"},
    "no origin": {"Origin": "null"},
}


@pytest.mark.parametrize("headers", HOSTILE.values(), ids=HOSTILE.keys())
def test_other_sites_read_and_do_nothing(site: Site, headers: dict[str, str]) -> None:
    visitor = site.visitor().begin()
    for answer in (visitor.get("api/messages", **headers), visitor.post("api/messages", {"topic": "t"}, **headers)):
        assert answer.status == 403, answer.body


@pytest.mark.parametrize("headers", [{"X-Console": "guessed"}, {"Content-Type": "text/plain"}])
def test_a_form_of_another_site_cannot_act(site: Site, headers: dict[str, str]) -> None:
    answer = site.visitor().begin().post("api/messages", {"topic": "t", "body": "m"}, **headers)
    assert answer.status in (403, 415)


def test_acting_needs_the_right(start_console: Start) -> None:
    visitor = start_console().visitor().begin()
    assert visitor.get("api/session").body["admin"] is False
    answer = visitor.post("api/messages", {"topic": "t", "body": "m"})
    assert answer.status == 403 and "--console-admin" in answer.body["error"]


def test_every_answer_forbids_what_a_page_does_not_need(site: Site) -> None:
    for path in ("", "messages", "api/session", "app.js", "nothing/here"):
        headers = site.visitor().get(path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"], path
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert site.visitor().get("api/messages").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["../app.py", "..%2fapp.py", "static/app.js", "%2e%2e/app.py", "api/nothing"])
def test_no_name_leads_to_a_file(site: Site, path: str) -> None:
    parts = urlsplit(site.console)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=10)
    connection.request("GET", f"/{path}")
    assert connection.getresponse().status == 404
    connection.close()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"topic": 1, "body": ""}', b'{"topic": "t"}', b'{"topic": "t", "body": "", "ttl": -1}',
             b'{"topic": "", "body": ""}', b'{"topic": "t\\u0000", "body": ""}', b"[" * 100_000]
)  # fmt: skip
def test_a_body_that_is_none_is_refused_in_words(site: Site, body: bytes) -> None:
    answer = site.visitor().begin().post("api/messages", body)
    assert answer.status == 400 and len(answer.body["error"]) > 10


def passwd(users: Path, name: str, password: str) -> None:
    command = [sys.executable, "-m", "mqlight.server", "passwd", str(users), name]
    subprocess.run(command, input=password, text=True, check=True, cwd=ROOT, timeout=20, capture_output=True)


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """The users chief, who may do everything, and fish, who may subscribe to the pond alone."""
    path = tmp_path / "users"
    passwd(path, "chief", "right")
    passwd(path, "fish", "right")
    lines = path.read_text().replace("fish subscribe #", "fish subscribe pond/#")
    path.write_text(lines + "chief admin\n")
    return path


def log_in(site: Site, name: str, password: str = "right") -> Visitor:
    visitor = site.visitor()
    answer = visitor.post("api/login", {"user": name, "password": password})
    assert answer.status == 200, answer.body
    return visitor.begin()


def test_with_users_a_reader_logs_in_and_sees_what_it_may(start_console: Start, users: Path) -> None:
    site = start_console("--users", str(users))
    stranger = site.visitor()
    assert stranger.get("api/session").body == {"login": True}
    for path in ("api/messages", "api/stream", "api/destinations", "api/calls", "api/dead-letters", "metrics"):
        assert stranger.get(path).status == 401, path
    assert stranger.post("api/login", {"user": "fish", "password": "wrong"}).status == 401
    chief, fish = log_in(site, "chief"), log_in(site, "fish")
    for topic in ("pond/1", "shop/1"):
        assert chief.post("api/messages", {"topic": topic, "body": "secret"}).status == 200
    seen = {row["topic"]: row["preview"] for row in fish.get("api/messages").body["messages"]}
    assert seen == {"pond/1": "secret", "shop/1": ""}
    assert [row["topic"] for row in fish.get("api/messages?q=body:secret").body["messages"]] == ["pond/1"]
    hidden = next(row["id"] for row in fish.get("api/messages").body["messages"] if row["topic"] == "shop/1")
    assert fish.get(f"api/messages/{hidden}").body["body"] is None
    answer = fish.post("api/messages", {"topic": "pond/1", "body": "m"})
    assert answer.status == 403 and '"USER admin"' in answer.body["error"]
    assert fish.post("api/logout").status == 200
    assert fish.get("api/messages").status == 401


def test_a_session_ends_when_its_user_has_another_password(start_console: Start, users: Path) -> None:
    site = start_console("--users", str(users))
    chief = log_in(site, "chief")
    passwd(users, "chief", "another")
    wait_until(lambda: chief.get("api/messages").status == 401, what="the end of the session")


def test_the_session_cookie_is_for_this_site_alone(start_console: Start, users: Path) -> None:
    site = start_console("--users", str(users))
    answer = site.visitor().post("api/login", {"user": "chief", "password": "right"})
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()


def test_bodies_can_be_hidden_from_everybody(start_console: Start) -> None:
    visitor = start_console("--console-admin", "--console-hide-bodies").visitor().begin()
    name = visitor.post("api/messages", {"topic": "t", "body": "secret"}).body["id"]
    assert "secret" not in json.dumps([visitor.get("api/messages").body, visitor.get(f"api/messages/{name}").body])
    assert visitor.get("api/messages?q=secret").body["messages"] == []


# Starting it


def test_the_default_port_is_the_next_free_one() -> None:
    first = start_server("--console")
    try:
        second = start_server("--console")
        try:
            ports = {int(each.expect(r"console at http://127\.0\.0\.1:(\d+)/")[1]) for each in (first, second)}
            assert len(ports) == 2 and all(9180 <= port < 9200 for port in ports)
        finally:
            second.close()
    finally:
        first.close()


def test_a_port_that_was_asked_for_and_is_taken_is_one_line(site: Site, spawn: Spawn) -> None:
    port = str(urlsplit(site.console).port)
    server = spawn(["-m", "mqlight.server", "--port", "0", "--console-port", port])
    assert server.wait(20) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in server.log() and "--console-port" in server.log()


def test_a_server_for_other_machines_has_no_console_unless_told(spawn: Spawn) -> None:
    server = spawn(["-m", "mqlight.server", "--host", "0.0.0.0", "--port", "0", "--allow-anonymous"], ready="ready at")
    server.stop()
    assert "console" not in server.log()


def test_the_console_ends_with_its_server_while_a_page_is_open(site: Site) -> None:
    frames = site.visitor().frames()
    next(frames)
    assert site.server.stop() == 0
