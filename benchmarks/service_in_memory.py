"""Measure the processor time of macaque's own part of a call, in client and worker, without any broker or engine.

    python benchmarks/service_in_memory.py [REPEATS]

A transport in memory accepts everything at once. The client's part is a call with its reply and result. The worker's
part is a request with its reply and settlement. Both include the codec. The script prints the smallest of several
measurements.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from macaque.client import Client
from macaque.clocks import Clocks
from macaque.cycles import Cycles
from macaque.envelope import Request, encode_reply, encode_request
from macaque.loop import Loop
from macaque.parts import Inbox
from macaque.registry import Registry
from macaque.worker import Worker
from mqlight.amqp.capabilities import Marks
from mqlight.amqp.types import Outcome
from mqlight.connection import State
from mqlight.delivery import Delivery

COUNT = 2000
TOPIC, DATA = "bench/upper", {"word": "alive"}


class Transport:
    """Accepts every message. It also stands for the lane, the link and the subscription."""

    state, error, url, dialect = State.STARTED, None, "amqp://memory", None
    closed, ready, credit, marks_granted = False, True, 256, Marks.REDELIVERED
    now, wall = staticmethod(time.monotonic), staticmethod(time.time)

    def __init__(self, *_: object, **__: object) -> None:
        self.settled = 0

    def _nothing(self, *_: object, **__: object) -> None:
        pass

    start = stop = every = wake = before_blocking = unsubscribe = run_soon = _nothing

    def lane(self, width: int) -> Transport:
        return self

    def submit(self, function: Any, *args: Any) -> None:
        function(*args)

    wall = staticmethod(time.time)

    def subscribe(self, *_: object, on_delivery: Any, **__: object) -> Transport:
        self.on_delivery = on_delivery
        return self

    def publish(
        self, topic: str, message: bytes, *, mandatory: bool = False, on_outcome: Any = None, timeout: Any = None
    ) -> bool:
        on_outcome(Outcome.ACCEPTED, None)
        return True

    def settle(self, delivery: Delivery, outcome: Outcome | None, condition: object) -> bool:
        self.settled += 1
        return True

    def deliver(self, message: bytes) -> None:
        self.on_delivery(Delivery(self, self, self, 0, message, False))  # type: ignore[arg-type]


def worker(repeats: int) -> float:
    """Return the microseconds per request."""
    transport: Any = Transport()
    service = Registry().add(TOPIC, "workers", 256, lambda data: {"word": data["word"].upper()})
    Worker(
        transport, service, client_id="worker", debug=False, observer=None, clocks=Clocks(), cycles=Cycles(list),
        loop=Loop("loop"), inbox=Inbox(transport, "worker"),
        on_subscribed=lambda error: None, on_exit=lambda error: None,
    )  # fmt: skip
    uuid = "0123456789abcdef01234567000000000001"
    message = encode_request(uuid, TOPIC, DATA, "response/caller", now=time.time(), timeout=3000)
    message = message[:14] + b"\x41\x43" + message[16:]  # as from a broker: this is the first delivery attempt
    best = float("inf")
    for _ in range(repeats):
        began = time.thread_time()
        for _ in range(COUNT):
            transport.deliver(message)
        best = min(best, time.thread_time() - began)
    assert transport.settled == repeats * COUNT
    return best / COUNT * 1e6


def client(repeats: int) -> float:
    """Return the microseconds per call."""

    class Caller(Client):
        _connect = Transport  # type: ignore[assignment]

    best = float("inf")
    with Caller("amqp://memory", cid="caller") as caller:
        transport: Any = caller._connection
        for _ in range(repeats):
            began = time.thread_time()
            calls = [caller.call(TOPIC, DATA) for _ in range(COUNT)]
            called = time.thread_time()
            replies = [encode_reply(Request(call.uuid, None, "response/caller"), DATA) for call in calls]
            encoded = time.thread_time()
            for call, reply in zip(calls, replies, strict=True):
                transport.deliver(reply)
                assert call.result() == DATA
            best = min(best, time.thread_time() - encoded + called - began)
    return best / COUNT * 1e6


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    print(f"{client(repeats):.2f} µs of processor time a call in the client, {worker(repeats):.2f} µs in the worker")


if __name__ == "__main__":
    main()
