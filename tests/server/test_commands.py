"""The commands that list and drop the destinations of a server, stopped or running."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import mqlight
from mqlight.server.control import SOCKET
from mqlight.server.destination import DestinationName, Owner
from mqlight.server.store import Store
from processes import ROOT, Server, start_server, wait_until
from server.test_store import batch, destination, save


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
        (("drop", "--data", "{}"), "choose destinations by their numbers"),
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
    """Return the answers to subscriptions that outlive their client, which leaves afterwards."""
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
