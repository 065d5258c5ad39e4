"""nameko's side of brokers.py: a worker that answers, and a caller that measures. Each is a process of its own."""

from __future__ import annotations

import collections
import json
import sys
import time

MAX_WORKERS = 100
"""Workers of the service, and requests sent ahead to it. nameko's default is 10, which was slower."""
WORD, ANSWER = {"word": "alive"}, {"word": "ALIVE"}


def worker(url: str) -> None:
    """Answer {"word": w} with {"word": W} until SIGTERM."""
    import eventlet

    eventlet.monkey_patch()

    from nameko.containers import ServiceContainer
    from nameko.rpc import rpc

    class Upper:
        name = "bench"

        @rpc
        def upper(self, data: dict[str, str]) -> dict[str, str]:
            return {"word": data["word"].upper()}

    container = ServiceContainer(Upper, config={"AMQP_URI": url, "max_workers": MAX_WORKERS})
    container.start()
    print("ready", flush=True)
    container.wait()


def caller(url: str, seconds: float, inflight: int) -> None:
    """Measure, and print the figures as one line of JSON."""
    from nameko.standalone.rpc import ClusterRpcProxy

    def check(reply: object) -> None:
        if reply != ANSWER:
            raise SystemExit(f"a call gave {reply!r}")

    with ClusterRpcProxy({"AMQP_URI": url}, timeout=30) as proxy:
        upper = proxy.bench.upper

        def rate(length: float) -> float:
            start = time.perf_counter()
            calls = 0
            running = collections.deque(upper.call_async(WORD) for _ in range(inflight))
            while running:
                check(running.popleft().result())
                calls += 1
                if time.perf_counter() < start + length:
                    running.append(upper.call_async(WORD))
            return calls / (time.perf_counter() - start)

        rate(min(1.0, seconds))  # warm-up
        calls_per_second = rate(seconds)
        times = []
        until = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < until:
            check(upper(WORD))
            times.append(time.perf_counter() - begun)
        print(json.dumps({"rate": calls_per_second, "waits": {"proxy": sorted(times)}}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        worker(sys.argv[2])
    else:
        caller(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
