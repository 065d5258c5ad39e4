"""A network between client and server that is cut, falls silent, or garbles what it carries."""

from __future__ import annotations

import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import macaque
import mqlight
from faults.proxy import Flaw, Proxy, Way
from faults.resilient import ROUNDS
from faults.stream import Stream, seconds_to_answer
from mqlight.addresses import Addresses
from mqlight.connection import Connection, State
from mqlight.reconnect import STEADY
from processes import Process, Server, wait_until

LINES = 8
HEARTBEAT = 2.0

Network = Callable[[int], Proxy]
Caller = Callable[[str], macaque.Client]


class Line:
    """A caller and a service of its own, one of them behind a network that fails."""

    def __init__(self, stack: ExitStack, server: Server, number: int, calls: int, deadline: float) -> None:
        self.network = stack.enter_context(Proxy(server.port))
        self.endpoint = f"echo/{number}"
        urls = [self.network.url, server.url]
        app = macaque.Server(broker=urls[number % 2])
        app.service(self.endpoint, share_id="workers")(lambda asked: {"number": asked, "worker": 0})
        stack.enter_context(app)
        self.client = stack.enter_context(macaque.Client(broker=urls[1 - number % 2], timeout=60))
        assert self.client.call(self.endpoint, 0).result()
        self.stream = Stream(self.client, self.endpoint, calls, 5, deadline)

    def bear(self, flaws: list[Flaw]) -> None:
        """Suffer all of them, one connection each, with calls all the time."""
        self.network.flaws = flaws
        self.network.cut()
        wait_until(lambda: self.call() and not self.network.flaws, 60, f"{len(flaws)} flaws")

    def call(self) -> bool:
        """One call more; whether it has an answer."""
        return self.client.call(self.endpoint, 0, timeout=20).exception() is None


@pytest.fixture
def lines(shared_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[Line]]]:
    """`lines(calls, deadline)`: lines whose clients' pauses do not grow while each of many connections is cut soon."""
    monkeypatch.setattr("mqlight.reconnect.STEADY", 0.0)
    with ExitStack() as stack:
        yield lambda *options: [Line(stack, shared_server, number, *options) for number in range(LINES)]


def all_at_once(tasks: list[Callable[[], None]]) -> None:
    """Run each on a thread, and raise what any of them raises."""
    errors: list[BaseException] = []

    def run(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


# Cut


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_network_cut_at_200_different_bytes_loses_no_call(lines: Callable[..., list[Line]], seed: int) -> None:
    chance = random.Random(seed)
    offsets = chance.sample(range(8000), 200)
    flaws = [Flaw(chance.choice(list(Way)), offset, reset=chance.random() < 0.5) for offset in offsets]
    borne = lines(2000 // LINES, 60.0)
    descriptors = len(os.listdir("/proc/self/fd"))
    all_at_once([
        lambda line=line, number=number: line.bear(flaws[number::LINES])  # type: ignore[misc]
        for number, line in enumerate(borne)
    ])  # fmt: skip
    for line in borne:
        line.stream.check()
    wait_until(
        lambda: len(os.listdir("/proc/self/fd")) <= descriptors, what="an end to the descriptors of 200 connections"
    )


def test_a_lost_connection_is_told_once_and_then_that_it_is_back(
    server: Server, network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    line = network(server.port)
    told: list[tuple[str, bool]] = []
    caplog.set_level(logging.INFO, "mqlight")
    with mqlight.Client(line.url, on_state_changed=lambda _, state, err: told.append((state, err is None))) as client:
        wait_until(lambda: client.state == mqlight.STARTED)
        line.cut()
        wait_until(lambda: len(told) == 4)
        assert told == [("starting", True), ("started", True), ("retrying", False), ("started", True)]
        lost, back = [record for record in caplog.records if record.name == "mqlight.connector"][1:]
        assert (lost.levelname, back.levelname) == ("WARNING", "INFO")
        assert "lost, trying again" in lost.getMessage() and "connected to" in back.getMessage()


# Silence


@pytest.mark.parametrize("forget", [False, True], ids=["all is delivered at last", "old connections stay dead"])
def test_a_network_that_stalls_past_the_heartbeat_loses_no_call(
    server: Server,
    network: Network,
    workers: Callable[..., Process],
    caller: Caller,
    recovered: Callable[[str, float], None],
    caplog: pytest.LogCaptureFixture,
    forget: bool,
) -> None:
    line = network(server.port)
    url = f"{line.url}?heartbeat={HEARTBEAT}"
    workers(url, pause=0.002)
    client = caller(url)
    stream = Stream(client, "echo", 2000)
    stream.wait_for(100)
    line.stall()
    wait_until(lambda: not client.connected, HEARTBEAT + 2, "notice of the silence")
    silent = line.accepted
    wait_until(lambda: line.accepted >= silent + 2, 20, "attempts to connect again")
    line.resume(forget=forget)
    assert f"{line.url} was silent for longer than the heartbeat" in caplog.text
    recovered("the network stalled", seconds_to_answer(client, "echo"))
    stream.check()


@pytest.mark.parametrize(("way", "greeting"), [(Way.UP, 256), (Way.DOWN, 256)], ids=["deaf", "dumb"])
def test_a_server_that_falls_silent_at_any_stage_is_left_within_the_heartbeat(
    shared_server: Server, network: Network, way: Way, greeting: int
) -> None:
    """In the middle of the TCP connection, of SASL, of the open frames, of the attachment of a link."""

    def suffer(after: int) -> None:
        line = network(shared_server.port)
        line.flaws = [Flaw(way, after, hang=True)]
        connection = Connection(Addresses.of(f"{line.url}?heartbeat={HEARTBEAT}"), f"silent_{way.name}_{after}")
        subscribed = threading.Event()
        connection.subscribe("silent", on_delivery=lambda _: None, on_subscribed=lambda _: subscribed.set())
        connection.start()
        try:
            wait_until(lambda: line.flawed)
            began = time.monotonic()
            wait_until(lambda: line.accepted > 1 and subscribed.is_set() and connection.state is State.STARTED, 20)
            assert time.monotonic() - began < HEARTBEAT + 4
        finally:
            connection.stop(1)

    all_at_once([lambda after=after: suffer(after) for after in range(0, greeting, 16)])  # type: ignore[misc]


def test_the_next_url_is_tried_when_the_first_one_is_silent(
    server: Server, network: Network, workers: Callable[..., Process]
) -> None:
    silent, sound = network(server.port), network(server.port)
    workers(server.url)
    urls = [f"{line.url}?heartbeat={HEARTBEAT}" for line in (silent, sound)]
    with macaque.Client(broker=urls, timeout=20) as client:
        client.call("echo", 1).result()
        assert (silent.accepted, sound.accepted) == (1, 0)
        silent.stall()
        client.call("echo", 2).result()
        assert sound.accepted == 1


def test_a_slow_network_is_no_lost_one(server: Server, network: Network, workers: Callable[..., Process]) -> None:
    line = network(server.port)
    line.delay, line.rate = 0.05, 50_000
    workers(server.url)
    with macaque.Client(broker=f"{line.url}?heartbeat={HEARTBEAT}", timeout=30) as client:
        Stream(client, "echo", 200).check()
        assert line.accepted == 1


# Garbled bytes


@pytest.mark.parametrize(
    ("way", "offset", "reason"),
    [
        (Way.DOWN, 0, "where the SASL header was due .*framing-error"),
        (Way.DOWN, 9, "SASL frame is malformed.*framing-error"),
        (Way.DOWN, 12, "SASL frame is malformed.*framing-error"),
        (Way.UP, 0, "the peer closed the socket"),
        (Way.UP, 9, "refused this client"),
        (Way.UP, 16, "refused this client"),
    ],
)
def test_a_garbled_greeting_is_tried_again_by_who_was_let_in_before(
    shared_server: Server, network: Network, way: Way, offset: int, reason: str
) -> None:
    line = network(shared_server.port)
    told: list[str] = []
    connection = Connection(
        Addresses.of(line.url), f"garbled_{way.name}_{offset}", on_state=lambda _, error: told.append(str(error))
    )
    connection.start()
    try:
        connection.wait_started(10)
        up_since = time.monotonic()
        wait_until(lambda: time.monotonic() > up_since + STEADY)
        line.flaws = [Flaw(way, offset, mask=0xFF)]
        line.cut()
        wait_until(lambda: connection.state is State.STARTED and line.accepted == 3)
        assert re.search(reason, "\n".join(told))
    finally:
        connection.stop(1)


@pytest.mark.parametrize("way", Way)
def test_a_garbled_frame_ends_its_connection_and_loses_nothing(
    shared_server: Server, network: Network, way: Way
) -> None:
    line = network(shared_server.port)
    errors: list[str] = []
    with mqlight.Client(line.url, on_state_changed=lambda _, state, err: errors.append(str(err))) as client:
        sent: list[tuple[str, object]] = []

        def send(text: str) -> None:
            client.send("t", text, {"qos": 1}, lambda _, err, topic, data, options: sent.append((data, err)))
            wait_until(lambda: len(sent) == len(text))

        send("a")
        line.garble = way  # nothing is on its way, so it hits the size of the next frame
        send("ab")
        assert sent == [("a", None), ("ab", None)]
        assert line.accepted == 2 and "framing-error" in "".join(errors)


def test_every_call_ends_whatever_the_network_makes_of_its_bytes(
    lines: Callable[..., list[Line]], shared_server: Server
) -> None:
    chance = random.Random(1)
    flaws = [Flaw(chance.choice(list(Way)), offset, mask=1 << chance.randrange(8)) for offset in range(600, 3000, 24)]
    borne = lines(100, 5.0)

    def bear(line: Line, flaws: list[Flaw]) -> None:
        for flaw in flaws:
            line.network.flaws = [flaw]
            line.network.cut()
            wait_until(lambda: line.client.call(line.endpoint, 0, timeout=0.5).exception() or line.network.flawed)
        line.network.cut()

    all_at_once([
        lambda line=line, number=number: bear(line, flaws[number::LINES])  # type: ignore[misc]
        for number, line in enumerate(borne)
    ])  # fmt: skip
    for line in borne:
        wait_until(line.call, 10, "an answer after all of it")
        line.stream.wait_for(100)
        assert all(isinstance(error, macaque.MacaqueError) for error in line.stream.errors.values())
    assert "Traceback" not in shared_server.log()
