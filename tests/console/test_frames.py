"""The frames of open pages."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest

from console.conftest import Site
from console.watched import Watched
from mqlight.server.console.frames import Frames
from mqlight.server.console.messages import ROWS
from mqlight.server.console.query import parse
from mqlight.server.console.sessions import Sessions


def test_a_stream_sends_a_frame_when_something_changes(site: Site) -> None:
    visitor = site.visitor().begin()
    frames = visitor.frames("?view=messages&q=topic:fish")
    assert next(frames)["messages"] == []
    visitor.post("api/messages", {"topic": "bird", "body": "m"})
    visitor.post("api/messages", {"topic": "fish", "body": "m"})
    rows = next(frame["messages"] for frame in frames if frame["messages"])
    assert [row["topic"] for row in rows] == ["fish"]


def stream(world: Watched) -> Frames:
    return Frames(world.views, Sessions(None, admin=False, hidden=False))


def first(frames: Generator[bytes, None, None]) -> dict[str, Any]:
    """The first frame of a stream."""
    frame = next(each for each in frames if each.startswith(b"data: "))
    found = json.loads(frame[6:])
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("view", "own"),
    [("messages", {"messages", "more"}), ("calls", {"calls"}), ("services", {"services"}), ("dead", {"letters"}),
     ("destinations", set()), ("clients", set()), ("topics", set())],
)  # fmt: skip
def test_each_page_gets_what_it_shows_and_what_all_pages_show(view: str, own: set[str]) -> None:
    world = Watched()
    world.send("t", "apples")
    frame = first(stream(world).of(None, view, None))
    assert frame.keys() == {"now", "demo", "totals", "clients", "destinations", "attention", *own}


def test_a_page_that_closes_is_no_longer_counted() -> None:
    world = Watched()
    frames = stream(world)
    page = frames.of(None, "messages", None)
    first(page)
    assert frames.watching == 1
    page.close()
    assert frames.watching == 0


def test_a_filter_runs_before_the_rows_are_chosen() -> None:
    world = Watched()
    world.send("pond/1", "eel")
    for _ in range(ROWS + 5):
        world.send("shop/1", "carp")
    frame = first(stream(world).of(None, "messages", parse("eel")))
    assert [row["topic"] for row in frame["messages"]] == ["pond/1"]


def test_the_end_of_the_server_ends_the_pages() -> None:
    world = Watched()
    frames = stream(world)
    page = frames.of(None, "messages", None)
    first(page)
    frames.over = True
    assert list(page)[-1] == b"event: over\ndata: {}\n\n"
