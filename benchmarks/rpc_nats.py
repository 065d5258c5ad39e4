"""The nats-py side of rpc.py: a worker that answers, and a caller that measures. Each is a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
import time

import msgspec
import nats
from nats.aio.msg import Msg

SUBJECT = "bench.upper"
decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode


async def worker(url: str) -> None:
    """Answer {"word": w} with {"word": W} until SIGTERM."""
    connection = await nats.connect(url)

    async def upper(message: Msg) -> None:
        await message.respond(encode({"word": decode(message.data)["word"].upper()}))

    await connection.subscribe(SUBJECT, queue="workers", cb=upper)
    await connection.flush()
    print("ready", flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await connection.drain()


async def caller(url: str, seconds: float, inflight: int) -> None:
    """Measure, and print the figures as one line of JSON."""
    connection = await nats.connect(url)

    async def call() -> None:
        reply = await connection.request(SUBJECT, encode({"word": "alive"}), timeout=30)
        assert decode(reply.data) == {"word": "ALIVE"}

    async def keep_calling(until: float) -> int:
        calls = 0
        while time.perf_counter() < until:
            await call()
            calls += 1
        return calls

    async def rate(length: float) -> float:
        start = time.perf_counter()
        counts = await asyncio.gather(*(keep_calling(start + length) for _ in range(inflight)))
        return sum(counts) / (time.perf_counter() - start)

    await rate(min(1.0, seconds))  # warm-up
    calls_per_second = await rate(seconds)

    times = []
    until = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < until:
        await call()
        times.append(time.perf_counter() - begun)
    times.sort()
    print(encode({"rate": calls_per_second, "waits": {"await": times}}).decode(), flush=True)
    await connection.close()


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        asyncio.run(worker(sys.argv[2]))
    else:
        asyncio.run(caller(sys.argv[2], float(sys.argv[3]), int(sys.argv[4])))
