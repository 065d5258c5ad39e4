"""Three RabbitMQ nodes, each killed in turn under a stream of calls.

    MACAQUE_TEST_CLUSTER=1 python -m pytest tests/brokers/test_cluster.py -s

It takes a minute or more, so only that variable has it run; the figures are in docs/reliability.md.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

import macaque
from processes import Spawn, wait_until
from real_brokers import script

pytestmark = pytest.mark.skipif(
    not os.environ.get("MACAQUE_TEST_CLUSTER"), reason="takes over a minute: MACAQUE_TEST_CLUSTER=1 has it run"
)

PORT = "--port=5700"
RATE = 50
"""Calls a second."""
DOWN = 5.0
"""Seconds that a node is left dead."""
WORKER = """
import os, sys, macaque
app = macaque.Server()
@app.service(sys.argv[1], share_id="workers", credit=10)
def work(data):
    return [data, os.getpid()]
app.run(debug=True)
"""


@pytest.fixture
def cluster() -> Iterator[str]:
    """The URLs of three nodes, with commas between them."""
    urls = script("rabbitmq", "start", "--nodes", "3", PORT)
    yield urls
    script("rabbitmq", "stop", PORT)


class Stream(threading.Thread):
    """Calls at a steady rate until it is stopped; `latencies` has the seconds that each took, or its error."""

    def __init__(self, client: macaque.Client, topic: str) -> None:
        super().__init__()
        self.client = client
        self.topic = topic
        self.stopped = threading.Event()
        self.latencies: dict[int, float | Exception] = {}
        self.workers: Counter[int] = Counter()
        self.made = 0

    def run(self) -> None:
        while not self.stopped.wait(1 / RATE):
            self.call(self.made)
            self.made += 1

    def call(self, number: int) -> None:
        began = time.monotonic()

        def ended(call: macaque.client.Call) -> None:
            error = call.exception()
            self.latencies[number] = error or time.monotonic() - began
            if error is None:
                assert call.result()[0] == number
                self.workers[call.result()[1]] += 1

        self.client.call(self.topic, number, timeout=60.0).add_done_callback(ended)


def test_every_call_ends_in_its_answer_while_each_node_is_killed_in_turn(
    cluster: str, spawn: Spawn, topic: str
) -> None:
    urls = cluster.split(",")
    # each begins on another node
    for first in (1, 2):
        environ = {"MACAQUE_BROKER": ",".join(urls[first:] + urls[:first])}
        spawn(["-c", WORKER, topic], ready=f"serves {topic}", env=environ)
    with macaque.Client(broker=urls) as client:
        client.connect()
        stream = Stream(client, topic)
        stream.start()
        try:
            for node in "1", "2", "3":
                before = stream.made
                script("rabbitmq", "kill", node, PORT)
                threading.Event().wait(DOWN)
                script("rabbitmq", "start", node, PORT)
                script("rabbitmq", "ctl", PORT, "await_online_nodes", "3")
                threading.Event().wait(DOWN)  # its queues catch up with the others
                slowest = max((value for value in stream.latencies.values() if isinstance(value, float)), default=0.0)
                print(f"node {node} killed under calls {before} to {stream.made}; slowest so far {slowest:.2f} s")
        finally:
            stream.stopped.set()
            stream.join()
        wait_until(lambda: len(stream.latencies) == stream.made, 90, "the end of every call")
    errors = [value for value in stream.latencies.values() if isinstance(value, Exception)]
    times = sorted(value for value in stream.latencies.values() if isinstance(value, float))
    print(f"{stream.made} calls, {len(errors)} errors {Counter(map(repr, errors)).most_common(3)}")
    print(f"median {times[len(times) // 2] * 1000:.0f} ms, slowest {times[-1]:.2f} s, by {len(stream.workers)} workers")
    assert errors == []
    assert len(stream.workers) == 2
