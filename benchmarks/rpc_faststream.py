"""FastStream's side of brokers.py: a worker that answers, and a caller that measures. Each is a process of its own.

`caller` uses `broker.request`, which holds a lock until it has the reply. So one broker object has one request in
flight. `caller-replies` follows FastStream's documentation for a steady flow of requests: it uses
`broker.publish(reply_to=...)` and a subscriber for the replies, which are matched here by their correlation id.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Awaitable, Callable

import uvloop
from faststream import FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage, RabbitQueue

QUEUE = "bench-upper"
WORD, ANSWER = {"word": "alive"}, {"word": "ALIVE"}
# No log line per message, and no wait for the broker's confirmation of each message: both settings make it faster.
SETTINGS = {"default_channel": Channel(prefetch_count=256, publisher_confirms=False), "logger": None}


async def worker(url: str) -> None:
    """Answer {"word": w} with {"word": W} until SIGTERM."""
    broker = RabbitBroker(url, **SETTINGS)
    app = FastStream(broker)

    @broker.subscriber(QUEUE)
    async def upper(data: dict[str, str]) -> dict[str, str]:
        return {"word": data["word"].upper()}

    @app.after_startup
    async def ready() -> None:
        print("ready", flush=True)

    await app.run()


def requests(broker: RabbitBroker) -> Callable[[], Awaitable[object]]:
    """Return a function that makes one call with `broker.request`."""

    async def call() -> object:
        reply = await broker.request(WORD, queue=QUEUE, timeout=30)
        return await reply.decode()

    return call


def replies(broker: RabbitBroker) -> Callable[[], Awaitable[object]]:
    """Return a function that makes one call with a queue of this process for the replies."""
    waiting: dict[str | None, asyncio.Future[object]] = {}
    queue = RabbitQueue(f"bench-replies-{uuid.uuid4().hex}", exclusive=True, auto_delete=True)

    @broker.subscriber(queue)
    async def replied(message: RabbitMessage) -> None:
        waiting.pop(message.correlation_id).set_result(await message.decode())

    async def call() -> object:
        correlation = uuid.uuid4().hex
        reply = waiting[correlation] = asyncio.get_running_loop().create_future()
        await broker.publish(WORD, queue=QUEUE, reply_to=queue.name, correlation_id=correlation)
        return await asyncio.wait_for(reply, 30)

    return call


async def caller(url: str, seconds: float, inflight: int, way: str) -> None:
    """Measure, and print the figures as one line of JSON."""
    broker = RabbitBroker(url, **SETTINGS)
    call = requests(broker) if way == "request" else replies(broker)
    await broker.start()

    async def keep_calling(until: float) -> list[float]:
        times = []
        while (begun := time.perf_counter()) < until:
            reply = await call()
            if reply != ANSWER:
                raise SystemExit(f"a call gave {reply!r}")
            times.append(time.perf_counter() - begun)
        return times

    async def rate(length: float) -> float:
        start = time.perf_counter()
        times = await asyncio.gather(*(keep_calling(start + length) for _ in range(inflight)))
        return sum(map(len, times)) / (time.perf_counter() - start)

    await rate(min(1.0, seconds))  # warm-up
    calls_per_second = await rate(seconds)
    times = sorted(await keep_calling(time.perf_counter() + seconds))
    print(json.dumps({"rate": calls_per_second, "waits": {way: times}}), flush=True)
    await broker.stop()


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        uvloop.run(worker(sys.argv[2]))
    else:
        way = "request" if sys.argv[1] == "caller" else "reply_to"
        uvloop.run(caller(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), way))
