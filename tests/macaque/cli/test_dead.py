"""`macaque dead`, as a shell would run it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import macaque
from macaque.dead_letter import DeadLetter, encode_dead_letter
from macaque.dead_letters import DeadLetters
from mqlight.addresses import Addresses
from mqlight.amqp.message import Message, encode
from mqlight.connection import Connection
from processes import ROOT, Server, wait_until


class Dead:
    """`python -m macaque dead` against one server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, *arguments: str, status: int = 0) -> str:
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (status, ""), done.stderr
        return done.stdout

    def fails(self, *arguments: str, status: int = 1) -> str:
        """The one line that says why."""
        done = self.run(*arguments)
        assert done.returncode == status and done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "macaque", "dead", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "MACAQUE_BROKER": self.url, "LC_ALL": "C.UTF-8"},
        )

    def ids(self) -> list[str]:
        return [letter["id"] for letter in json.loads(self("list", "--json"))]


@pytest.fixture
def dead(server: Server) -> Dead:
    return Dead(server.url)


@pytest.fixture
def broken(server: Server) -> Iterator[macaque.Server]:
    """A service that takes nothing, and has been told three things."""
    app = macaque.Server(broker=server.url)
    app.service("news", share_id="w")(lambda data: macaque.abort(400, "not this\none"))
    with app, macaque.Client(broker=server.url) as client:
        for number in range(3):
            client.notify("news", {"n": number}).result()
        wait_until(lambda: len(letters(server.url)) == 3)
        yield app


def letters(url: str) -> list[DeadLetter]:
    with DeadLetters(url) as box:
        return box.letters


def test_list_shows_each_letter_in_a_line_and_takes_none(broken: macaque.Server, dead: Dead) -> None:
    for _ in range(2):
        lines = dead("list").splitlines()
        assert len(lines) == 3
        for line in lines:
            assert re.fullmatch(r"[0-9a-f]{12}  \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  news  1x  not this one", line)


def test_list_says_that_there_are_none(dead: Dead) -> None:
    assert dead.run("list").stderr == "There are no dead letters.\n"
    assert json.loads(dead("list", "--json")) == []


def test_json_is_for_programs(broken: macaque.Server, dead: Dead) -> None:
    first = json.loads(dead("list", "--json"))[0]
    assert first.keys() == {"id", "endpoint", "share", "topic", "reason", "count", "time", "source", "server"}
    assert (first["endpoint"], first["share"], first["reason"], first["count"]) == ("news", "w", "not this\none", 1)
    (shown,) = json.loads(dead("show", "--json", first["id"]))
    assert shown == first | {"data": {"n": 0}}


def test_show_prints_all_with_the_data(broken: macaque.Server, dead: Dead) -> None:
    first, *others = dead.ids()
    shown = dead("show", first)
    assert f"id:       {first}\nendpoint: news\nshare:    w\n" in shown and 'data:     {"n":0}\n' in shown
    assert all(number not in shown for number in others)
    assert dead("show", "--all").count("data:") == 3


def test_drop_forgets_what_it_is_told_to(broken: macaque.Server, dead: Dead) -> None:
    first, second, third = dead.ids()
    assert dead("drop", second) == f"dropped {second}\n"
    assert dead.ids() == [first, third]
    assert json.loads(dead("drop", "--all", "--json")) == {"dropped": [first, third], "failed": {}, "missing": []}
    assert dead.ids() == []


def test_replay_has_the_request_done_again_and_forgets_the_letter(
    server: Server, broken: macaque.Server, dead: Dead
) -> None:
    broken.close()
    seen: list[Any] = []
    repaired = macaque.Server(broker=server.url)
    repaired.service("news", share_id="w")(seen.append)
    with repaired:
        first, second, third = dead.ids()
        assert dead("replay", second) == f"replayed {second}\n"
        wait_until(lambda: seen == [{"n": 1}])
        assert dead.ids() == [first, third]
        assert json.loads(dead("replay", "--all", "--json"))["replayed"] == [first, third]
        wait_until(lambda: seen == [{"n": 1}, {"n": 0}, {"n": 2}])
    assert dead.ids() == []


def test_a_call_that_is_replayed_is_run_though_its_caller_waits_no_more(server: Server, dead: Dead) -> None:
    seen: list[Any] = []
    app = macaque.Server(broker=server.url)
    app.service("work", share_id="w")(seen.append)
    old = json.dumps({"uuid": "u", "data": 7, "replyTo": "response/gone", "expires": 1000})
    put(server.url, DeadLetter(
        id="1234", endpoint="work", topic="work", reason="r", count=5, time=0,
        message=encode(Message(body=old, to="work", ttl=1, delivery_count=5)),
    ))  # fmt: skip
    with app:
        dead("replay", "1234")
        wait_until(lambda: seen == [7])
    assert dead.ids() == []


def put(url: str, letter: DeadLetter) -> None:
    send(url, f"macaque/dead/{letter.endpoint}", encode_dead_letter(letter))


def send(url: str, topic: str, message: bytes) -> None:
    with DeadLetters(url):  # so that there is somebody who keeps it
        pass
    connection = Connection(Addresses.of(url), "plain")
    connection.start()
    connection.wait_started(10.0)
    connection.publish(topic, message)
    connection.stop()


def test_a_letter_whose_service_is_gone_is_kept(server: Server, dead: Dead) -> None:
    put(server.url, DeadLetter(
        id="1234", endpoint="gone", topic="gone", reason="r", count=5, time=0,
        message=encode(Message(body='{"uuid": "u", "data": 7}', to="gone")),
    ))  # fmt: skip
    assert "1234 was not replayed or dropped: no service listens on gone" in dead.fails("replay", "--all")
    assert dead.ids() == ["1234"]


def test_what_is_no_letter_can_be_seen_and_dropped_but_not_replayed(server: Server, dead: Dead) -> None:
    send(server.url, "macaque/dead/what", encode(Message(body={"no": b"letter"}, to="macaque/dead/what")))
    (number,) = dead.ids()
    assert "not a dead letter" in dead("list")
    assert "There is no request" in dead.fails("replay", number)
    assert dead("drop", number) == f"dropped {number}\n"


@pytest.mark.parametrize("command", ["show", "replay", "drop"])
def test_an_id_that_is_not_there_is_named(broken: macaque.Server, dead: Dead, command: str) -> None:
    assert dead.fails(command, "nope") == "macaque: there is no dead letter nope\n"


@pytest.mark.parametrize("arguments", [[], ["1234", "--all"]])
def test_either_ids_or_all_are_needed(dead: Dead, arguments: list[str]) -> None:
    assert "give the ids of dead letters, or --all" in dead.fails("drop", *arguments, status=2)


def test_a_server_that_is_not_there_is_one_line_and_status_2() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"amqp://127.0.0.1:{taken.getsockname()[1]}"
        assert url in Dead(url).fails("list", status=2)
        assert "cannot be used" in Dead("").fails("list", "--broker", "ftp://x", status=2)
        assert "The timeout 0.0 is not between" in Dead(url).fails("list", "--timeout", "0", status=2)


def test_a_letter_is_seen_by_one_reader_at_a_time_and_lost_by_none(broken: macaque.Server, server: Server) -> None:
    with DeadLetters(server.url) as first:
        assert len(first.letters) == 3
        number = first.letters[0].id
        with DeadLetters(server.url) as second:
            assert second.letters == []
            assert second.drop([number]) == []
        assert first.drop([number]) == [number]
    with DeadLetters(server.url) as third:
        assert len(third.letters) == 2
        assert [letter.count for letter in third.letters] == [1, 1]


def test_a_reader_that_is_killed_loses_no_letter(broken: macaque.Server, server: Server, spawn: Any) -> None:
    code = f"""
import time
from macaque.dead_letters import DeadLetters
with DeadLetters({server.url!r}) as box:
    print("holds", len(box.letters), flush=True)
    time.sleep(60)
"""
    reader = spawn(["-c", code], ready="holds 3")
    reader.kill()
    wait_until(lambda: len(letters(server.url)) == 3)
