"""The fixtures that tests share: programs of one's own, a server of one's own, and an end to every test."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from certificates import Certificates
from fronts import Front, StartFront, gateway_command
from processes import ROOT, START_TIMEOUT, Process, Server, Spawn, start_server

# The tests start some hundred Pythons. Without byte code each of them, and pytest, compiles all of our modules first.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell lets programs in the background ignore Ctrl-C, and the programs of the tests would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ON_REAL_BROKERS = {
    r"tests/(brokers|examples)/.*\[rabbitmq\b": "rabbitmq",
    r"tests/(brokers|examples)/.*\[artemis\b": "artemis",
    r"tests/brokers/test_(rabbitmq|doctor)\.py::[^[]*$": "rabbitmq",
}
"""The names of the tests that use the RabbitMQ or the Artemis of the environment."""

LONGEST = (
    "rabbitmq",
    "artemis",
    "tests/test_tutorial.py",
    "tests/test_packaging.py",
    "tests/faults/",
    "tests/web/",
    "tests/examples/",
    "tests/interop/",
    "tests/macaque/gateway/",
    "tests/macaque/cli/",
    "tests/console/test_page",
    "tests/brokers/",
)
"""The beginnings of the names of the units that take longest, the longest first."""

TEST_TIMEOUT = 300
"""Seconds after which a test is ended from outside, whatever it waits for."""


# How long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start Python programs: `spawn(["-m", "backend"], ready="pattern", env={...})`. They end with the test,
    and so does what they start, unless it leaves their process group.

    With `ready` it returns when the output contains that pattern; `command=[...]` starts any other program.
    """
    processes: list[Process] = []

    def start(
        args: Sequence[str] = (),
        *,
        command: Sequence[str] | None = None,
        ready: str | None = None,
        env: dict[str, str] | None = None,
        cwd: Path = ROOT,
        timeout: float = START_TIMEOUT,
        base: dict[str, str] | None = None,
    ) -> Process:
        process = Process(command or [sys.executable, *args], env, cwd, base)
        processes.append(process)
        if ready is not None:
            process.expect(ready, timeout)
        return process

    yield start
    for process in processes:
        process.close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A fresh development server, with `url` and `port`."""
    process = start_server()
    yield process
    process.close()


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Server]:
    """One development server for all tests of a module, for those that use topics of their own and only read."""
    process = start_server()
    yield process
    process.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority of the tests, and certificates that it signed."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def start_front() -> Iterator[StartFront]:
    """Start gateways: `start_front(url, "--allow", "todo/#", MACAQUE_GATEWAY_TOKEN="...")`."""
    processes: list[Process] = []

    def start(broker: str, *options: str, **env: str) -> Front:
        processes.append(Process(gateway_command("--broker", broker, *options), {**env}))
        return Front(processes[-1])

    yield start
    for process in processes:
        process.close()


class Overdue(Exception):
    """A test took longer than TEST_TIMEOUT."""


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """No test runs for ever: one that hangs fails, and the others go on."""

    def overdue(*_: object) -> None:
        raise Overdue(f"the test did not end within {TEST_TIMEOUT} s")

    previous = signal.signal(signal.SIGALRM, overdue)
    signal.alarm(TEST_TIMEOUT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Escape lone surrogates in what a test printed or logged: a report has to pass between two processes."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have measured: seconds, noted by `record_property`."""
    figures: dict[str, list[float]] = {}
    for report in terminalreporter.getreports("passed"):
        for name, seconds in report.user_properties:
            figures.setdefault(name, []).append(seconds)
    for name, all_of in figures.items():
        terminalreporter.write_line(
            f"{name}: {len(all_of)} times, median {median(all_of):.2f} s, longest {max(all_of):.2f} s"
        )


def unit(nodeid: str) -> str:
    """Return the name of the unit that a test belongs to; the tests of a unit run one after the other.

    A unit is a file, or all tests on one real broker: some of them kill that broker.
    """
    return next((broker for tests, broker in ON_REAL_BROKERS.items() if re.match(tests, nodeid)), nodeid.split("::")[0])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the longest units, where tests are divided: a long unit at the end would keep the others waiting."""

    def place(item: pytest.Item) -> int:
        name = unit(item.nodeid)
        return next((place for place, start in enumerate(LONGEST) if name.startswith(start)), len(LONGEST))

    if hasattr(config, "workerinput"):
        items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Divide the tests by units, in the order of their collection."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduler(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

    config.option.loadscopereorder = False
    return Scheduler(config, log)
