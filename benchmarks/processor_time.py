"""Measure the processor time of a call in each process: server, worker and caller, with many calls in flight (Linux).

Run it with `PYTHONPATH=. python benchmarks/processor_time.py --rounds 5 --seconds 2`. Processor time depends less on
other work of the machine than calls per second. The script prints each round, then the median over the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys

from comparison import HERE, Program, processor_time
from flat import wait_until_served
from rpc_macaque import Caller

import macaque
from mqlight.amqp import COMPILED

NAMES = ("server", "worker", "caller")


def show(label: str, rate: float, costs: list[float]) -> None:
    """Print calls per second, and the microseconds of a call in each process."""
    parts = ", ".join(f"{name} {cost:.1f}" for name, cost in zip(NAMES, costs, strict=True))
    print(f"{label:9} {rate:>9,.0f} calls/s   {parts}, together {sum(costs):.1f} µs", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--inflight", type=int, default=200)
    options = parser.parse_args()
    print("compiled" if COMPILED else "plain Python")
    with Program("mqlight.server", sys.executable, "-m", "mqlight.server", "--port", "0", "--no-console") as server:
        url = server.expect(r"(amqp://\S+)")
        with Program("worker", sys.executable, str(HERE / "rpc_macaque.py"), "worker", url) as worker:
            with macaque.Client(broker=url) as client:
                caller = Caller(client)
                wait_until_served(caller)
                caller.rate(1.0, options.inflight)  # warm-up
                pids = (server.pid, worker.pid, os.getpid())
                rates, rounds = [], []
                for number in range(options.rounds):
                    before = [processor_time(pid) for pid in pids]
                    rates.append(caller.rate(options.seconds, options.inflight))
                    used = [processor_time(pid) - start for pid, start in zip(pids, before, strict=True)]
                    rounds.append([1e6 * seconds / caller.calls for seconds in used])
                    show(f"round {number + 1}", rates[-1], rounds[-1])
                show(
                    "median", statistics.median(rates), [statistics.median(each) for each in zip(*rounds, strict=True)]
                )


if __name__ == "__main__":
    main()
