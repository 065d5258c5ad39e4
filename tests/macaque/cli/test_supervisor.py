from __future__ import annotations

import logging
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import macaque
from macaque.cli.supervisor import FIRST, MOST, YOUNG, Deaths, Supervisor
from processes import Server, Spawn, wait_until
from workers import SERVICES, run, workers

IDLE = [sys.executable, "-c", "import os, sys; os.read(int(sys.argv[-1]), 1)"]
"""The command of a worker that does nothing, and leaves when it is asked to."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "services.py").write_text(SERVICES)
    return tmp_path


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_pauses_grow_while_workers_die_young_and_end_after_too_many() -> None:
    deaths = Deaths()
    pauses = [deaths.pause(0.1) for _ in range(MOST)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, None]
    deaths = Deaths()
    assert [deaths.pause(0.1), deaths.pause(0.1), deaths.pause(YOUNG), deaths.pause(0.1)] == [0.5, 1.0, FIRST, 0.5]


def test_folders_that_cannot_be_watched_end_the_command(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert Supervisor(IDLE, 1, 10.0, [tmp_path / "missing"]).run() == 2
    assert "the files cannot be watched" in caplog.text and "--reload-dir" in caplog.text


def test_changes_that_come_together_start_the_workers_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    supervisor = Supervisor(IDLE, 1, 10.0, [tmp_path])
    for name in "shop.py", "stock.py", "shop.py":
        supervisor.change({name})
    supervisor.leave(0)
    assert supervisor.run() == 0
    said = [line for line in caplog.messages if "has changed" in line]
    assert said == ["shop.py, stock.py has changed: the workers are started again"]
    assert sum("is process" in line for line in caplog.messages) == 2


def test_workers_share_the_requests_and_one_that_is_killed_is_started_again(
    server: Server, spawn: Spawn, folder: Path
) -> None:
    process = run(spawn, server, folder, "--workers", "2")
    first, second = workers(process, 2)
    with macaque.Client(broker=server.url, timeout=20.0) as client:
        assert {call.result() for call in [client.call("who", None) for _ in range(20)]} == {first, second}
        assert {"worker 1", "worker 2"} == set(re.findall(r"(worker \d): \S+ serves who", process.log()))
        os.kill(first, signal.SIGKILL)
        process.expect(r"worker \d \(process \d+\) was ended by SIGKILL. It is started again in 0.5 s")
        third = workers(process, 3)[2]
        wait_until(lambda: third in {call.result() for call in [client.call("who", None) for _ in range(20)]})
    assert process.stop() == 0
    assert all(map(gone, (second, third)))


def test_workers_finish_their_requests_together_on_sigterm(server: Server, spawn: Spawn, folder: Path) -> None:
    process = run(spawn, server, folder, "--workers", "2")
    workers(process, 2)
    with macaque.Client(broker=server.url, timeout=20.0) as client:
        calls: list[Any] = [client.call("who", "slow") for _ in range(2)]
        process.expect(r"(?s)slow begins.*slow begins")
        process.signal(signal.SIGTERM)
        assert len({call.result() for call in calls}) == 2
    assert process.wait() == 0


def test_ctrl_c_in_a_terminal_reaches_all_and_is_no_second_signal(server: Server, spawn: Spawn, folder: Path) -> None:
    process = run(spawn, server, folder, "--workers", "2")
    workers(process, 2)
    with macaque.Client(broker=server.url, timeout=20.0) as client:
        call = client.call("who", "slow")
        process.expect("slow begins")
        os.killpg(process.pid, signal.SIGINT)
        assert call.result() > 0
    assert process.wait() == 0


def test_workers_do_not_outlive_a_supervisor_that_is_killed(server: Server, spawn: Spawn, folder: Path) -> None:
    process = run(spawn, server, folder, "--workers", "2")
    both = workers(process, 2)
    process.kill()
    wait_until(lambda: all(map(gone, both)))


def test_an_exit_in_a_service_ends_its_worker_only(server: Server, spawn: Spawn, folder: Path) -> None:
    process = run(spawn, server, folder, "--workers", "2")
    workers(process, 2)
    with macaque.Client(broker=server.url, timeout=20.0) as client:
        assert getattr(client.call("who", "exit").exception(), "code", None) == "exit"
    process.expect(r"has ended with exit code 3. It is started again")
    workers(process, 3)
    assert process.stop() == 0
