"""The client that IBM published for MQ Light, unchanged from npm, against the server."""

from __future__ import annotations

import json
from typing import Any

import pytest

import foreign
from processes import Process, Server

Events = list[dict[str, Any]]


@pytest.fixture(scope="module")
def events(shared_server: Server) -> Events:
    """Return the log of a session of four clients that follow the documentation of their API."""
    process = Process([*foreign.node(foreign.INTEROP, "ibm_client.js"), shared_server.url])
    try:
        assert process.wait(60.0) == 0, process.log()
    finally:
        process.close()
    return [json.loads(line) for line in process.log().splitlines() if line.startswith("{")]


@pytest.fixture
def messages(events: Events) -> Events:
    return [event for event in events if event["event"] == "message"]


def test_the_session_ends_without_an_error(events: Events) -> None:
    assert [event for event in events if event["event"] == "error"] == []
    assert events[-1] == {"event": "end"}


def test_every_subscriber_gets_what_its_pattern_matches_until_it_unsubscribes(messages: Events) -> None:
    news = {event["name"]: event["topic"] for event in messages if event["data"] == "for all"}
    assert news == {"one": "news/fish", "two": "news/fish"}
    assert not any(event["data"] == "for nobody" for event in messages)


def test_a_share_divides_the_messages_which_keep_their_time_to_live(events: Events, messages: Events) -> None:
    work = [event for event in messages if event["topic"] == "work"]
    assert sorted(event["data"]["number"] for event in work) == list(range(20))
    assert all(50_000 < event["ttl"] <= 60_000 for event in work)
    (shared,) = (event for event in events if event["event"] == "shared")
    assert shared["one"] and shared["two"] and shared["one"] + shared["two"] == 20


def test_what_was_not_confirmed_is_delivered_to_another_one(messages: Events) -> None:
    assert [event["name"] for event in messages if event["data"] == "fragile"] == ["careless", "two"]
