"""Measure what a caller would save that reads its reply itself, instead of being woken by the thread that reads.

Run it with `PYTHONPATH=. python benchmarks/reading.py --rounds 15`. Two callers of one service make one call at a time,
over the client's protocol, engine and socket: one reads itself, and one waits for a thread that reads. Both figures are
the smallest of the rounds. `macaque.Client` with `result()` is measured beside them.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable

from comparison import Program

import macaque
from macaque.envelope import decode_reply, encode_request
from mqlight.addresses import Addresses
from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.types import Handle, Outcome
from mqlight.net.driver import Driver
from mqlight.net.tcp import Tcp
from mqlight.outgoing import Outgoing
from mqlight.protocol import ClientProtocol
from mqlight.subscription import Subscription

TOPIC, WORD = "reading/echo", "alive"
SECONDS = 0.3
SERVICE = """
import sys, macaque
app = macaque.Server(sys.argv[1])
app.service("reading/echo", share_id="echo")(lambda data: data)
app.run()
"""


class Caller:
    """A connection and its replies. ``step`` reads once; the lock ``done`` is released by a reply."""

    def __init__(self, url: str, name: str) -> None:
        (endpoint,) = Addresses.of(url).urls()
        self.protocol = ClientProtocol(on_state=lambda *state: None, on_room=lambda: None, clock=time.monotonic)
        engine = Engine(self.protocol, server=False, container_id=name)
        tcp = Tcp(endpoint.host, endpoint.port, tls=None, timeout=10)
        self.driver = Driver(tcp, engine, url, time.monotonic() + 10)
        self.lock, self.done = threading.RLock(), threading.Lock()
        self.done.acquire()
        self.count, self.to = 0, f"response/{name}"
        self.replies = Subscription(
            self.to, None, qos=1, ttl=0, credit=100, on_message=self.on_message, on_subscribed=None
        )
        self.protocol.subscriptions.subscribe(self.replies)
        self.protocol.begin(engine, name)
        while not self.replies.granted:
            self.step()

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        assert decode_reply(data).data == WORD
        self.replies.settle(link, handle, Outcome.ACCEPTED, None)
        self.done.release()

    def step(self) -> None:
        with self.lock:
            self.driver.flush()
        data = self.driver.receive()
        with self.lock:
            self.driver.take(data)

    def send(self) -> None:
        self.count += 1
        request = encode_request(f"{self.count:032x}", TOPIC, WORD, self.to, now=time.time(), timeout=30)
        with self.lock:
            self.protocol.senders.send(Outgoing(TOPIC, request, False, True, None))
            self.driver.flush()

    def read_for_ever(self) -> None:
        while True:
            self.step()


def measure(call: Callable[[], None]) -> tuple[float, float]:
    """Call for some time. Return the seconds, and the seconds of processor time, of one call."""
    count, began, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() < began + SECONDS:
        call()
        count += 1
    return (time.perf_counter() - began) / count, (time.process_time() - used) / count


def wait_for_service(client: macaque.Client) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            client.call(TOPIC, WORD).result()
            return
        except macaque.NoResponders:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with Program("mqlight.server", sys.executable, "-m", "mqlight.server", "--port", "0", "--no-console") as server:
        url = server.expect(r"(amqp://\S+)")
        with Program("service", sys.executable, "-c", SERVICE, url), macaque.Client(url) as client:
            wait_for_service(client)
            itself, woken = Caller(url, "itself"), Caller(url, "woken")
            threading.Thread(target=woken.read_for_ever, daemon=True).start()

            def reads_itself() -> None:
                itself.send()
                while not itself.done.acquire(blocking=False):
                    itself.step()

            def is_woken() -> None:
                woken.send()
                woken.done.acquire()

            def result() -> None:
                assert client.call(TOPIC, WORD).result() == WORD

            calls = {"reads itself": reads_itself, "is woken": is_woken, "macaque.Client": result}
            rounds = [{name: measure(call) for name, call in calls.items()} for _ in range(options.rounds)]
            for name in calls:
                seconds, work = (min(each[name][place] for each in rounds) for place in (0, 1))
                print(f"{name}: {seconds * 1e6:.0f} µs a call, {work * 1e6:.0f} µs of processor time")


if __name__ == "__main__":
    main()
