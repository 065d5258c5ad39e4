"""Listing and dropping destinations, of a broker, of a store and of a running server; and who may make how many."""

from __future__ import annotations

import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import mqlight
from mqlight.server.broker import Limits
from mqlight.server.control import SOCKET, answer
from mqlight.server.destination import DestinationName, Owner
from mqlight.server.store import Store
from processes import ROOT, Server, start_server, wait_until
from server.test_store import batch, destination, save
from server.world import World

ALL: dict[str, Any] = {"drop": False, "numbers": None, "user": None, "client": None}


def add(world: World, pattern: str, user: str | None, client: str, *, ttl: float = 60.0, stays: bool = False) -> None:
    """A destination that a client has made; the client leaves unless it ``stays``."""
    consumer = world.broker.subscribe(
        DestinationName(pattern, client_id=client), ttl, lambda *_: None, at_most_once=False, owner=Owner(user, client)
    )
    if not stays:
        world.broker.unsubscribe(consumer, (), world.now, forget=False)


@pytest.fixture
def world() -> World:
    made = World(Limits(destinations=6, destinations_per_user=4, destinations_per_client=2))
    add(made, "a", "fish", "f1")
    add(made, "b", "fish", "f2", stays=True)
    add(made, "c", None, "x")
    made.publish("m", topic="a")
    return made


def numbers(world: World, **request: Any) -> list[int]:
    return [row["number"] for row in answer(world.broker, ALL | request, world.now)]


# Limits


def test_a_client_id_may_make_so_many_destinations_and_its_user_goes_on_with_another(world: World) -> None:
    add(world, "d", "fish", "f1")
    excess = world.broker.excess(Owner("fish", "f1"))
    assert excess is not None and excess.name == "amqp:resource-limit-exceeded"
    assert "the client id 'f1' has 2 destinations already" in excess.description
    assert "--max-destinations-per-client 2" in excess.description
    assert world.broker.excess(Owner("fish", "f3")) is None
    assert world.broker.excess(Owner("bird", "f1")) is None, "another user of that client id has its own number"


def test_a_user_may_make_so_many_destinations_and_another_one_goes_on(world: World) -> None:
    for name in ("f3", "f4"):
        add(world, "d", "fish", name)
    excess = world.broker.excess(Owner("fish", "f5"))
    assert excess is not None and "the user 'fish' has 4 destinations already" in excess.description
    assert "--max-destinations-per-user 4" in excess.description
    assert world.broker.excess(Owner("bird", "b")) is None
    add(world, "e", None, "y")
    assert "the server has 6 destinations already" in str(world.broker.excess(Owner("bird", "b")))


def test_a_destination_that_is_gone_no_longer_counts(world: World) -> None:
    for name in ("f3", "f4"):
        add(world, "d", "fish", name)
    world.wait(61)
    assert world.broker.excess(Owner("fish", "f5")) is None
    assert numbers(world) == [2] and dict(world.broker._of_client) == {Owner("fish", "f2"): 1}
    assert dict(world.broker._of_user) == {"fish": 1}


def test_anonymous_clients_count_as_one_user(world: World) -> None:
    world.broker.limits = Limits(destinations_per_user=1)
    assert "anonymous clients have 1 destinations already" in str(world.broker.excess(Owner(None, "y")))


def test_who_made_a_destination_outlives_the_server(tmp_path: Path) -> None:
    made = destination()
    made.owner = Owner("fish", "f1")
    with closing(Store(tmp_path)) as store:
        save(store, batch(made))
    with closing(Store(tmp_path)) as store:
        assert [each.owner for each in store.load()[0]] == [Owner("fish", "f1")]


# Answers


def test_all_destinations_are_listed_with_what_waits_and_who_made_them(world: World) -> None:
    first, second, _ = answer(world.broker, ALL, world.now + 10)
    assert first == {
        "number": 1, "name": "private:a", "user": "fish", "client": "f1", "messages": 1, "bytes": 1,
        "subscribers": 0, "forget_in": 50.0, "dropped": False,
    }  # fmt: skip
    assert (second["subscribers"], second["forget_in"]) == (1, None)


def test_those_of_a_user_a_client_or_some_numbers_are_found(world: World) -> None:
    assert numbers(world, user="fish") == [1, 2]
    assert numbers(world, client="x") == [3]
    assert numbers(world, numbers=[1, 3, 9]) == [1, 3]
    assert numbers(world, numbers=[1, 3], user="fish") == [1]


def test_what_is_dropped_is_gone_and_what_has_subscribers_stays(world: World) -> None:
    assert [row["dropped"] for row in answer(world.broker, ALL | {"drop": True}, world.now)] == [True, False, True]
    assert numbers(world) == [2]


# The command


def command(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mqlight.server", "destinations", *map(str, args)],
        capture_output=True, text=True, cwd=ROOT, timeout=20,
    )  # fmt: skip


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """The folder of a server that is stopped: two destinations, and a message in the first."""
    other = destination(2, DestinationName("b\x1b[31m\n", client_id="d"))
    other.owner = Owner("fish", "d")
    with closing(Store(tmp_path)) as store:
        save(store, batch(destination(1), other, puts={1: b"m"}))
    return tmp_path


def test_a_stopped_server_s_destinations_are_listed_and_dropped(stopped: Path) -> None:
    done = command("list", "--data", stopped)
    assert done.returncode == 0 and done.stderr == ""
    heads, first, second = done.stdout.splitlines()
    assert heads.split()[:4] == ["number", "messages", "bytes", "subscribers"]
    assert first.split()[:2] == ["1", "1"] and first.endswith("share:s:a/#")
    assert second.endswith(r"private:b\x1b[31m\n") and second.split()[-3:-1] == ["fish", "d"]
    done = command("drop", "--data", stopped, 1, 7)
    assert (done.returncode, done.stdout) == (2, "dropped 1 destinations with 1 messages\n")
    assert done.stderr == "not dropped: 7 does not exist\n"
    with closing(Store(stopped)) as store:
        found, messages = store.load()
    assert [each.number for each in found] == [2] and messages == []


def test_a_look_at_a_stopped_server_changes_nothing_of_what_stays(stopped: Path) -> None:
    command("drop", "--data", stopped, 1)
    with closing(Store(stopped)) as store:
        assert [each.forget_at for each in store.load()[0]] == [None], "it still gets its whole time from the restart"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("list", "--data", "{}/nowhere"), "there is no store in .*; give the folder that the server has with --data"),
        (("drop", "--data", "{}"), "choose destinations: give numbers"),
        (("list",), "Missing option '--data'"),
    ],
)
def test_a_command_that_cannot_be_is_one_line(stopped: Path, args: tuple[str, ...], words: str) -> None:
    done = command(*(arg.format(stopped) for arg in args))
    assert done.returncode == 2 and re.search(words, done.stderr) and "Traceback" not in done.stderr


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Server]:
    server = start_server("--data", str(tmp_path / "data"), "--max-destinations-per-client", "3")
    yield server
    server.close()


def subscribe(server: Server, *topics: str) -> list[str]:
    """What becomes of subscriptions that outlive their client, which has left afterwards."""
    told: list[str] = []
    client = mqlight.Client(server.url, "tester")
    for topic in topics:
        client.subscribe(topic, None, {"ttl": 60_000, "qos": 1}, lambda client, error, *_: told.append(str(error)))
    wait_until(lambda: len(told) == len(topics))
    client.stop()
    wait_until(client.is_stopped)
    return told


def test_a_running_server_refuses_more_than_the_limit_and_lists_and_drops(running: Server, tmp_path: Path) -> None:
    *taken, refused = subscribe(running, "a", "b", "c", "d")
    assert taken == ["None"] * 3
    assert "the client id 'tester' has 3 destinations already" in refused
    assert "--max-destinations-per-client 3" in refused
    data = tmp_path / "data"
    assert stat.S_IMODE((data / SOCKET).stat().st_mode) == 0o600
    shown = command("list", "--data", data)
    assert [line.split()[-1] for line in shown.stdout.splitlines()[1:]] == ["private:a", "private:b", "private:c"]
    done = command("drop", "--data", data, "--client", "tester")
    assert (done.returncode, done.stdout) == (0, "dropped 3 destinations with 0 messages\n")
    running.expect("3 destinations were dropped by command")
    assert subscribe(running, "d") == ["None"]
    assert running.stop() == 0
    assert not (data / SOCKET).exists()
    with closing(Store(data)) as store:
        assert [each.name.pattern for each in store.load()[0]] == ["d"]


def test_what_is_no_request_gets_no_answer_and_the_server_goes_on(running: Server, tmp_path: Path) -> None:
    path = str(tmp_path / "data" / SOCKET)
    for text in (b"nonsense\n", b"[]\n", b"{}\n", b"", b'{"drop": true, "numbers": 1, "user": 1, "client": 1}\n'):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(path)
            sock.sendall(text)
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(100) == b""
    assert command("list", "--data", tmp_path / "data").returncode == 0


def test_a_folder_whose_path_is_too_long_for_a_socket_is_served_without_one(tmp_path: Path) -> None:
    data = tmp_path / ("x" * 120)
    server = start_server("--data", str(data))
    try:
        server.expect('"destinations" works only while the server is stopped')
        done = command("list", "--data", data)
        assert done.returncode == 2 and "is in use by another server" in done.stderr
    finally:
        server.close()
