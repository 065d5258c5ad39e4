"""kill -9 of what writes to a store, and of a whole server: what a sender was told to be safe is there afterwards."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import mqlight
from processes import Server, Spawn, start_server, wait_until

HERE = Path(__file__).parent
ROUNDS = 200
KILLS = 10
TTL = {"ttl": 3_600_000, "qos": 1}


def rounds(spawn: Spawn, *args: object, env: dict[str, str] | None = None) -> dict[str, int]:
    """Return the output of store_rounds.py, which fails with the reason if anything is wrong."""
    process = spawn([str(HERE / "store_rounds.py"), *map(str, args)], env=env)
    assert process.wait(110) == 0, process.log()
    result: dict[str, int] = json.loads(process.log())
    return result


def test_a_kill_at_any_moment_loses_no_committed_batch_and_leaves_no_half_of_one(spawn: Spawn, tmp_path: Path) -> None:
    seen = rounds(spawn, "random", ROUNDS, random.randrange(10**6), tmp_path)
    assert seen["rounds"] == ROUNDS and seen["committed"] > ROUNDS / 2


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """write_shim.c, compiled."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the shim is for Linux: it uses /proc and LD_PRELOAD")
    library = tmp_path_factory.mktemp("shim") / "write_shim.so"
    compiler = shutil.which(os.environ.get("CC", "cc"))
    assert compiler, "no C compiler, which Proton needs as well"
    source = str(HERE / "write_shim.c")
    subprocess.run([compiler, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), source], check=True)
    return library


@pytest.mark.parametrize("tear", [0, 1], ids=["before it", "in the middle of it"])
def test_a_kill_or_a_power_cut_at_each_change_to_the_files_loses_nothing(
    spawn: Spawn, shim: Path, tmp_path: Path, tear: int
) -> None:
    seen = rounds(spawn, "changes", tear, tmp_path, env={"SHIM": str(shim), "LD_PRELOAD": str(shim)})
    assert seen["changes"] > 50 and seen["committed"] == 5


class Sender:
    """Sends numbers, and knows which of them the server has accepted."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.sent = 0
        self.accepted: set[str] = set()
        self.errors: list[Exception] = []
        self._stop = threading.Event()
        self.client = mqlight.Client(url, f"sender_{name}")
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.sent += 1
            self.client.send("crash/words", f"{self.name} {self.sent}", {"qos": 1}, self._on_sent)
            self._stop.wait(0.001)

    def _on_sent(self, client: object, err: Exception | None, topic: str, data: str, options: object) -> None:
        if err is None:
            self.accepted.add(data)
        else:
            self.errors.append(err)

    def finish(self) -> None:
        self._stop.set()
        self._thread.join()
        wait_until(lambda: len(self.accepted) + len(self.errors) == self.sent, 30, "the end of all sends")
        self.client.stop()


@pytest.fixture
def crashing(tmp_path: Path) -> Iterator[list[Server]]:
    """The server that runs, as the only element: it comes back on the same port with the same data."""
    servers = [start_server("--data", str(tmp_path))]
    yield servers
    servers[0].close()


def test_a_server_killed_ten_times_loses_no_message_that_it_accepted(crashing: list[Server], tmp_path: Path) -> None:
    url, port = crashing[0].url, crashing[0].port
    with mqlight.Client(url, "listener") as listener:
        ready = threading.Event()
        listener.subscribe("crash/#", "s", {**TTL, "credit": 0}, lambda *_: ready.set())
        assert ready.wait(10)
    chance = random.Random()
    senders = [Sender(url, name) for name in "ab"]
    for _ in range(KILLS):
        target = sum(len(sender.accepted) for sender in senders) + chance.randrange(50, 300)
        wait_until(lambda target=target: sum(len(s.accepted) for s in senders) >= target, 30, "messages being accepted")
        crashing[0].kill()
        crashing[0].close()
        crashing[0] = start_server("--data", str(tmp_path), port=port)
    for sender in senders:
        sender.finish()
        assert sender.errors == []

    got: list[str] = []
    accepted = set().union(*(sender.accepted for sender in senders))
    with mqlight.Client(url, "listener") as listener:
        listener.subscribe("crash/#", "s", TTL, on_message=lambda kind, data, delivery: got.append(data))
        wait_until(lambda: accepted <= set(got), 30, "the arrival of what was accepted")
    assert set(got) <= {f"{sender.name} {n}" for sender in senders for n in range(1, sender.sent + 1)}
    for sender in senders:
        first = [int(data.split()[1]) for data in dict.fromkeys(got) if data.startswith(sender.name)]
        assert first == sorted(first)
