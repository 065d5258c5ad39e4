"""`make run`: scripts/run.py starts everything, back ends may go, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from processes import ROOT, Process, Spawn, wait_until

SCRIPT = str(ROOT / "scripts" / "run.py")
STARTED = re.compile(r"(\S+) started \(pid=(\d+)\)")


def free_ports(count: int) -> list[str]:
    """Ports that nothing listened on a moment ago: `make run` is told its ports, and cannot choose."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield str(listening.getsockname()[1])


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno != errno.ESRCH
    return True


@dataclass(frozen=True)
class Running:
    """A run of `make run`: its own process, the address of the page, and the pid of each process by its name."""

    run: Process
    page: str
    pids: dict[str, int]

    def left(self) -> list[str]:
        """The names of the processes that still exist."""
        return [name for name, pid in self.pids.items() if exists(pid)]


@pytest.fixture
def start(spawn: Spawn, tmp_path: Path) -> Iterator[Callable[[int], Running]]:
    """Start everything with so many back ends. Honcho gives each process a group, so `spawn` alone would leave them."""
    runs: list[Process] = []

    def begin(workers: int) -> Running:
        amqp_port, port = free_ports(2)
        environ = {"AMQP_PORT": amqp_port, "PORT": port, "AMQP_DATA": str(tmp_path), "WORKERS": str(workers)}
        run = spawn([SCRIPT], env=environ)
        runs.append(run)
        run.expect(rf"server\.1 +\| .*amqp://127\.0\.0\.1:{amqp_port}")
        page = run.expect(rf"web\.1 +\| .*(http://\S+:{port}/)")[1]
        wait_until(lambda: len(STARTED.findall(run.log())) == workers + 2, what="the start of all processes")
        return Running(run, page, {name: int(pid) for name, pid in STARTED.findall(run.log())})

    yield begin
    for run in runs:
        run.stop()


def health(page: str) -> int:
    with urllib.request.urlopen(page + "healthz", timeout=5) as response:
        return int(response.status)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_within_five_seconds(
    start: Callable[[int], Running], tmp_path: Path, number: signal.Signals
) -> None:
    running = start(2)
    assert set(running.pids) == {"server.1", "backend.1", "backend.2", "web.1"}
    assert health(running.page) == 200
    running.run.signal(number)
    code = running.run.wait(5)
    assert code == 0 or number != signal.SIGINT
    assert "WARNING" not in running.run.log() and "Connection refused" not in running.run.log()
    assert running.left() == []
    assert "Traceback" not in running.run.log()
    assert {path.name for path in tmp_path.iterdir()} == {"messages.sqlite", "messages.commits"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_back_end_may_go_and_the_rest_goes_on(start: Callable[[int], Running], number: signal.Signals) -> None:
    running = start(2)
    os.kill(running.pids["backend.1"], number)
    running.run.expect(r"backend\.1 stopped")
    assert health(running.page) == 200
    assert running.run.returncode is None
    assert set(running.left()) == {"server.1", "backend.2", "web.1"}


def test_everything_ends_when_the_server_does(start: Callable[[int], Running]) -> None:
    running = start(1)
    os.kill(running.pids["server.1"], signal.SIGKILL)
    assert running.run.wait(6) != 0
    assert running.left() == []


@pytest.mark.parametrize(("variable", "other"), [("PORT", "AMQP_PORT"), ("AMQP_PORT", "PORT")])
def test_a_port_in_use_is_one_line_that_names_it_and_the_variable(
    spawn: Spawn, taken: str, variable: str, other: str
) -> None:
    run = spawn([SCRIPT], env={variable: taken, other: free_ports(1)[0]})
    assert run.wait(10) == 2
    assert re.fullmatch(rf"make run: port {taken} is already in use: .* make run {variable}=\d+\n", run.log())


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PORT", "http"), ("PORT", "0"), ("PORT", "65536"), ("AMQP_PORT", "-1"), ("WORKERS", "many"), ("WORKERS", "65")],
)
def test_a_bad_number_is_one_line_that_names_the_variable(spawn: Spawn, variable: str, value: str) -> None:
    run = spawn([SCRIPT], env={variable: value})
    assert run.wait(10) == 2
    assert re.fullmatch(rf"make run: {variable}={value} is not a number from .*\n", run.log())


def test_the_server_and_the_front_end_need_a_port_each(spawn: Spawn) -> None:
    run = spawn([SCRIPT], env={"PORT": "5700", "AMQP_PORT": "5700"})
    assert run.wait(10) == 2
    assert "AMQP_PORT and PORT are both 5700" in run.log()


def test_an_old_python_is_one_clear_line(spawn: Spawn, tmp_path: os.PathLike[str]) -> None:
    old = os.path.join(tmp_path, "an old python")
    with open(old, "w", encoding="utf-8") as script:
        # Runs the probes of scripts/install as Python 3.9 would answer them.
        script.write(f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.version_info = (3, 9, 1); $2"\n')
    os.chmod(old, 0o755)
    install = spawn(command=["sh", str(ROOT / "scripts" / "install"), "run"], env={"PYTHON": old})
    assert install.wait(10) == 2
    assert re.fullmatch(r"make: .* is Python 3\.9\.1, but 3\.10 or newer is needed: .*\n", install.log())


def test_a_missing_python_is_one_clear_line(spawn: Spawn) -> None:
    install = spawn(command=["sh", str(ROOT / "scripts" / "install"), "run"], env={"PYTHON": "no-such-python"})
    assert install.wait(10) == 2
    assert re.fullmatch(r"make: there is no command no-such-python: install Python 3\.10 .*\n", install.log())


def test_the_address_of_the_page_is_the_last_line_of_the_start_and_each_line_has_one_time(
    start: Callable[[int], Running],
) -> None:
    running = start(1)
    running.run.expect(rf"system +\| open {running.page} in a browser")
    log = running.run.log()
    assert "Connection refused" not in log
    assert "open " in log.splitlines()[-1]
    assert all(len(re.findall(r"\d\d:\d\d:\d\d", line)) == 1 for line in log.splitlines())


def test_a_variable_that_kubernetes_made_is_not_a_port(spawn: Spawn, taken: str) -> None:
    run = spawn([SCRIPT], env={"AMQP_PORT": "tcp://10.96.0.12:5672", "PORT": taken})
    assert run.wait(10) == 2
    assert "tcp://" not in run.log()
