"""A worker that leaves: in order, in time, or at once."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

import macaque
from processes import Server, Spawn, wait_until

WORKER = """
import macaque, sys, time
app = macaque.Server()
@app.service("work", share_id="w", credit=2)
def work(data):
    print("works on", data, flush=True)
    time.sleep(data)
    return data
app.run(drain_timeout=float(sys.argv[1]))
"""


def start(spawn: Spawn, server: Server, drain_timeout: float) -> Any:
    ready = "import macaque, logging; logging.basicConfig(level=20)\n"
    return spawn(["-c", ready + WORKER, str(drain_timeout)], ready="serves work", env={"MACAQUE_BROKER": server.url})


@pytest.fixture
def client(server: Server) -> Any:
    with macaque.Client(broker=server.url, timeout=20.0) as client:
        yield client


def heir(server: Server, seen: list[Any]) -> macaque.Server:
    """Another member of the share, which notes how often a request had been tried."""
    app = macaque.Server(broker=server.url)
    # With one delivery only, whatever counts as tried is a dead letter.
    app.service("work", share_id="w", max_deliveries=1)(lambda data: seen.append(data) or "heir")  # type: ignore[func-returns-value]
    return app


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_a_worker_finish_and_take_no_more(
    server: Server, spawn: Spawn, client: macaque.Client, number: signal.Signals
) -> None:
    worker = start(spawn, server, 10)
    calls = [client.call("work", 0.6) for _ in range(4)]
    worker.expect("works on 0.6\n.*works on 0.6")
    worker.signal(number)
    with heir(server, []):
        assert sorted(str(call.result()) for call in calls) == ["0.6", "0.6", "heir", "heir"]
    assert worker.wait() == 0
    assert worker.log().count("works on") == 2


def test_what_is_not_finished_in_time_goes_to_another_worker_and_was_not_tried(
    server: Server, spawn: Spawn, client: macaque.Client
) -> None:
    worker = start(spawn, server, 0.3)
    call = client.call("work", 60)
    worker.expect("works on 60")
    seen: list[Any] = []
    with heir(server, seen):
        worker.signal(signal.SIGTERM)
        began = time.monotonic()
        assert call.result() == "heir"
        assert time.monotonic() - began < 5
    assert worker.wait() == 0
    assert seen == [60]
    assert "stops with 1 unfinished messages" in worker.log()


@pytest.mark.parametrize(
    "first, second, code", [(signal.SIGTERM, signal.SIGTERM, 143), (signal.SIGTERM, signal.SIGINT, 130)]
)
def test_a_second_signal_ends_at_once(
    server: Server, spawn: Spawn, client: macaque.Client, first: signal.Signals, second: signal.Signals, code: int
) -> None:
    worker = start(spawn, server, 60)
    call = client.call("work", 60)
    worker.expect("works on 60")
    worker.signal(first)
    with pytest.raises(TimeoutError):
        call.result(0.3)
    assert worker.returncode is None
    worker.signal(second)
    assert worker.wait(3) == code
    app = macaque.Server(broker=server.url)
    app.service("work", share_id="w")(lambda data: "heir")
    with app:
        assert call.result() == "heir"


def test_the_backend_finishes_its_word_and_leaves(server: Server, spawn: Spawn, client: macaque.Client) -> None:
    worker = spawn(["-m", "backend"], ready="serves", env={"MACAQUE_BROKER": server.url})
    assert client.call("mqlight/sample/wordsuppercase", {"word": "one"}).result()["word"] == "ONE"
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_close_with_a_time_releases_what_is_not_finished(server: Server, client: macaque.Client) -> None:
    app = macaque.Server(broker=server.url)
    started, go, ended = threading.Event(), threading.Event(), threading.Event()

    @app.service("work", share_id="w", credit=1)
    def work(data: Any) -> str:
        started.set()
        go.wait(10.0)
        ended.set()
        return "late"

    app.connect()
    call = client.call("work", 1)
    assert started.wait(10.0)
    seen: list[Any] = []
    with heir(server, seen):
        app.close(timeout=0.1)
        assert call.result() == "heir"
        go.set()
        assert ended.wait(10.0)
        assert client.call("work", 2).result() == "heir"
    wait_until(lambda: seen == [1, 2])
