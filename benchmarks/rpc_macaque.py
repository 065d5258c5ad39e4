"""The macaque side of rpc.py: a worker that answers, and a caller that measures. Each is a process of its own.

It uses only the public API, at its default QoS of 1.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import Any

import msgspec

import macaque

TOPIC = "bench/upper"
WORD, ANSWER = {"word": "alive"}, {"word": "ALIVE"}


def worker(url: str) -> None:
    """Answer {"word": w} with {"word": W} until SIGTERM."""
    app = macaque.Server(broker=url)

    @app.service(TOPIC, share_id="workers", credit=256)
    def upper(data: dict[str, str]) -> dict[str, str]:
        return {"word": data["word"].upper()}

    print("ready", flush=True)
    app.run()


class Caller:
    """Keeps calls in flight: the callback of each call starts the next call."""

    def __init__(self, client: macaque.Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self.calls = 0
        """The number of calls in the last measurement of a rate."""

    def rate(self, length: float, inflight: int) -> float:
        """Return the calls per second over `length` seconds, with `inflight` calls in flight."""
        self._finished = threading.Event()
        self.calls, self._running, self._failure = 0, inflight, None
        start = time.perf_counter()
        self._until = start + length
        for _ in range(inflight):
            self._client.call(TOPIC, WORD, self._next)
        if not self._finished.wait(length + 30):
            raise SystemExit("calls were never answered")
        if self._failure is not None:
            raise SystemExit(f"a call gave {self._failure!r}")
        return self.calls / (time.perf_counter() - start)

    def _next(self, answer: Any) -> None:
        more = time.perf_counter() < self._until
        with self._lock:
            self.calls += 1
            if answer != ANSWER:
                self._failure, more = answer, False
            if not more:
                self._running -= 1
                if not self._running:
                    self._finished.set()
        if more:
            self._client.call(TOPIC, WORD, self._next)

    def result(self) -> None:
        """Make one call and wait for its future."""
        assert self._client.call(TOPIC, WORD).result(30) == ANSWER

    def chain(self, length: float) -> list[float]:
        """Make calls for `length` seconds; the callback of each call starts the next. Return the seconds of each."""
        times: list[float] = []
        finished = threading.Event()
        until = time.perf_counter() + length

        def answered(answer: Any) -> None:
            nonlocal begun
            now = time.perf_counter()
            times.append(now - begun)
            if answer != ANSWER or now > until:
                finished.set()
                return
            begun = time.perf_counter()
            self._client.call(TOPIC, WORD, answered)

        begun = time.perf_counter()
        self._client.call(TOPIC, WORD, answered)
        if not finished.wait(length + 30):
            raise SystemExit("a call was never answered")
        return times


async def rate_by_await(client: macaque.Client, length: float, inflight: int) -> float:
    """Return the calls per second over `length` seconds, with `inflight` tasks that await one call each."""

    async def keep_calling(until: float) -> int:
        calls = 0
        while time.perf_counter() < until:
            assert await client.call(TOPIC, WORD) == ANSWER
            calls += 1
        return calls

    start = time.perf_counter()
    counts = await asyncio.gather(*(keep_calling(start + length) for _ in range(inflight)))
    return sum(counts) / (time.perf_counter() - start)


def caller(url: str, seconds: float, inflight: int, *, alone: bool = True) -> None:
    """Measure, and print the figures as one line of JSON. Without `alone`, leave out the calls one at a time."""
    with macaque.Client(broker=url) as client:
        calls = Caller(client)
        calls.result()
        calls.rate(min(1.0, seconds), inflight)  # warm-up
        calls_per_second = calls.rate(seconds, inflight)
        awaited = asyncio.run(rate_by_await(client, seconds, inflight)) if alone else 0.0
        if not alone:
            print(msgspec.json.encode({"rate": calls_per_second, "waits": {}}).decode(), flush=True)
            return
        waits = {"callback": sorted(calls.chain(seconds)), "result()": []}
        until = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < until:
            calls.result()
            waits["result()"].append(time.perf_counter() - begun)
        waits["result()"].sort()
        figures = {"rate": calls_per_second, "awaited": awaited, "waits": waits}
        print(msgspec.json.encode(figures).decode(), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        worker(sys.argv[2])
    else:
        caller(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), alone=sys.argv[1] == "caller")
