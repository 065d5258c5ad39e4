"""Compare the cost of a call on a server with many destinations, or many waiting messages, with an empty server.

Run it with `PYTHONPATH=. python benchmarks/flat.py --rounds 5 --seconds 2`. It compares processor time, which depends
less on other work of the machine than calls per second. It also prints the memory of a waiting message.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from comparison import Peer, Program, processor_time
from rpc_macaque import Caller

import macaque
import mqlight

LIMITS = ("destinations", "destinations-per-client", "destinations-per-user", "queue-messages", "queue-bytes", "memory")
LASTS = {"ttl": 3_600_000, "qos": 1, "credit": 0}
MANY = 500
"""The number of links of one connection that leave destinations behind."""


def memory(pid: int) -> int:
    """Return the resident memory of a process in bytes (Linux)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def leave(url: str, topics: list[str]) -> None:
    """Make a destination for each topic that outlives its subscriber."""
    left, there = len(topics), threading.Event()

    def subscribed(client: object, err: Exception | None, *_: object) -> None:
        nonlocal left
        assert err is None, err
        left -= 1
        if not left:
            there.set()

    with mqlight.Client(url) as client:
        for topic in topics:
            client.subscribe(topic, "left", LASTS, subscribed)
        assert there.wait(60)


def fill(url: str, messages: int) -> None:
    """Send `messages` messages of 200 bytes, which then wait in a destination."""
    leave(url, ["waiting"])
    accepted, room = threading.Semaphore(0), threading.Semaphore(1000)

    def sent(client: object, err: Exception | None, *_: object) -> None:
        assert err is None, err
        room.release()
        accepted.release()

    with mqlight.Client(url) as client:
        for _ in range(messages):
            room.acquire()
            client.send("waiting", "x" * 200, {"qos": 1}, sent)
        for _ in range(messages):
            accepted.acquire()


def wait_until_served(caller: Caller) -> None:
    """Call until there is an answer: the worker prints that it is ready before it is subscribed."""
    until = time.monotonic() + 10
    while True:
        try:
            return caller.result()
        except macaque.NoResponders:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--destinations", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=300_000)
    options = parser.parse_args()
    limits = [word for name in LIMITS for word in (f"--max-{name}", "1000000000")]
    kinds = ("empty", f"{options.destinations} destinations", f"{options.messages} messages")
    with ExitStack() as stack:
        servers, callers = {}, {}
        for kind in kinds:
            command = [sys.executable, "-m", "mqlight.server", "--port", "0", *limits]
            server = servers[kind] = stack.enter_context(Program("mqlight.server", *command))
            url = server.expect(r"(amqp://\S+)")
            before = memory(server.pid)
            if kind.endswith("destinations"):
                for start in range(0, options.destinations, MANY):
                    leave(url, [f"left/{number}" for number in range(start, min(start + MANY, options.destinations))])
            elif kind.endswith("messages"):
                fill(url, options.messages)
                print(f"a message of 200 bytes takes {(memory(server.pid) - before) / options.messages:.0f} bytes")
            stack.enter_context(Peer(kind, "rpc_macaque.py", url).serving())
            client = stack.enter_context(macaque.Client(broker=url))
            callers[kind] = Caller(client)
            wait_until_served(callers[kind])
        costs: dict[str, list[float]] = {kind: [] for kind in kinds}
        rates: dict[str, list[float]] = {kind: [] for kind in kinds}
        for number in range(options.rounds + 1):
            for kind in kinds if number % 2 else reversed(kinds):
                used = processor_time(servers[kind].pid)
                rate = callers[kind].rate(options.seconds, 200)
                if number:  # the first round is a warm-up
                    cost = (processor_time(servers[kind].pid) - used) / callers[kind].calls
                    costs[kind].append(cost)
                    rates[kind].append(rate)
        for kind in kinds:
            cost, empty = statistics.median(costs[kind]), statistics.median(costs["empty"])
            print(
                f"{kind:>20}: {statistics.median(rates[kind]):,.0f} calls/s,"
                f" {cost * 1e6:.1f} µs of the server a call, ratio {cost / empty:.2f}"
            )


if __name__ == "__main__":
    main()
