"""Measure calls per second, and the time of one call, on RabbitMQ: macaque against FastStream and nameko, in one run.

Run it with `make bench-brokers`, or `python benchmarks/brokers.py --rounds 5 --seconds 2`. benchmarks/README.md tells
what is compared. The script starts RabbitMQ, or uses the one that MACAQUE_TEST_RABBITMQ names. The script fails
(exit code 1) if a process fails or a reply is wrong or missing, never because of a figure.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version

from comparison import HERE, Column, Failure, Peer, embedded_server, take_turns

ROOT = HERE.parent
REQUIREMENTS = HERE / "requirements-brokers.txt"
ENVIRONMENT = ROOT / "build" / "brokers"
"""The environment of the other programs: nameko brings a plug-in for pytest that our tests must not load."""
CLASSIC = "bench-classic"
"""A virtual host of its own, because the queue of a share has one type."""
OURS = ("macaque, quorum queue", "macaque, classic queue")
SETTINGS = "macaque: credit 256; FastStream: prefetch 256, no confirms, no log, uvloop; nameko: 100 workers"
THEIRS = ("FastStream, request", "FastStream, reply_to", "nameko")


def run(*command: str) -> str:
    """Run a command and return its output. Raises Failure with its error output if it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"{' '.join(command)} failed:\n{done.stderr}{done.stdout}")
    return done.stdout.strip()


def python_of_the_others() -> str:
    """Return the interpreter of the environment with FastStream and nameko. Install them there if they are missing."""
    python = str(ENVIRONMENT / "bin" / "python")
    stamp = ENVIRONMENT / "installed.txt"
    if not stamp.exists() or stamp.read_text() != REQUIREMENTS.read_text():
        print(f"Installing what macaque is compared with into {ENVIRONMENT.relative_to(ROOT)}", flush=True)
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(REQUIREMENTS))
        stamp.write_text(REQUIREMENTS.read_text())
    return python


@contextmanager
def rabbitmq(port: int) -> Iterator[tuple[str, str, str | None]]:
    """Yield RabbitMQ's version, its URL, and its URL for classic queues or None without a virtual host for them."""
    if named := os.environ.get("MACAQUE_TEST_RABBITMQ"):
        yield "RabbitMQ of MACAQUE_TEST_RABBITMQ", named.split(",")[0], None
        return
    script = (sys.executable, str(ROOT / "scripts" / "rabbitmq"), "--port", str(port))
    url = run(*script, "start")
    try:
        run(*script, "ctl", "add_vhost", CLASSIC)
        run(*script, "ctl", "set_permissions", "-p", CLASSIC, "guest", ".*", ".*", ".*")
        number = run(*script, "ctl", "version").splitlines()[-1]
        yield f"RabbitMQ {number}", url, f"{url}?queues=classic&vhost={CLASSIC}"
    finally:
        run(*script, "stop")


def peers_on(embedded: str, url: str, classic: str | None, python: str) -> Iterator[Peer]:
    """Yield all peers, macaque first."""
    yield Peer("macaque, embedded server", "rpc_macaque.py", embedded)
    yield Peer(OURS[0], "rpc_macaque.py", url)
    if classic is not None:
        yield Peer(OURS[1], "rpc_macaque.py", classic)
    yield Peer(THEIRS[0], "rpc_faststream.py", url, python)
    yield Peer(THEIRS[1], "rpc_faststream.py", url, python, "caller-replies")
    yield Peer(THEIRS[2], "rpc_nameko.py", url, python)


def report(columns: dict[str, Column], inflight: int) -> None:
    """Print the medians, and the ratios of macaque on RabbitMQ to the other programs."""
    print(f"\n{'median over the rounds':38}{'calls/s':>10}{'ms a call, one in flight':>28}")
    print(f"{'':38}{f'{inflight} in flight':>10}{'median':>16}{'p99':>12}")
    for name, column in columns.items():
        for way in column.ways():
            median, last = column.latency(way, 0.5), column.latency(way, 0.99)
            print(f"{f'{name} ({way})':38}{column.rate():>10,.0f}{median:>16.3f}{last:>12.3f}")
    print(f"\n{'calls/s, ratio of the medians':38}" + "".join(f"{name:>22}" for name in THEIRS))
    for ours in OURS:
        if ours in columns:
            ratios = (columns[ours].rate() / columns[theirs].rate() for theirs in THEIRS)
            print(f"{ours:38}" + "".join(f"{ratio:>22.1f}" for ratio in ratios))


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare macaque on RabbitMQ with FastStream and nameko, in one run.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each, alternating (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each measurement (default 2)")
    parser.add_argument("--inflight", type=int, default=200, help="calls in flight for calls/s (default 200)")
    parser.add_argument("--port", type=int, default=5980, help="of the RabbitMQ that is started (default 5980)")
    options = parser.parse_args()
    try:
        python = python_of_the_others()
        names = ("faststream", "aio-pika", "uvloop", "nameko", "kombu")
        program = f"from importlib.metadata import version\nfor name in {names}: print(name, version(name))"
        versions = ", ".join(run(python, "-c", program).splitlines())
        with ExitStack() as stack:
            what, url, classic = stack.enter_context(rabbitmq(options.port))
            peers = list(peers_on(stack.enter_context(embedded_server()), url, classic, python))
            for peer in peers:
                if peer.caller == "caller":  # another caller of the same script uses the same worker
                    stack.enter_context(peer.serving())
            print(f"Python {platform.python_version()}, {what}, {versions},")
            print(f"macaque-amqp {version('macaque-amqp')}, {os.cpu_count()} cores, {platform.machine()}")
            print(SETTINGS)
            columns = take_turns(peers, options.rounds, options.seconds, options.inflight)
    except Failure as failure:
        print(f"brokers.py: {failure}", file=sys.stderr)
        return 1
    report(columns, options.inflight)
    return 0


if __name__ == "__main__":
    sys.exit(main())
