"""A process that cannot start a thread for a moment: nothing hangs, and all goes on afterwards.

The limit is real: RLIMIT_NPROC of a user without privileges, in a process of its own.
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import macaque
from processes import Server

PROGRAM = """
import encodings.idna, os, resource, sys, threading, time, macaque  # read now: another user may not

if os.getuid() == 0:
    os.setuid(54321)  # the limit does not hold for root
hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]

def threads_can_start(can):
    resource.setrlimit(resource.RLIMIT_NPROC, (hard if can else 1, hard))

def end_of(call):
    try:
        return call().result()
    except Exception as error:
        return f"{type(error).__name__}: {error}"

client = macaque.Client(timeout=5.0)
"""


@pytest.fixture
def echo(shared_server: Server) -> Iterator[None]:
    app = macaque.Server(broker=shared_server.url)
    app.service("echo")(lambda data: data)
    with app:
        yield


def run(spawn: Any, server: Server, body: str) -> list[str]:
    process = spawn(["-c", PROGRAM + body], env={"MACAQUE_BROKER": server.url})
    assert process.wait(20.0) == 0, process.log()
    return process.log().splitlines()


pytestmark = pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NPROC)[1] == 1, reason="this user may start no threads at all"
)


def test_calls_go_on_beside_a_slow_callback_while_no_thread_can_be_started(
    shared_server: Server, echo: None, spawn: Any
) -> None:
    body = """if True:
        client.call("echo", 0).result()
        begun = threading.Event()
        def slow(call):
            begun.set()
            time.sleep(0.3)
        threads_can_start(False)
        client.call("echo", 1).add_done_callback(slow)
        begun.wait()
        print(client.call("echo", 2).result())
        threads_can_start(True)
        print(client.call("echo", 3).result())
        client.close()
    """
    said = run(spawn, shared_server, body)
    assert [line for line in said if line.isdigit()] == ["2", "3"]
    assert "Traceback" not in "".join(said)


def test_a_callback_that_calls_is_answered_while_no_thread_can_be_started(
    shared_server: Server, echo: None, spawn: Any
) -> None:
    body = """if True:
        client.call("echo", 0).result()
        ended = threading.Event()
        def ask(data):
            began = time.monotonic()
            print("in time", end_of(lambda: client.call("echo", 1, timeout=2.5)), time.monotonic() - began < 3)
            resource_back.set()
            print("goes on", client.call("echo", 2).result())
            ended.set()
        resource_back = threading.Event()
        def give_back():
            resource_back.wait()
            threads_can_start(True)
        helper = threading.Thread(target=give_back)
        helper.start()
        threads_can_start(False)
        client.call("echo", 9).add_done_callback(ask)
        print("ended", ended.wait(10))
        client.close()
    """
    said = run(spawn, shared_server, body)
    assert "in time 1 True" in said and "goes on 2" in said and "ended True" in said


def test_a_client_that_could_not_start_a_thread_says_so_and_works_later(
    shared_server: Server, echo: None, spawn: Any
) -> None:
    body = """if True:
        threads_can_start(False)
        print(end_of(lambda: client.call("echo", 0)))
        print(end_of(lambda: client.call("echo", 0, print)))
        threads_can_start(True)
        print(client.call("echo", 1).result())
        client.call("echo", 2, print)
    """
    first, second, *rest = run(spawn, shared_server, body)
    assert first.startswith("ConnectionLost") and "no thread can be started" in first
    assert second.startswith("ConnectionLost")
    assert rest == ["1", "2"]


def test_a_call_ends_by_its_deadline_though_the_clock_is_dead(shared_server: Server) -> None:
    app = macaque.Server(broker=shared_server.url)
    go = threading.Event()
    app.service("stuck")(lambda data: go.wait(20.0))
    with app, macaque.Client(broker=shared_server.url) as client:
        client.connect()
        client._connection._clock.stop()
        began = time.monotonic()
        with pytest.raises(macaque.Timeout):
            client.call("stuck", 1, timeout=0.2).result()
        with pytest.raises(macaque.Timeout):
            client.gather("stuck", 1, timeout=0.2).result()
        assert time.monotonic() - began < 5.0
        go.set()


def test_a_timer_that_raises_does_not_end_the_clock(shared_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    app = macaque.Server(broker=shared_server.url)
    go = threading.Event()
    app.service("stuck")(lambda data: go.wait(20.0))
    raised = threading.Event()

    def fails(now: float) -> float:
        if not raised.is_set():
            raised.set()
            raise ValueError("oh dear")
        return now + 60.0

    with app, macaque.Client(broker=shared_server.url) as client:
        client.connect()
        client._connection.every(fails)
        assert raised.wait(5.0)
        ended = threading.Event()
        client.call("stuck", 1, timeout=0.2, on_error=lambda error: ended.set())
        assert ended.wait(5.0), "the clock ends calls that nobody waits for"
        go.set()
    assert "fails failed" in caplog.text and "oh dear" in caplog.text


def end_together(client: macaque.Client, uuid: str) -> list[object]:
    """Call twice at once with one uuid, and return both ends: results, or ValueErrors."""
    together = threading.Barrier(2)
    ends: list[object] = []

    def call(timeout: float) -> None:
        together.wait(5.0)
        try:
            ends.append(client.call("echo", 7, timeout=timeout, uuid=uuid).result())
        except ValueError as error:
            ends.append(error)

    threads = [threading.Thread(target=call, args=(seconds,)) for seconds in (4.0, 5.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)
    return ends


def test_two_threads_that_repeat_one_uuid_leave_the_clock_alive(shared_server: Server, echo: None) -> None:
    with macaque.Client(broker=shared_server.url, timeout=5.0) as client:
        client.connect()
        for number in range(20):
            ends = end_together(client, f"same-{number}")
            assert len(ends) == 2 and 7 in ends
            assert all(end == 7 or "has not ended yet" in str(end) for end in ends)
        pending = client._calls._pending
        assert len(pending) == 0 and pending.next_deadline() is None
