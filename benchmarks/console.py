"""Measure the part of the server's processor time that the console takes, with a page and without.

Run it with `python benchmarks/rpc.py --console --rounds 3 --seconds 15`. A timer on the server's processor time samples
the running code, so that other work of the machine matters little. The script fails if a process fails, never because
of a figure. The samples do not include the broker's own cost of being watched: a check for None per step, and three
counters per message. `call_in_memory.py` shows that cost.
"""

from __future__ import annotations

import signal
import statistics
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from comparison import Peer, Program

EVERY = 0.001
"""Seconds of processor time between two samples."""
START = 0.8
"""Seconds of processor time before the first sample: the start, and the first calls, all of which are recorded."""
MOST_CLOSED, MOST_OPEN = 0.01, 0.05
"""The parts of the server's processor time that the console may take, without a page and with one."""
OURS = ("/mqlight/server/console/", "/gevent/pywsgi.py", "/bottle.py")


def sampled_server(arguments: list[str]) -> None:
    """Run the server. At its end print the number of samples in the console, and the number of all samples."""
    from mqlight.server.__main__ import main

    samples = [0, 0]

    def sample(number: int, frame: FrameType | None) -> None:
        samples[0] += 1
        while frame is not None:
            if any(part in frame.f_code.co_filename for part in OURS):
                samples[1] += 1
                return
            frame = frame.f_back

    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, START, EVERY)
    try:
        main(arguments, standalone_mode=False)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        print(f"samples {samples[1]} {samples[0]}", flush=True)


@contextmanager
def page(address: str) -> Iterator[None]:
    """Read the stream of frames as a page does."""
    over = threading.Event()

    def read() -> None:
        with urllib.request.urlopen(f"{address}api/stream?view=messages", timeout=60) as response:
            for _ in response:
                if over.is_set():
                    return

    threading.Thread(target=read, daemon=True).start()
    yield
    over.set()


def measure(with_page: bool, seconds: float, inflight: int) -> tuple[float, float]:
    """Return the console's part of the server's processor time, and the calls per second, of one new server."""
    with ExitStack() as stack:
        command = [sys.executable, __file__, "--port", "0", "--console-port", "0"]
        server = stack.enter_context(Program("mqlight.server", *command))
        peer = Peer("macaque", "rpc_macaque.py", server.expect(r"(amqp://\S+)"), caller="caller-of-many")
        address = server.expect(r"console at (http://\S+)")
        if with_page:
            stack.enter_context(page(address))
        with peer.serving():
            rate = peer.measure(seconds, inflight).rate
        server.terminate()
        ours, everything = map(int, server.expect(r"^samples (\d+ \d+)$").split())
        return ours / max(1, everything), rate


def run(rounds: int, seconds: float, inflight: int) -> None:
    """Measure the cases in turns. Print each round and the medians."""
    found: dict[str, list[tuple[float, float]]] = {"no page": [], "a page": []}
    for number in range(rounds):
        for case in sorted(found, reverse=number % 2 == 0):
            found[case].append(measure(case == "a page", seconds, inflight))
            part, rate = found[case][-1]
            print(f"round {number + 1}, {case}: {part:.2%} of the server's processor time, {rate:,.0f} calls/s")
    closed, opened = (statistics.median(part for part, _ in rows) for rows in found.values())
    print(
        f"console: {closed:.2%} of the server's processor time without a page, {opened:.2%} with one "
        f"(at most {MOST_CLOSED:.0%} and {MOST_OPEN:.0%} are wanted), {inflight} calls in flight"
    )


if __name__ == "__main__":
    sampled_server(sys.argv[1:])
