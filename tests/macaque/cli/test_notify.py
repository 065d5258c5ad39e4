from __future__ import annotations

from typing import Any

import macaque
from commands import Command
from processes import Server, wait_until


def test_notify_sends_a_message_and_prints_nothing(shared_server: Server) -> None:
    app, seen = macaque.Server(broker=shared_server.url), list[Any]()
    app.service("notices", share_id="w")(seen.append)
    with app:
        done = Command("notify", "notices", '{"item": "milk"}', "--ttl", "60", broker=shared_server.url)
        assert (done.code, done.out, done.err) == (0, "", "")
        assert Command("notify", "notices", "-", stdin="5", broker=shared_server.url).code == 0
        wait_until(lambda: seen == [{"item": "milk"}, 5])


def test_a_message_that_cannot_be_sent_is_one_line(shared_server: Server) -> None:
    assert "No service listens on the topic 'nobody'" in Command("notify", "nobody", broker=shared_server.url).failed(1)
    assert "is not JSON" in Command("notify", "notices", "{", broker=shared_server.url).failed(2)
    assert "ttl" in Command("notify", "notices", "--ttl", "-1", broker=shared_server.url).failed(2)
