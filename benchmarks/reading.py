"""Measure what a caller saves that reads its reply itself, instead of being woken by the thread that reads.

Run it with `PYTHONPATH=. python benchmarks/reading.py --rounds 15`. One client makes one call at a time, and waits with
`result()`. The ways take turns. The figures are the medians of the rounds, and the smallest ones in brackets.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

from comparison import Program

import macaque

TOPIC, WORD = "reading/echo", "alive"
SECONDS = 0.3
SERVICE = """
import sys, macaque
app = macaque.Server(sys.argv[1])
app.service("reading/echo", share_id="echo")(lambda data: data)
app.run()
"""


def measure(call: Callable[[], None]) -> tuple[float, float]:
    """Call for some time. Return the microseconds, and those of processor time, of one call."""
    for _ in range(100):
        call()
    count, began, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() < began + SECONDS:
        call()
        count += 1
    return 1e6 * (time.perf_counter() - began) / count, 1e6 * (time.process_time() - used) / count


def wait_for_service(client: macaque.Client) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            client.call(TOPIC, WORD).result()
            return
        except macaque.NoResponders:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with Program("mqlight.server", sys.executable, "-m", "mqlight.server", "--port", "0", "--no-console") as server:
        url = server.expect(r"(amqp://\S+)")
        with Program("service", sys.executable, "-c", SERVICE, url), macaque.Client(url) as client:
            wait_for_service(client)

            def reads_itself() -> None:
                assert client.call(TOPIC, WORD).result() == WORD

            def is_woken() -> None:
                call = client.call(TOPIC, WORD)
                client._connection.before_blocking()  # so the connection's own thread goes on reading
                assert call.result() == WORD

            ways = {"reads itself": reads_itself, "is woken": is_woken}
            rounds = [{name: measure(call) for name, call in ways.items()} for _ in range(options.rounds)]
            for name in ways:
                wall, work = zip(*(each[name] for each in rounds), strict=True)
                print(
                    f"{name}: {statistics.median(wall):.0f} ({min(wall):.0f}) µs a call, "
                    f"{statistics.median(work):.0f} ({min(work):.0f}) µs of processor time"
                )


if __name__ == "__main__":
    main()
