"""`macaque bench`: the rate of a service, and the times of its calls."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import click

from macaque.cli.calling import CallCommand, data_argument, opened, read_data, timeout_option
from macaque.cli.terminal import broker_option, print_json
from macaque.client import Client
from macaque.errors import MacaqueError, RemoteError

__all__ = ["Load", "bench"]

WIDTH = 40
"""Characters of the longest bar of the histogram."""
STEP = 0.1
"""Seconds between two updates of the progress bar."""


@click.command(cls=CallCommand)
@click.argument("topic")
@data_argument
@click.option("--calls", type=click.IntRange(1, 10_000_000), default=10_000, show_default=True, metavar="COUNT",
              help="Make COUNT calls.")  # fmt: skip
@click.option("--in-flight", type=click.IntRange(1, 10_000), default=100, show_default=True, metavar="COUNT",
              help="Have COUNT calls in flight at a time.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@timeout_option
@broker_option
def bench(topic: str, json: str, calls: int, in_flight: int, as_json: bool, timeout: float, broker: str | None) -> None:
    """Call the service at TOPIC with JSON many times, and print its rate and the times of the calls.

    Each call is a real one: the service does its work. The exit code is 1 if a call failed.
    """
    data = read_data(json)
    with opened(broker, timeout) as client:
        client.call(topic, data).result()  # before the measurement: an error ends the command
        load = Load(client, topic, data, calls)
        if sys.stderr.isatty():
            with click.progressbar(length=calls, file=sys.stderr) as bar:
                load.run(in_flight, bar.update)
        else:
            load.run(in_flight, lambda ended: None)
    if as_json:
        print_json(load.figures())
    else:
        _show(load)
    if load.errors:
        raise SystemExit(1)


class Load:
    """A number of calls, some of which are in flight at a time: the end of each begins the next."""

    def __init__(self, client: Client, topic: str, data: Any, calls: int) -> None:
        self.seconds = 0.0
        self.times: list[float] = []
        """The seconds of each call that had a result."""
        self.errors: Counter[str] = Counter()
        """The calls that failed, by their error."""
        self._client = client
        self._topic = topic
        self._data = data
        self._left = calls
        self._running = 0
        self._lock = threading.Lock()
        self._done = threading.Event()

    def run(self, in_flight: int, progress: Callable[[int], object]) -> None:
        """Make the calls. `progress` is called now and then with the number of calls that have ended meanwhile."""
        began = time.perf_counter()
        first = min(in_flight, self._left)
        self._left -= first
        self._running = first
        for _ in range(first):
            self._call()
        told = 0
        while not self._done.wait(STEP):
            ended = len(self.times) + self.errors.total()
            progress(ended - told)
            told = ended
        self.seconds = time.perf_counter() - began
        progress(len(self.times) + self.errors.total() - told)

    def _call(self) -> None:
        began = time.perf_counter()

        def result(_: Any) -> None:
            self.times.append(time.perf_counter() - began)
            self._next()

        def failed(error: Exception) -> None:
            name = f"code {error.code}" if isinstance(error, RemoteError) else type(error).__name__
            self.errors[name] += 1
            self._next()

        try:
            self._client.call(self._topic, self._data, result, on_error=failed)
        except MacaqueError as error:
            failed(error)

    def _next(self) -> None:
        with self._lock:
            more = self._left > 0
            if more:
                self._left -= 1
            else:
                self._running -= 1
                if not self._running:
                    self._done.set()
        if more:
            self._call()

    def figures(self) -> dict[str, Any]:
        """Return the figures: times are in seconds."""
        times = sorted(self.times)
        percentiles = {f"p{percent}": times[len(times) * percent // 100] for percent in (50, 90, 99) if times}
        ended = len(times) + self.errors.total()
        about = {"calls": ended, "seconds": self.seconds, "rate": ended / self.seconds, "errors": dict(self.errors)}
        return about | percentiles | ({"longest": times[-1]} if times else {})


def _show(load: Load) -> None:
    figures = load.figures()
    click.echo(f"{figures['calls']} calls in {load.seconds:.2f} s: {figures['rate']:.0f} calls/s")
    for name in "p50", "p90", "p99", "longest":
        if name in figures:
            click.echo(f"{name:>8}  {figures[name] * 1000:.2f} ms")
    for name, count in load.errors.most_common():
        click.echo(f"{count} calls failed: {name}")
    buckets = Counter((int(seconds * 1e6)).bit_length() for seconds in load.times)
    most = max(buckets.values(), default=1)
    for power in range(min(buckets, default=0), max(buckets, default=-1) + 1):
        count = buckets[power]
        bar = "#" * -(-count * WIDTH // most)
        click.echo(f"{f'< {2**power / 1000:g} ms':>14}  {count:>8}  {bar}".rstrip())
