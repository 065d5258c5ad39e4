"""The shared part of the comparisons: processes that are stopped, peers that take turns, and their figures.

A peer is a script with a worker and a caller, each a process of its own. `SCRIPT worker URL` prints "ready".
`SCRIPT caller URL SECONDS INFLIGHT` prints its `Figures` as a line of JSON, and fails if a reply is wrong or missing.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

HERE = Path(__file__).resolve().parent
START_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0


class Figures(msgspec.Struct, frozen=True):
    """The figures of one caller process in one round."""

    rate: float
    """Calls per second with many in flight."""
    waits: dict[str, list[float]]
    """Sorted latencies in seconds with one call in flight, for each way to wait for the reply."""
    awaited: float = 0.0
    """Calls per second with many in flight, each awaited by a task; 0 if `rate` is that or if it was not measured."""


def processor_time(pid: int) -> float:
    """Return the seconds of processor time that a process has used so far (Linux)."""
    with open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """The comparison could not be made. The sentence names the cause."""


class Program:
    """A process of the comparison, stopped when the `with` block ends. `expect` waits for its output."""

    def __init__(self, name: str, *command: str, env: dict[str, str] | None = None) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command,
            cwd=HERE.parent,  # `python -m` imports from there first
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

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def terminate(self) -> None:
        """Ask the process to stop."""
        self._process.terminate()

    def expect(self, pattern: str, timeout: float = START_TIMEOUT) -> str:
        """Return the first group of the first line that matches. Raises Failure if there is none in time."""
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


class Peer(msgspec.Struct, frozen=True):
    """One of the programs that are compared."""

    name: str
    script: str
    """A file in this folder."""
    url: str
    python: str = sys.executable
    """The interpreter of the environment in which the program is installed."""
    caller: str = "caller"
    """The argument that starts its caller, for a script with several callers."""

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Run the peer's worker, which is ready while the `with` block runs."""
        with Program(f"{self.name} worker", self.python, str(HERE / self.script), "worker", self.url) as worker:
            worker.expect("(ready)")
            yield

    def measure(self, seconds: float, inflight: int) -> Figures:
        """Run one caller process to its end. Return its figures."""
        command = [self.python, str(HERE / self.script), self.caller, self.url, str(seconds), str(inflight)]
        with Program(f"{self.name} caller", *command) as caller:
            return msgspec.json.decode(caller.expect(r"^(\{.*\})$", START_TIMEOUT + 6 * seconds), type=Figures)


@contextmanager
def embedded_server() -> Iterator[str]:
    """Run the development server. Yield its URL."""
    with Program("mqlight.server", sys.executable, "-m", "mqlight.server", "--port", "0", "--no-console") as server:
        yield server.expect(r"(amqp://\S+)")


def percentile(values: list[float], part: float) -> float:
    """Return the value that `part` of the sorted values do not exceed (nearest rank)."""
    return values[min(len(values) - 1, int(len(values) * part))]


class Column:
    """All rounds of one peer, and the medians over the rounds."""

    def __init__(self) -> None:
        self.rounds: list[Figures] = []

    def rate(self) -> float:
        return statistics.median(each.rate for each in self.rounds)

    def awaited(self) -> float:
        """Return the calls per second by `await`; 0 if they were not measured apart."""
        return statistics.median(each.awaited for each in self.rounds)

    def ways(self) -> list[str]:
        return list(self.rounds[0].waits)

    def latency(self, way: str, part: float) -> float:
        """Return the median of a percentile, in milliseconds."""
        return 1000 * statistics.median(percentile(each.waits[way], part) for each in self.rounds)


def take_turns(peers: list[Peer], rounds: int, seconds: float, inflight: int) -> dict[str, Column]:
    """Measure each peer once per round and print the figures. Return all rounds by name. The workers must be ready."""
    columns = {peer.name: Column() for peer in peers}
    width = max(map(len, columns))
    for number in range(rounds):
        # A B, then B A: so no peer always runs after the same other peer.
        for peer in peers if number % 2 == 0 else reversed(peers):
            figures = peer.measure(seconds, inflight)
            columns[peer.name].rounds.append(figures)
            waits = ", ".join(
                f"{1000 * percentile(values, 0.5):.3f} ms ({way})" for way, values in figures.waits.items()
            )
            rates = f"{figures.rate:>9,.0f} calls/s"
            if figures.awaited:
                rates += f", {figures.awaited:,.0f} by await"
            print(f"round {number + 1}  {peer.name:{width}} {rates}   {waits}", flush=True)
    return columns
