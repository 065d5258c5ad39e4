"""Replies as server-sent events, and the command line of a back end in slow motion."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import Any

from processes import Server
from web.conftest import wait_until_served


def events(site: Any, count: int, path: str = "rest/words/events", **headers: str) -> list[tuple[int, dict[str, Any]]]:
    """Read events until `count` replies have come, and hang up: the id and the data of each."""
    request = urllib.request.Request(site.url + path, headers=headers)
    found: list[tuple[int, dict[str, Any]]] = []
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as response:
        assert response.headers.get_content_type() == "text/event-stream"
        text = b""
        while len(found) < count:
            line = response.readline()
            assert line, text
            text += line
            found = [
                (int(number), json.loads(data))
                for number, data in re.findall(rb"^id: (\d+)\ndata: (.*)\n\n", text, re.MULTILINE)
            ]
    return found


def test_replies_come_as_events_and_stay_until_the_next_request_confirms_them(site: Any, start_backend: Any) -> None:
    start_backend()
    visitor = site.visitor()
    visitor.submit("a b c")
    first = events(site, 3)
    assert sorted(data["word"] for _, data in first) == ["A", "B", "C"]
    assert all("id" not in data and data["workMs"] >= 0 for _, data in first)
    assert events(site, 3) == first, "nothing was confirmed"
    (rest,) = events(site, 1, **{"Last-Event-ID": str(first[1][0])})
    assert rest == first[2]
    assert [reply["id"] for reply in visitor.cursor(wait=0)] == [rest[0]], "the same cursor"
    assert visitor.get("rest/words/events?after=x").status == 400
    assert visitor.get("rest/words/events", **{"Sec-Fetch-Site": "cross-site"}).status == 403


def test_slow_motion_makes_each_word_take_its_time_and_says_so(site: Any, spawn: Any, server: Server) -> None:
    backend = spawn(
        ["-m", "backend", "--log-level", "debug", "--delay", "0.2"],
        env={"MACAQUE_BROKER": server.url},
        ready=" serves ",
    )
    wait_until_served(backend, server)
    site.visitor().submit("a b")
    first, second = sorted(site.visitor().fetch(2), key=lambda reply: reply["roundTripMs"])
    assert first["workMs"] >= 200 and second["workMs"] >= 200
    assert second["roundTripMs"] - second["workMs"] >= 150, "the second word waited for the first"


def test_a_delay_that_cannot_be_is_one_line(spawn: Any) -> None:
    process = spawn(["-m", "backend", "--delay", "-1"])
    assert process.wait(20) == 2
    assert "--delay" in process.log() and "Traceback" not in process.log()
