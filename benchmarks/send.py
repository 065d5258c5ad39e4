"""Measure the messages per second of `mqlight.Client.send`: at most once, and at least once with a callback for each.

Run it with `PYTHONPATH=. python benchmarks/send.py --messages 20000 --rounds 5`. A server runs beside it. The rate is
the best of the rounds. The processor time is that of the sending process, with its reading thread and callbacks.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time

from comparison import Program

import mqlight

BODY = "x" * 150


def send(client: mqlight.Client, messages: int, qos: int) -> tuple[float, float]:
    """Send messages. Return messages per second, and the seconds of processor time per message, with all callbacks."""
    left, done = messages, threading.Event()

    def sent(client: object, err: Exception | None, *_: object) -> None:
        nonlocal left
        if err is not None:
            raise SystemExit(f"a message was refused: {err}")
        left -= 1
        if not left:
            done.set()

    start, used = time.perf_counter(), time.process_time()
    for _ in range(messages):
        client.send("bench", BODY, {"qos": qos}, sent)
    if not done.wait(120):
        raise SystemExit(f"{left} messages were never accepted")
    return messages / (time.perf_counter() - start), (time.process_time() - used) / messages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with Program("mqlight.server", sys.executable, "-m", "mqlight.server", "--port", "0") as server:
        with mqlight.Client(server.expect(r"(amqp://\S+)"), "publisher") as client:
            for qos in (0, 1):
                figures = [send(client, options.messages, qos) for _ in range(options.rounds)]
                rate, work = max(rate for rate, _ in figures), min(work for _, work in figures)
                print(f"qos {qos}: {rate:,.0f} messages/s, {work * 1e6:.1f} µs of processor time for each")


if __name__ == "__main__":
    main()
