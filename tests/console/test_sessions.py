"""The readers of pages: who logs in, and what each may see."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.conftest import Start, log_in, passwd
from mqlight.server.console.sessions import LIFE, MOST, Sessions
from mqlight.server.users import UsersFile
from processes import wait_until


def test_with_users_a_reader_logs_in_and_sees_what_it_may(start_console: Start, users: Path) -> None:
    site = start_console("--users", str(users))
    stranger = site.visitor()
    assert stranger.get("api/session").body == {"login": True}
    for path in (
        "api/messages",
        "api/stream",
        "api/destinations",
        "api/calls",
        "api/dead-letters",
        "api/services",
        "api/messages.jsonl",
        "metrics",
    ):
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
    assert b"secret" not in visitor.get("api/messages.jsonl").body


@pytest.fixture
def file(tmp_path: Path) -> UsersFile:
    path = tmp_path / "users"
    passwd(path, "fish", "right")
    lines = path.read_text().replace("fish subscribe #", "fish subscribe pond/#")
    path.write_text(lines)
    return UsersFile(path)


def test_without_users_everybody_is_one_reader() -> None:
    sessions = Sessions(None, admin=True, hidden=False)
    reader = sessions.of(None)
    assert reader is sessions.of("any cookie") and reader is not None
    assert not sessions.needed and reader.admin and reader.name is None
    assert reader.sees("any/topic") and reader.knows("any/topic")


def test_a_session_ends_after_hours_without_a_request(file: UsersFile) -> None:
    now = 1000.0
    sessions = Sessions(file, admin=False, hidden=False, clock=lambda: now)
    cookie = sessions.begin("fish")
    assert sessions.of(cookie) is not None and sessions.of("guessed") is None and sessions.of(None) is None
    now += LIFE
    assert sessions.of(cookie) is not None, "a request lets it live on"
    now += LIFE + 1
    assert sessions.of(cookie) is None


def test_every_session_has_a_token_of_its_own_and_ends_alone(file: UsersFile) -> None:
    sessions = Sessions(file, admin=False, hidden=False)
    first, second = sessions.begin("fish"), sessions.begin("fish")
    readers = [sessions.of(cookie) for cookie in (first, second)]
    assert first != second and len({reader.token for reader in readers if reader is not None}) == 2
    sessions.end(first), sessions.end("unknown")
    assert sessions.of(first) is None and sessions.of(second) is not None


def test_the_oldest_session_makes_room_for_the_newest(file: UsersFile) -> None:
    sessions = Sessions(file, admin=False, hidden=False)
    cookies = [sessions.begin("fish") for _ in range(MOST + 1)]
    assert sessions.of(cookies[0]) is None and sessions.of(cookies[1]) is not None


def test_hidden_bodies_hide_no_names(file: UsersFile) -> None:
    sessions = Sessions(file, admin=False, hidden=True)
    reader = sessions.of(sessions.begin("fish"))
    assert reader is not None
    assert reader.knows("pond/1") and not reader.knows("shop/1") and not reader.sees("pond/1")
