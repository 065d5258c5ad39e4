"""Streams of replies, as their callers see them."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import macaque
from macaque.control import decode_control, encode_end, encode_part
from macaque.envelope import Request, decode_request
from macaque.mailbox import Empty
from mqlight.addresses import Addresses
from mqlight.connection import Connection
from mqlight.delivery import Delivery
from processes import Server, Spawn, wait_until

BOUND = 10.0


class Counter:
    """A service that yields numbers, and what became of its generators."""

    def __init__(self) -> None:
        self.yielded = 0
        self.ends: list[str] = []
        self.threads: set[int] = set()
        self.ended = threading.Event()

    def __call__(self, count: int) -> Iterator[int]:
        self.threads.add(threading.get_ident())
        try:
            for number in range(count):
                self.yielded += 1
                yield number
        except GeneratorExit:
            self.ends.append("GeneratorExit")
            raise
        finally:
            self.threads.add(threading.get_ident())
            self.ends.append("finally")
            self.ended.set()


class AsyncCounter(Counter):
    async def __call__(self, count: int) -> AsyncIterator[int]:  # type: ignore[override]
        try:
            for number in range(count):
                self.yielded += 1
                yield number
                await asyncio.sleep(0)
        except (GeneratorExit, asyncio.CancelledError):
            self.ends.append("stopped")
            raise
        finally:
            self.ends.append("finally")
            self.ended.set()


async def slow(_: Any) -> AsyncIterator[int]:
    yield 1
    await asyncio.sleep(60.0)


def failing(count: int) -> Iterator[int]:
    yield from range(count)
    raise KeyError("no more")


def aborting(count: int) -> Iterator[int]:
    yield from range(count)
    macaque.abort(410, "the words are gone", {"after": count})


@pytest.fixture
def services(shared_server: Server) -> Iterator[dict[str, Any]]:
    functions = {"count": Counter(), "acount": AsyncCounter(), "slow": slow, "failing": failing, "aborting": aborting}
    app = macaque.Server(broker=shared_server.url)
    for topic, function in functions.items():
        app.service(topic)(function)
    app.service("echo")(lambda data: data)
    with app:
        yield {**functions, "app": app}


@pytest.mark.parametrize("topic", ["count", "acount"])
@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 500])
def test_the_parts_come_in_order_and_then_the_end(
    client: macaque.Client, services: dict[str, Any], topic: str, count: int
) -> None:
    stream = client.stream(topic, count)
    assert list(stream) == list(range(count))
    assert list(stream) == []
    assert client._in_flight == 0
    assert services[topic].ends[-1:] == ["finally"]


@pytest.mark.parametrize("topic", ["count", "acount"])
def test_the_parts_come_to_a_task(client: macaque.Client, services: dict[str, Any], topic: str) -> None:
    async def main() -> list[int]:
        async with client.stream(topic, 200) as parts:
            return [part async for part in parts]

    assert asyncio.run(main()) == list(range(200))


@pytest.mark.parametrize("topic", ["count", "acount"])
def test_a_consumer_that_stops_reading_stops_the_generator(
    client: macaque.Client, services: dict[str, Any], topic: str
) -> None:
    counter = services[topic]
    with client.stream(topic, 10**9) as parts:
        wait_until(lambda: counter.yielded == 32, what="a full window")
        assert [next(parts) for _ in range(16)] == list(range(16))
        wait_until(lambda: counter.yielded == 48, what="the next half")
        assert client.call("echo", 1).result() == 1  # nothing else stops
        assert counter.yielded == 48
    assert counter.ended.wait(BOUND)


def test_to_leave_ends_the_generator_in_its_own_thread(client: macaque.Client, services: dict[str, Any]) -> None:
    counter = services["count"]
    with client.stream("count", 10**9) as parts:
        for part in parts:
            if part == 5:
                break
    assert list(parts) == []
    assert counter.ended.wait(BOUND)
    assert counter.ends == ["GeneratorExit", "finally"]
    assert len(counter.threads) == 1


@pytest.mark.parametrize("topic", ["acount", "slow"])
def test_to_leave_ends_an_async_generator(client: macaque.Client, services: dict[str, Any], topic: str) -> None:
    with client.stream(topic, 10**9) as parts:
        next(parts)
    wait_until(lambda: not services["app"]._loop.busy, what="the end of the generator")


def test_a_stream_that_is_dropped_ends(client: macaque.Client, services: dict[str, Any]) -> None:
    for _ in client.stream("count", 10**9):
        break
    gc.collect()
    assert services["count"].ended.wait(BOUND)
    wait_until(lambda: client._in_flight == 0, what="the end of the call")


def test_a_task_that_is_cancelled_ends_the_generator(client: macaque.Client, services: dict[str, Any]) -> None:
    async def work() -> None:
        async with client.stream("slow", None) as parts:
            async for _ in parts:
                pass

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(work(), 0.2)

    asyncio.run(main())
    wait_until(lambda: not services["app"]._loop.busy, what="the end of the generator")


# Errors


@pytest.mark.parametrize("count", [0, 1, 40])
def test_an_error_comes_after_the_parts_before_it(client: macaque.Client, services: dict[str, Any], count: int) -> None:
    parts = client.stream("failing", count)
    assert [next(parts) for _ in range(count)] == list(range(count))
    with pytest.raises(macaque.RemoteError, match=r"KeyError: 'no more' \(code 500\)"):
        next(parts)
    assert list(parts) == []
    with pytest.raises(macaque.RemoteError, match=r"the words are gone \(code 410\)") as error:
        list(client.stream("aborting", count))
    assert error.value.details == {"after": count}


def test_a_part_that_cannot_be_sent_is_an_error_in_its_place(client: macaque.Client, shared_server: Server) -> None:
    app = macaque.Server(broker=shared_server.url)
    app.service("odd")(lambda data: iter_of(1, object(), 2))
    with app:
        parts = client.stream("odd", None)
        assert next(parts) == 1
        with pytest.raises(macaque.RemoteError, match="TypeError: The part <object object .* cannot be sent as JSON"):
            next(parts)


def iter_of(*parts: Any) -> Iterator[Any]:
    yield from parts


def test_a_plain_call_of_a_stream_is_told_what_to_write(client: macaque.Client, services: dict[str, Any]) -> None:
    for topic in "count", "acount":
        with pytest.raises(
            macaque.RemoteError, match=rf"{topic} streams its replies: call it with client.stream\(\) \(code 400\)"
        ):
            client.call(topic, 3).result()
        assert services[topic].yielded == 0


def test_a_stream_of_a_plain_service_has_one_part(client: macaque.Client, services: dict[str, Any]) -> None:
    assert list(client.stream("echo", "alive")) == ["alive"]


def test_a_thread_may_wait_for_a_part_for_a_while(client: macaque.Client, shared_server: Server) -> None:
    go = threading.Event()

    def quiet(data: Any) -> Iterator[int]:
        go.wait(BOUND)
        yield 5

    app = macaque.Server(broker=shared_server.url)
    app.service("quiet")(quiet)
    with app, client.stream("quiet", None) as parts:
        for _ in range(2):
            with pytest.raises(Empty):
                parts._next_within(0.01)
        go.set()
        assert parts._next_within(BOUND) == 5
        with pytest.raises(StopIteration):
            parts._next_within(0.01 if parts._call.done() else BOUND)
        with pytest.raises(StopIteration):
            parts._next_within(BOUND)
    with client.stream("nobody/here", None, 0.5) as late, pytest.raises(macaque.NoResponders):
        late._next_within(BOUND)


def test_nobody_and_no_time_are_errors(client: macaque.Client, services: dict[str, Any]) -> None:
    with pytest.raises(macaque.NoResponders, match="No service listens on the topic 'nobody/here'"):
        next(client.stream("nobody/here", 1))
    parts = client.stream("slow", None, timeout=0.2)
    assert next(parts) == 1
    with pytest.raises(macaque.Timeout, match=r"No reply from 'slow' within 0.2 s."):
        next(parts)
    wait_until(lambda: not services["app"]._loop.busy, what="the end of the generator")


def test_a_closed_client_ends_its_streams(shared_server: Server, services: dict[str, Any]) -> None:
    client = macaque.Client(broker=shared_server.url)
    parts = client.stream("count", 10**9)
    assert next(parts) == 0
    client.close()
    with pytest.raises(macaque.ConnectionLost, match="The client was closed before 'count' answered."):
        list(parts)
    assert services["count"].ended.wait(BOUND)  # its next part finds nobody


def test_parts_that_do_not_fit_are_errors(client: macaque.Client, services: dict[str, Any]) -> None:
    parts: macaque.Stream[int] = client.stream("count", 3, returns=int)
    assert list(parts) == [0, 1, 2]
    with pytest.raises(macaque.RemoteError, match="The part of count does not fit str"):
        next(client.stream("count", 3, returns=str))


@dataclass
class Word:
    text: str


def test_parts_are_converted(client: macaque.Client, shared_server: Server) -> None:
    app = macaque.Server(broker=shared_server.url)
    app.service("words")(lambda data: iter_of(Word("fish"), Word("alive")))
    with app:
        assert list(client.stream("words", None, returns=Word)) == [Word("fish"), Word("alive")]
        assert list(client.map("words-too", [], returns=Word)) == []


# What becomes of a stream whose worker is gone

WORKER = """
import macaque, os, threading
app = macaque.Server()
@app.service("deadly", share_id="w")
def deadly(count):
    for number in range(count):
        yield os.getpid()
    threading.Event().wait(60)
app.run()
"""


def test_a_killed_worker_breaks_the_stream(server: Server, spawn: Spawn) -> None:
    env = {"MACAQUE_BROKER": server.url}
    for _ in range(2):
        spawn(["-c", WORKER], ready="serves deadly", env=env)
    with macaque.Client(broker=server.url, timeout=20.0) as client:
        parts = client.stream("deadly", 3)
        (worker,) = {next(parts) for _ in range(3)}
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(
            macaque.StreamBroken, match="broken after 3 parts: .* is gone, and parts may be missing"
        ) as e:
            next(parts)
        assert (e.value.topic, e.value.received) == ("deadly", 3)


class Puppet:
    """A service that sends what the test says."""

    def __init__(self, server: Server, topic: str) -> None:
        self.topic = topic
        self.requests: list[Request] = []
        self.controls: list[Any] = []
        self._connection = Connection(Addresses.of(server.url), f"puppet-{topic}")
        self._confirmed = threading.Semaphore(0)
        for pattern in topic, f"macaque/stream/puppet-{topic}/#":
            self._connection.subscribe(
                pattern, on_delivery=self._take, on_subscribed=lambda _: self._confirmed.release()
            )
        self._connection.start()
        for _ in range(2):
            assert self._confirmed.acquire(timeout=BOUND)

    def _confirm(self, error: Exception | None) -> None:
        self._confirmed.release()

    def _take(self, delivery: Delivery) -> None:
        delivery.accept()
        if b"upTo" in delivery.message or b"macaque/stream" in delivery.message:
            self.controls.append(decode_control(delivery.message))
        else:
            self.requests.append(decode_request(delivery.message))

    def send(self, *numbers: int, control: str = "1") -> None:
        wait_until(lambda: self.requests, what="the request")
        for number in numbers:
            self._publish(
                encode_part(self.requests[0], number, number, f"macaque/stream/puppet-{self.topic}/{control}")
            )

    def end(self, count: int) -> None:
        self._publish(encode_end(self.requests[0], count))

    def _publish(self, message: bytes) -> None:
        self._connection.publish(self.requests[0].reply_to or "", message)

    def stop(self) -> None:
        self._connection.stop()


@pytest.fixture
def puppet(shared_server: Server) -> Iterator[Puppet]:
    puppet = Puppet(shared_server, "puppet")
    yield puppet
    puppet.stop()


def test_a_request_for_a_stream_has_a_window_and_grants_follow(client: macaque.Client, puppet: Puppet) -> None:
    parts = client.stream("puppet", {"a": 1})
    puppet.send(*range(32))
    assert (puppet.requests[0].data, puppet.requests[0].window) == ({"a": 1}, 32)
    assert [next(parts) for _ in range(32)] == list(range(32))
    wait_until(lambda: len(puppet.controls) == 2, what="the grants")
    assert [control.up_to for control in puppet.controls] == [48, 64]
    parts.close()
    wait_until(lambda: len(puppet.controls) == 3, what="the cancellation")
    assert puppet.controls[2].up_to is None
    assert {control.uuid for control in puppet.controls} == {puppet.requests[0].uuid}


def test_a_part_that_comes_twice_is_given_once(client: macaque.Client, puppet: Puppet) -> None:
    parts = client.stream("puppet", None)
    puppet.send(0, 1, 0, 1, 2)
    puppet.end(3)
    assert list(parts) == [0, 1, 2]


def test_a_gap_breaks_the_stream(client: macaque.Client, puppet: Puppet) -> None:
    parts = client.stream("puppet", None)
    puppet.send(0, 1, 3)
    assert [next(parts), next(parts)] == [0, 1]
    with pytest.raises(macaque.StreamBroken, match="part 2 is missing before number 3"):
        next(parts)
    wait_until(lambda: puppet.controls, what="the cancellation of the broken stream")
    assert puppet.controls[0].up_to is None


def test_an_end_that_counts_more_parts_breaks_the_stream(client: macaque.Client, puppet: Puppet) -> None:
    parts = client.stream("puppet", None)
    puppet.send(0)
    puppet.end(2)
    assert next(parts) == 0
    with pytest.raises(macaque.StreamBroken, match="part 1 is missing before number 2"):
        next(parts)


def test_a_grant_that_finds_nobody_breaks_the_stream(client: macaque.Client, shared_server: Server) -> None:
    puppet = Puppet(shared_server, "gone")
    parts = client.stream("gone", None)
    puppet.send(*range(16))
    wait_until(lambda: len(parts._call.parts) == 16, what="the parts")
    puppet.stop()
    assert [next(parts) for _ in range(16)] == list(range(16))
    with pytest.raises(macaque.StreamBroken, match="its worker is gone after 16 parts"):
        next(parts)


def test_the_stream_of_a_second_share_is_cancelled(client: macaque.Client, puppet: Puppet) -> None:
    parts = client.stream("puppet", None)
    puppet.send(0, control="1")
    assert next(parts) == 0
    puppet.send(0, 1, control="2")
    puppet.send(1, control="1")
    puppet.end(2)
    assert list(parts) == [1]
    wait_until(lambda: puppet.controls, what="the cancellation of the other stream")
    assert puppet.controls[0].up_to is None


def test_two_streams_of_one_client_do_not_mix(client: macaque.Client, services: dict[str, Any]) -> None:
    one, two = client.stream("count", 300), client.stream("acount", 300)
    assert list(zip(one, two, strict=True)) == [(number, number) for number in range(300)]


def test_a_stream_has_a_readable_form_and_checks_its_arguments(
    client: macaque.Client, services: dict[str, Any]
) -> None:
    with client.stream("count", 3) as parts:
        next(parts)
        assert repr(parts) == f"<Stream {parts._call.uuid} of 'count': 1 parts taken>"
    with pytest.raises(TypeError, match="The topic 7 is not a str"):
        client.stream(7, 1)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="The timeout 0 is not between"):
        client.stream("count", 1, 0)
    assert list(itertools.islice(client.stream("count", 3), 1)) == [0]
