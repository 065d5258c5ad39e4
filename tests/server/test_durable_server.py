"""A server with a data folder, as its users see it."""

from __future__ import annotations

import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mqlight
from mqlight.server.links import SENDER_CREDIT
from mqlight.server.store import COMMITS, FILE
from processes import Server, Spawn, start_server, wait_until

DURABLE = {"ttl": 3_600_000, "qos": 1}


class User:
    """A client of a server: sends are waited for, and what arrives is kept."""

    def __init__(self, url: str, name: str) -> None:
        self.client = mqlight.Client(url, name)
        self.got: list[str] = []

    def send(self, data: str, *, qos: int = 1, topic: str = "t") -> Exception | None:
        told: list[Exception | None] = []
        done = threading.Event()

        def on_sent(client: object, err: Exception | None, *_: object) -> None:
            told.append(err)
            done.set()

        self.client.send(topic, data, {"qos": qos}, on_sent)
        assert done.wait(20), f"nothing was said about {data[:20]!r}"
        return told[0]

    def listen(self, share: str | None = "s", topic: str = "t", **options: Any) -> User:
        done = threading.Event()
        self.client.subscribe(topic, share, {**DURABLE, **options}, lambda *_: done.set(), self._take)
        assert done.wait(20), "nothing was said about the subscription"
        return self

    def _take(self, kind: str, data: str, delivery: object) -> None:
        self.got.append(data)

    def expect(self, *bodies: str) -> None:
        wait_until(lambda: len(self.got) >= len(bodies), what=f"the arrival of {len(bodies)} messages")
        assert self.got == list(bodies)


@pytest.fixture
def user() -> Iterator[Callable[[Server, str], User]]:
    """Users of a server, by its name and theirs; they leave at the end."""
    users: list[User] = []

    def begin(server: Server, name: str) -> User:
        users.append(User(server.url, name))
        return users[-1]

    yield begin
    for one in users:
        one.client.stop()
    wait_until(lambda: all(one.client.is_stopped() for one in users), what="the end of all clients")


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a server on the data of this test, after the end of the one before; ``end`` says how that ends."""
    servers: list[Server] = []

    def start(end: signal.Signals = signal.SIGTERM) -> Server:
        if servers:
            servers[-1].signal(end)
            servers[-1].wait()
        servers.append(start_server("--data", str(tmp_path / "data")))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_messages_collect_while_nobody_listens_and_outlive_the_server(
    durable: Callable[..., Server], user: Callable[[Server, str], User], end: signal.Signals
) -> None:
    server = durable()
    listener = user(server, "listener").listen()
    listener.client.unsubscribe("t", "s")
    sender = user(server, "sender")
    assert [sender.send(body) for body in ("a", "b", "c")] == [None] * 3
    user(durable(end), "listener2").listen().expect("a", "b", "c")


def test_a_server_that_is_told_to_stop_leaves_no_log_and_says_nothing(
    durable: Callable[..., Server], user: Callable[[Server, str], User], tmp_path: Path
) -> None:
    server = durable()
    user(server, "listener").listen(credit=0)
    assert user(server, "sender").send("a") is None
    assert server.stop() == 0
    assert {path.name for path in (tmp_path / "data").iterdir()} == {FILE, COMMITS}
    assert server.log().splitlines()[1:] == []


def test_a_sender_gets_new_credit_as_its_messages_become_safe(
    durable: Callable[..., Server], user: Callable[[Server, str], User]
) -> None:
    server = durable()
    user(server, "listener").listen(credit=0)
    told: list[Exception | None] = []
    sender = user(server, "sender").client
    for number in range(SENDER_CREDIT * 2 + 1):
        sender.send("t", str(number), {"qos": 1}, lambda client, err, *_: told.append(err))
    wait_until(lambda: len(told) > SENDER_CREDIT * 2, 60, "every message being accepted")
    assert set(told) == {None}


def test_two_servers_on_one_data_folder_are_one_too_many(
    durable: Callable[..., Server], user: Callable[[Server, str], User], spawn: Spawn, tmp_path: Path
) -> None:
    server = durable()
    user(server, "listener").listen(credit=0)
    second = spawn(["-m", "mqlight.server", "--port", "0", "--data", str(tmp_path / "data")])
    assert second.wait() == 2
    assert second.log() == f"the store {tmp_path}/data/{FILE} is in use by another server; choose another folder\n"
    assert user(server, "sender").send("still served") is None


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_no_store_is_one_line_and_exit_code_2(spawn: Spawn, tmp_path: Path, what: str) -> None:
    data = tmp_path / "data"
    if what == "folder":
        data.mkdir()
        (data / FILE).write_text("precious" * 1000)
    else:
        data.write_text("precious")
    server = spawn(["-m", "mqlight.server", "--port", "0", "--data", str(data)])
    assert server.wait() == 2
    (line,) = server.log().splitlines()
    assert str(data) in line and "choose another folder" in line
    assert ((data / FILE) if what == "folder" else data).read_text().startswith("precious")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of another process are set as on Linux")
def test_a_full_disk_refuses_what_has_to_be_kept_serves_the_rest_and_recovers_by_itself(
    durable: Callable[..., Server], user: Callable[[Server, str], User]
) -> None:
    server = durable()
    listener = user(server, "listener").listen(credit=0)
    live = user(server, "live").listen(None, topic="live", ttl=0)
    sender = user(server, "sender")
    assert sender.send("before") is None

    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    refused: list[str] = []
    while not refused:
        error = sender.send("x" * 50_000)
        refused += [] if error is None else [str(error)]
    assert "the server cannot store messages at the moment" in refused[0]
    assert "messages.sqlite" in refused[0]
    assert sender.send("rest 1", topic="live") is None
    assert sender.send("rest 2", qos=0) is None
    live.expect("rest 1")
    server.expect("durable messages are refused until it can be written")

    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    server.expect("the store works again")
    assert sender.send("after") is None
    listener.client.unsubscribe("t", "s")

    again = user(durable(signal.SIGKILL), "again").listen()
    wait_until(lambda: "after" in again.got, what="the arrival of the last message")
    assert again.got[0] == "before" and set(again.got[1:-1]) <= {"x" * 50_000}
