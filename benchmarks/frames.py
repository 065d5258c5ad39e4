"""Measure how fluid the console's page is while many messages pass: the frames that Chromium draws.

Run it with `python benchmarks/frames.py --rate 20000 --seconds 10`. It needs Chromium, chromedriver and selenium. The
page counts the frames between two messages of its display (requestAnimationFrame): 60 a second are fluid. The script
fails if a process fails, never because of a figure.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from comparison import HERE, Failure, Program

sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

STEP = 0.01
WATCH = """
window.watched = { frames: [], tasks: [] };
new PerformanceObserver((list) => watched.tasks.push(...list.getEntries().map((entry) => entry.duration)))
  .observe({ type: "longtask" });
const watch = (at) => { watched.frames.push(at); requestAnimationFrame(watch); };
requestAnimationFrame(watch);
"""


def flood(url: str, rate: float) -> None:
    """Send messages at a rate, until the process ends."""
    import mqlight

    with mqlight.Client(url, "flood") as client:
        print("ready", flush=True)
        begun, sent = time.perf_counter(), 0
        while True:
            due = int((time.perf_counter() - begun) * rate)
            for number in range(sent, due):
                client.send(f"flood/{number % 7}", f'{{"number": {number}}}', {"qos": 0})
            sent = due
            time.sleep(STEP)


def sink(url: str) -> None:
    """Receive all of them, until the process ends."""
    import mqlight

    client = mqlight.Client(url, "sink")
    client.subscribe("flood/#", options={"qos": 0, "credit": 10_000})
    print("ready", flush=True)
    while True:
        time.sleep(60)


def measure(rate: float, seconds: float) -> None:
    """Open the page, flood the server, and print the figures."""
    from browsers import start_chromium

    with ExitStack() as stack:
        command = [sys.executable, "-m", "mqlight.server", "--port", "0", "--console-port", "0"]
        server = stack.enter_context(Program("mqlight.server", *command))
        url, address = server.expect(r"(amqp://\S+)"), server.expect(r"console at (http://\S+)")
        driver = start_chromium(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        stack.callback(driver.quit)
        driver.get(address)
        for role in ("sink", "flood"):
            program = Program(role, sys.executable, __file__, role, url, str(rate))
            stack.enter_context(program).expect("(ready)")
        time.sleep(2.0)  # until the list is full
        driver.execute_script(WATCH)
        before, begun = _messages(driver), time.perf_counter()
        time.sleep(seconds)
        took, passed = time.perf_counter() - begun, _messages(driver) - before
        found: dict[str, Any] = driver.execute_script("return watched")
        sampled = driver.execute_script("return document.querySelector('.sampled').innerText")
    frames = found["frames"]
    gaps = sorted(after - at for at, after in zip(frames, frames[1:], strict=False))
    if not gaps:
        raise Failure("the page drew no frame")
    print(f"{passed / took:,.0f} messages/s, {os.cpu_count()} cores; the page says: {sampled}")
    print(
        f"{1000 * len(gaps) / sum(gaps):.1f} frames/s; between two frames: median {statistics.median(gaps):.1f} ms, "
        f"99 of 100 within {gaps[int(len(gaps) * 0.99)]:.1f} ms, longest {gaps[-1]:.1f} ms"
    )
    tasks = [duration for duration in found["tasks"] if duration > 50]
    print(f"{len(tasks)} tasks over 50 ms, the longest {max(tasks, default=0):.0f} ms")


def _messages(driver: Any) -> int:
    return int(driver.execute_script("return document.getElementById('total').textContent").replace(",", ""))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", nargs="?", choices=("sink", "flood"), help=argparse.SUPPRESS)
    parser.add_argument("url", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("its_rate", nargs="?", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, default=20_000, help="messages per second (default 20000)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the measurement (default 10)")
    options = parser.parse_args()
    if options.role == "sink":
        sink(options.url)
    elif options.role == "flood":
        flood(options.url, options.its_rate)
    try:
        measure(options.rate, options.seconds)
    except Failure as failure:
        print(f"frames.py: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
