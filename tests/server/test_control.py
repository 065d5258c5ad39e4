"""Destinations under control: how many a client or user may have, and the socket that lists and drops them."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mqlight.server.broker import Limits
from mqlight.server.control import SOCKET, answer
from mqlight.server.destination import DestinationName, Owner
from mqlight.server.store import Store
from processes import ROOT, Server, start_server
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
def running(tmp_path: Path) -> Iterator[Server]:
    server = start_server("--data", str(tmp_path / "data"), "--max-destinations-per-client", "3")
    yield server
    server.close()


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
