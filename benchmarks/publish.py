"""Measure the messages per second that a server accepts at QoS 1: in memory, and with a store that writes each one to
disk before the sender gets the outcome.

Run it with `python benchmarks/publish.py --messages 20000 --rounds 3`. No subscriber takes the messages meanwhile, so
each of them is written. The script first publishes with many messages in flight, then one at a time.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from comparison import processor_time

import mqlight

BODY = "x" * 150


def publish(url: str, server: int, messages: int) -> tuple[float, float, float]:
    """Publish messages.

    Returns:
        Messages per second with many in flight, the server's seconds of processor time per message, and the median of
        the seconds for one message at a time.
    """
    with mqlight.Client(url, "listener") as listener, mqlight.Client(url, "publisher") as publisher:
        there = threading.Event()
        listener.subscribe("bench", "s", {"ttl": 60_000, "qos": 1, "credit": 0}, lambda *_: there.set())
        if not there.wait(10):
            raise SystemExit("the subscription was never confirmed")
        left, done = messages, threading.Event()

        def sent(client: object, err: Exception | None, *_: object) -> None:
            nonlocal left
            if err is not None:
                raise SystemExit(f"a message was refused: {err}")
            left -= 1
            if not left:
                done.set()

        start, used = time.perf_counter(), processor_time(server)
        for _ in range(messages):
            publisher.send("bench", BODY, {"qos": 1}, sent)
        if not done.wait(120):
            raise SystemExit(f"{left} messages were never accepted")
        rate = messages / (time.perf_counter() - start)
        work = (processor_time(server) - used) / messages

        times = []
        for _ in range(200):
            accepted = threading.Event()
            start = time.perf_counter()
            publisher.send("bench", BODY, {"qos": 1}, lambda *_, told=accepted: told.set())
            accepted.wait(10)
            times.append(time.perf_counter() - start)
        return rate, work, statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for number in range(options.rounds):
        for how in ("memory", "disk"):
            with tempfile.TemporaryDirectory(dir=".") as folder:
                command = [sys.executable, "-m", "mqlight.server", "--port", "0", "--no-console"]
                command += ["--data", folder] if how == "disk" else []
                server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                try:
                    assert server.stdout is not None
                    rate, work, wait = publish(server.stdout.readline().split()[-1], server.pid, options.messages)
                finally:
                    server.terminate()
                    server.wait()
            print(
                f"round {number + 1}, {how}: {rate:,.0f} messages/s, {work * 1e6:.0f} µs of the server's processor time"
                f" for each, {wait * 1000:.2f} ms for one at a time"
            )


if __name__ == "__main__":
    main()
