"""Threads that wait in `result()` read the socket themselves: no reply is lost, late, or another call's."""

from __future__ import annotations

import asyncio
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from operator import ge
from types import FrameType
from typing import Any

import pytest

import macaque
from certificates import Certificates
from mqlight.net import interrupts, waiters
from mqlight.net.waiters import ROW
from processes import Server, Spawn, start_server, wait_until

BOUND = 20.0
LOST = (macaque.Timeout, macaque.ConnectionLost, macaque.NoResponders)


def readers(client: macaque.Client, calls: int) -> list[int]:
    """Make calls one after the other. Return the thread in which each of them ended."""
    threads: list[int] = []
    for number in range(calls):
        call = client.call("echo", number)
        if not call._at_end(lambda _: threads.append(threading.get_ident())):
            threads.append(0)
        assert call.result() == number
    return threads


def read_itself(client: macaque.Client) -> None:
    """Make calls until this thread reads its replies itself."""
    for _ in range(100):
        if readers(client, 2 * ROW)[-1] == threading.get_ident():
            return
    raise AssertionError("this thread never reads itself")


@pytest.fixture(autouse=True)
def no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The main thread reads in spite of the handler that ends a test which takes too long."""
    monkeypatch.setattr(interrupts, "OTHERS", ())


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reading thread stands by until it is recalled."""
    monkeypatch.setattr(waiters, "STAND_BY", BOUND)


def test_a_thread_that_makes_one_call_after_the_other_reads_its_replies(
    client: macaque.Client, app: macaque.Server, patient: None
) -> None:
    read_itself(client)
    threads = readers(client, 50)
    assert threads.count(threading.get_ident()) > 25  # on a busy machine a reply may take longer than BRIEF


def test_beside_other_calls_in_flight_a_thread_reads_nothing(
    client: macaque.Client, app: macaque.Server, patient: None
) -> None:
    read_itself(client)
    other = client.call("stuck", 1)
    assert threading.get_ident() not in readers(client, 3 * ROW)
    assert not other.done()


def test_a_callback_after_calls_that_read_is_called(client: macaque.Client, app: macaque.Server) -> None:
    for _ in range(5):
        read_itself(client)
        answers: queue.Queue[int] = queue.Queue()
        client.call("echo", 1, answers.put)
        assert answers.get(timeout=BOUND) == 1


def test_an_await_after_calls_that_read_does_not_wait_for_the_reading_thread(
    client: macaque.Client, app: macaque.Server, patient: None
) -> None:
    async def one() -> Any:
        return await asyncio.wait_for(client.call("echo", 1), BOUND / 2)

    for _ in range(3):
        read_itself(client)
        assert asyncio.run(one()) == 1


def test_a_call_that_reads_ends_when_another_thread_cancels_it_or_closes_the_client(
    client: macaque.Client, app: macaque.Server
) -> None:
    ends: tuple[tuple[Callable[[macaque.Call], object], type[Exception]], ...] = (
        (lambda call: call.cancel(), macaque.Cancelled),
        (lambda call: client.close(), macaque.ConnectionLost),
    )
    for end, error in ends:
        read_itself(client)
        call = client.call("stuck", 1)
        timer = threading.Timer(0.005, end, [call])
        timer.start()
        began = time.monotonic()
        with pytest.raises(error):
            call.result()
        assert time.monotonic() - began < 5
        timer.join(BOUND)


def test_calls_that_read_end_at_their_deadline(client: macaque.Client, app: macaque.Server) -> None:
    read_itself(client)
    began = time.monotonic()
    with pytest.raises(macaque.Timeout):
        client.call("stuck", 1, timeout=0.1).result()
    with pytest.raises(TimeoutError):
        client.call("stuck", 2).result(0.1)
    assert 0.2 <= time.monotonic() - began < 5


class Stopped(BaseException):
    """Stops a thread from outside."""


def test_calls_go_on_after_a_thread_was_stopped_before_it_left_the_reading_role(
    client: macaque.Client, app: macaque.Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(waiters, "LOOKS", 20)
    leave = waiters.Waiters._leave.__code__

    def stop(frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code is leave:
            sys.settrace(None)
            raise Stopped

    def call() -> None:
        sys.settrace(stop)
        with pytest.raises(Stopped):
            read_itself(client)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(BOUND)
    assert client.call("echo", 1).result() == 1
    wait_until(lambda: "a thread was stopped while it read" in caplog.text)


def test_parts_of_a_stream_are_read_by_the_thread_that_iterates(shared_server: Server) -> None:
    app = macaque.Server(broker=shared_server.url)
    app.service("count")(lambda data: (number for number in range(data)))
    with app, macaque.Client(broker=shared_server.url, timeout=BOUND) as client:
        assert list(client.stream("count", 500)) == list(range(500))
        assert list(client.map("count", [])) == []


def test_calls_over_tls_read_too(certificates: Certificates, patient: None) -> None:
    server = start_server("--tls-cert", certificates.host("127.0.0.1"))
    security = {"ssl_trust_certificate": certificates.authority}
    try:
        app = macaque.Server(broker=server.url, security_options=security)
        app.service("echo")(lambda data: data)
        with app, macaque.Client(broker=server.url, security_options=security, timeout=BOUND) as client:
            read_itself(client)
            for size in (10, 10_000, 100_000):
                assert client.call("echo", "x" * size).result() == "x" * size
    finally:
        server.close()


# Everything at once


class Load:
    """Threads that call in every way while the block lasts. Each counts its replies."""

    def __init__(self, client: macaque.Client, timeout: float) -> None:
        self.replies = [0] * 6
        self.failures: list[object] = []
        self._client = client
        self._timeout = timeout
        self._stopping = False
        self._threads = [threading.Thread(target=self._guard, args=(place,)) for place in range(6)]

    def wait_for_more(self, count: int) -> None:
        """Until every thread has got so many more replies."""
        aim = [replies + count for replies in self.replies]
        wait_until(lambda: self.failures or all(map(ge, self.replies, aim)), what=f"{aim}, not {self.replies}")

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping = True
        for thread in self._threads:
            thread.join(BOUND)
        assert not any(thread.is_alive() for thread in self._threads)
        assert self.failures == []

    def _guard(self, place: int) -> None:
        try:
            if place == 5:
                asyncio.run(self._await(place))
            while not self._stopping:
                (self._call if place < 4 else self._call_back)(place)
        except BaseException as error:
            self.failures.append(error)

    def _took(self, place: int, sent: str, began: float, get: Callable[[], Any]) -> None:
        try:
            assert get() == sent
            self.replies[place] += 1
        except LOST:
            pass
        assert time.monotonic() - began < self._timeout + 5

    def _call(self, place: int) -> None:
        began, text = time.monotonic(), f"{place}/{self.replies[place]}"
        self._took(place, text, began, lambda: self._client.call("echo", text, timeout=self._timeout).result())

    def _call_back(self, place: int) -> None:
        ended: queue.Queue[Any] = queue.Queue()
        began, texts = time.monotonic(), [f"{place}/{number}" for number in range(20)]
        for text in texts:
            self._client.call("echo", text, ended.put, self._timeout, on_error=ended.put)
        for _ in texts:
            answer = ended.get(timeout=self._timeout + 5)
            if isinstance(answer, Exception):
                assert isinstance(answer, LOST), answer
            else:
                assert answer in texts
                self.replies[place] += 1
        assert time.monotonic() - began < self._timeout + 5

    async def _await(self, place: int) -> None:
        while not self._stopping:
            began, text = time.monotonic(), f"{place}/{self.replies[place]}"
            try:
                answer = await self._client.call("echo", text, timeout=self._timeout)
            except LOST:
                continue
            self._took(place, text, began, lambda: answer)  # noqa: B023


@pytest.fixture
def echo(server: Server) -> Iterator[str]:
    app = macaque.Server(broker=server.url)
    app.service("echo", share_id="echo")(lambda data: data)
    with app:
        yield server.url


def test_threads_callbacks_and_tasks_get_their_own_replies(echo: str) -> None:
    with macaque.Client(broker=echo) as client:
        client.call("echo", "ready", timeout=BOUND).result()
        with Load(client, BOUND) as load:
            load.wait_for_more(200)


def test_every_call_ends_while_the_server_is_killed_and_comes_back(server: Server, echo: str) -> None:
    with macaque.Client(broker=echo) as client, ExitStack() as servers:
        client.call("echo", "ready", timeout=BOUND).result()
        with Load(client, 2.0) as load:
            for _ in range(2):
                load.wait_for_more(1)
                server.kill()
                server = start_server(port=server.port)
                servers.callback(server.close)
            load.wait_for_more(1)


def test_a_thread_that_reads_notices_a_lost_connection_and_reads_from_the_next_one(
    server: Server, echo: str, patient: None
) -> None:
    with macaque.Client(broker=echo, timeout=BOUND) as client, ExitStack() as servers:
        for _ in range(3):
            read_itself(client)
            server.signal(signal.SIGSTOP)  # so that the thread waits for its reply when the server is killed
            killer = threading.Timer(0.01, server.kill)
            killer.start()
            assert client.call("echo", 1, timeout=0.5).exception() is not None
            killer.join(BOUND)
            server = start_server(port=server.port)
            servers.callback(server.close)
            wait_until(lambda: client.call("echo", 1).exception() is None)


INTERRUPTED = """
import random, signal, sys, threading, time, macaque

waits = done = False
turn, main, interrupted, reading = threading.Lock(), threading.get_ident(), 0, 0

def interrupt():
    global reading
    chance = random.Random(1)
    while not done:
        time.sleep(chance.uniform(0.01, 0.04))
        with turn:
            if waits:
                reading += client._connection._crew.reader == main
                signal.pthread_kill(main, signal.SIGINT)

def call(number):
    global waits, interrupted
    request = client.call("echo", number)
    waits = True
    try:
        assert request.result() == number
    except KeyboardInterrupt:
        interrupted += 1
    while waits:
        try:
            with turn:
                waits = False
        except KeyboardInterrupt:
            interrupted += 1

def call_in_thread():
    number = 0
    while not done:
        number += 1
        try:
            assert client.call("echo", -number).result() == -number
        except BaseException as error:
            print("failed", repr(error), flush=True)
            raise
        time.sleep(0.1)  # in between the main thread is the only one that waits, and reads

client = macaque.Client(timeout=20)
call("first")
threads = [threading.Thread(target=call_in_thread) for _ in range(int(sys.argv[1]))]
threads.append(threading.Thread(target=interrupt))
for thread in threads:
    thread.start()
number, until = 0, time.monotonic() + 60
while reading < 20 and time.monotonic() < until:
    number += 1
    call(number)
done = True
for thread in threads:
    thread.join(20)
assert client.call("echo", "last").result() == "last"
print("interrupted", interrupted, "reading", reading, "alive", [thread.is_alive() for thread in threads].count(True))
"""


@pytest.mark.parametrize("threads", [0, 2])
def test_an_interrupt_of_a_call_that_reads_costs_no_other_call_its_reply(echo: str, spawn: Spawn, threads: int) -> None:
    program = spawn(["-c", INTERRUPTED, str(threads)], env={"MACAQUE_BROKER": echo})
    told = program.expect(r"^interrupted (\d+) reading (\d+) alive 0$", 120.0)
    assert int(told[1]) >= int(told[2]) >= 20, told[0]
    assert "failed" not in program.log() and "lost" not in program.log(), program.log()


ON_GREENLETS = """
from gevent import monkey; monkey.patch_all()
import gevent, macaque
with macaque.Client(timeout=20) as client:
    assert [client.call("echo", number).result() for number in range(300)] == list(range(300))
    def calls(start):
        return [client.call("echo", number).result() for number in range(start, start + 100)]
    jobs = [gevent.spawn(calls, start) for start in range(0, 1000, 100)]
    gevent.joinall(jobs, timeout=20, raise_error=True)
    assert [number for job in jobs for number in job.value] == list(range(1000))
print("all is well")
"""


def test_greenlets_get_their_own_replies(echo: str, spawn: Spawn) -> None:
    spawn(["-c", ON_GREENLETS], env={"MACAQUE_BROKER": echo}).expect("all is well", 60.0)
