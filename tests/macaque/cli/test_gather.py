from __future__ import annotations

import json

import macaque
from commands import Command
from processes import Server


def test_gather_prints_each_reply_on_a_line(shared_server: Server) -> None:
    app = macaque.Server(broker=shared_server.url)
    app.service("weather", share_id="a")(lambda town: f"{town}: sun")
    app.service("weather", share_id="b")(lambda town: macaque.abort(404, f"no {town}", {"town": town}))
    with app:
        done = Command("gather", "weather", '"Bonn"', "--replies", "2", broker=shared_server.url)
    assert (done.code, done.err) == (0, "")
    replies = sorted(map(json.loads, done.out.splitlines()), key=str)
    assert replies == ["Bonn: sun", {"error": {"code": 404, "message": "no Bonn", "details": {"town": "Bonn"}}}]


def test_gather_without_any_reply_is_one_line_and_status_1(shared_server: Server) -> None:
    assert "No service listens on the topic 'nobody'" in Command("gather", "nobody", broker=shared_server.url).failed(1)
    assert "number of replies" in Command("gather", "x", "--replies", "0", broker=shared_server.url).failed(2)
