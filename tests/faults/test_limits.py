"""Clients that bring too much of everything to a real server with small limits: its memory stays bounded, the hostile
ones are told which limit they met, and another client is served all the while.
"""

from __future__ import annotations

import resource
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from certificates import Certificates
from faults.flood import (
    ATTACH,
    BEGIN,
    DETACH,
    MIB,
    TRANSFER,
    Hostile,
    Pulse,
    frame,
    memory,
    sender,
    until,
)
from mqlight.addresses import Addresses
from mqlight.amqp.codec import Described, Ubyte, Uint, Ulong
from mqlight.amqp.frames import SASL_HEADER
from mqlight.amqp.message import Message, encode
from mqlight.amqp.types import Outcome
from mqlight.connection import Connection, State
from mqlight.delivery import Delivery
from mqlight.errors import NetworkError
from mqlight.server.users import set_password
from processes import Process, Server, start_server, wait_until

GROWTH = 64 * MIB
"""The growth in memory that each of these tests allows the server, for limits of a few MiB."""


class Watched(Server):
    """A server whose memory is looked at all the time."""

    before: int
    most: int
    pulse: Pulse


@pytest.fixture
def watched() -> Iterator[Callable[..., Watched]]:
    """Start a server with limits, and a client of it that calls a service every 20 ms. At the end of the test every
    call was answered in time, and the server's memory was never GROWTH larger than in the beginning.
    """
    servers: list[tuple[Watched, Pulse, threading.Thread]] = []
    done = threading.Event()

    def start(*options: str) -> Watched:
        server: Any = start_server(*options)
        pulse = Pulse(server)
        server.before = server.most = memory(server)

        def look() -> None:
            while not done.wait(0.02) and server.returncode is None:
                server.most = max(server.most, memory(server))

        thread = threading.Thread(target=look)
        thread.start()
        servers.append((server, pulse, thread))
        return server  # type: ignore[no-any-return]

    yield start
    done.set()
    try:
        for server, pulse, thread in servers:
            thread.join()
            pulse.end()
            assert server.returncode is None, server.log()
            assert "Traceback" not in server.log(), server.log()
            assert server.most - server.before < GROWTH, f"it grew by {(server.most - server.before) / MIB:.0f} MiB"
    finally:
        for server, pulse, _ in servers:
            pulse.process.close()
            server.close()


@pytest.fixture
def connect() -> Iterator[Callable[..., Connection]]:
    made: list[Connection] = []

    def start(server: Server, client_id: str = "c") -> Connection:
        made.append(Connection(Addresses.of(server.url), client_id))
        made[-1].start()
        return made[-1]

    yield start
    for each in made:
        each.stop(0.5)


def refusal(connection: Connection) -> str:
    with pytest.raises(NetworkError) as caught:
        connection.wait_started(10)
    return str(caught.value)


def message(size: int = 10, topic: str = "t") -> bytes:
    return encode(Message(body=b"x" * size, to=topic))


# Connections


def test_a_flood_of_connections_is_told_so_and_those_that_are_there_stay(watched: Any, connect: Any) -> None:
    server = watched("--max-connections", "60", "--max-connections-per-address", "25", "--login-timeout", "30")
    with ExitStack() as stack:
        flood = [stack.enter_context(Hostile(server, address="127.0.0.2")) for _ in range(300)]
        until(lambda: sum(b"--max-connections-per-address 25" in one.got for one in flood if one.read() or True) == 275,
              "to be turned away")  # fmt: skip
        server.expect(r"127.0.0.2: no room: 127.0.0.2 has 25 connections already .*--max-connections-per-address 25")
        more = [stack.enter_context(Hostile(server, address=f"127.0.0.{n % 20 + 3}")) for n in range(300)]
        until(lambda: any(one.hears(b"--max-connections 60)") for one in more), "to be turned away")
        late = connect(server)
        assert "the server has 60 connections already (the server's limit is --max-connections 60)" in refusal(late)
    wait_until(lambda: late.state is State.STARTED)


def test_who_does_not_log_in_in_time_is_closed_however_slowly_it_speaks(watched: Any) -> None:
    server = watched("--login-timeout", "1", "--max-connections-per-address", "500")
    with ExitStack() as stack:
        loris = [stack.enter_context(Hostile(server)) for _ in range(100)]
        began = time.monotonic()
        gone: set[Hostile] = set()
        words = iter(SASL_HEADER + bytes.fromhex("0000001d02010000") + bytes(1000))

        def whisper() -> bool:
            byte = bytes([next(words)])
            for one in set(loris) - gone:
                if not one.send(byte) or not one.read():
                    gone.add(one)
            threading.Event().wait(0.2)
            return len(gone) == len(loris)

        until(whisper, "that all are gone", 15.0)
        assert 1.0 <= time.monotonic() - began < 12.0
    server.expect(r"not logged in in time \(--login-timeout 1\)")


def test_who_says_nothing_to_a_port_with_tls_is_closed_as_well(certificates: Certificates) -> None:
    server = start_server("--tls-cert", certificates.host("127.0.0.1"), "--login-timeout", "1")
    try:
        with Hostile(server) as silent, Hostile(server) as half:
            half.send(b"\x16\x03\x01")
            until(lambda: not silent.read() and not half.read(), "that both are gone")
        server.expect(r"not logged in in time")
    finally:
        server.close()


def test_wrong_passwords_in_numbers_hold_up_nobody(tmp_path: Any, connect: Any) -> None:
    set_password(str(tmp_path / "users"), "fish", "swim")
    server = start_server("--users", str(tmp_path / "users"), "--allow-anonymous")
    with (tmp_path / "users").open("a") as file:
        file.write("* send #\n* subscribe #\n")
    server.expect("has changed")
    pulse = Pulse(server)
    try:
        response = b"\0fish\0sink"
        init = bytes.fromhex("005341c0") + bytes([10 + len(response), 2]) + b"\xa3\x05PLAIN\xa0"
        init += bytes([len(response)]) + response
        login = SASL_HEADER + (8 + len(init)).to_bytes(4, "big") + b"\x02\x01\0\0" + init
        with ExitStack() as stack:
            for number in range(40):
                stack.enter_context(Hostile(server, address=f"127.0.0.{number % 4 + 2}")).send(login)
            server.expect("wrong user or password")
            good = Connection(Addresses.of(server.url, {"user": "fish", "password": "swim"}), "good")
            good.start()
            good.wait_started(20)
            good.stop()
        pulse.end()
        assert "sink" not in server.log()
    finally:
        pulse.process.close()
        server.close()


def test_a_server_without_descriptors_serves_whom_it_has(spawn: Any) -> None:
    shell = f"ulimit -n 60; exec {shlex.quote(sys.executable)} -m mqlight.server --port 0"
    server: Process = spawn(command=["bash", "-c", shell], ready="ready")
    url = server.expect(r"(amqp://\S+:(\d+))$")
    limited: Any = server
    limited.url, limited.port = url[1], int(url[2])
    pulse = Pulse(limited)
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(Hostile(limited))
        server.expect("no connection can be accepted for a second: Too many open files")
    late = Connection(Addresses.of(url[1]), "late")
    late.start()
    late.wait_started(15)
    late.stop()
    try:
        pulse.end()
    finally:
        pulse.process.close()


def test_the_server_takes_as_many_descriptors_as_it_may_have(server: Server) -> None:
    limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    assert limits[0] == min(limits[1], 65536) or limits[0] == limits[1]


# Links and sessions


def test_ten_thousand_links_meet_the_limit_with_an_error(watched: Any) -> None:
    server = watched("--max-links", "100")
    with Hostile(server).log_in().begin() as hostile:
        for number in range(10_000):
            if not hostile.send(sender(f"l{number}", number, "t")):
                break
        until(lambda: hostile.hears(b"this connection has 100 links already (the server's limit is --max-links 100)"),
              "to be refused")  # fmt: skip
        until(lambda: not hostile.read(), "to be closed")
    server.expect("link l100 refused: this connection has 100 links already")
    server.expect("hostile: cut off: this connection has .* links already")


def test_links_that_come_and_go_for_ever_are_served_and_forgotten(watched: Any) -> None:
    server = watched("--max-links", "100")
    with Hostile(server).log_in().begin() as patient:
        for number in range(5000):
            assert patient.send(sender(f"l{number}", 0, "t") + frame(DETACH, Uint(0), True))
            patient.read()
            patient.got = b""
        patient.send(sender("last", 0, "t"))
        until(lambda: patient.hears(b"last"), "that the last is answered")
        assert patient.read()


def test_ten_thousand_sessions_meet_the_limit_with_an_error(watched: Any) -> None:
    server = watched("--max-sessions", "50", "--verbose")
    with Hostile(server).log_in() as hostile:
        for number in range(10_000):
            begin = frame(BEGIN, None, Uint(0), Uint(100), Uint(100), channel=number)
            if not hostile.send(begin) or not hostile.read():
                break
        until(lambda: not hostile.read(), "to be closed")
        assert b"amqp:connection:framing-error" in hostile.got
    server.expect(r"connection over: .*channel-max is 49.*\(--max-sessions 50\)")


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start a server with limits."""
    servers: list[Server] = []

    def start(*options: str) -> Server:
        servers.append(start_server(*options))
        return servers[-1]

    yield start
    for each in servers:
        each.close()


def test_destinations_meet_their_limit(serve: Any, connect: Any) -> None:
    client = connect(serve("--max-destinations", "10"))
    told: list[Any] = []
    for number in range(12):
        client.subscribe(f"d/{number}", on_delivery=lambda delivery: None, on_subscribed=told.append)
    wait_until(lambda: len(told) == 12)
    errors = [str(error) for error in told if error is not None]
    assert len(errors) == 2
    assert "the server has 10 destinations already (the server's limit is --max-destinations 10)" in errors[0]


def test_subscribers_meet_their_limit(serve: Any, connect: Any) -> None:
    server = serve("--max-subscribers", "3")
    told: list[Any] = []
    for number in range(4):
        connect(server, f"c{number}").subscribe(
            "t", "share", on_delivery=lambda delivery: None, on_subscribed=told.append
        )
    wait_until(lambda: len(told) == 4)
    (error,) = [str(error) for error in told if error is not None]
    assert "share:share:t has 3 subscribers already (the server's limit is --max-subscribers 3)" in error


@pytest.mark.parametrize(
    ("options", "pattern", "words"),
    [
        (["--max-topic-depth", "4"], "a/b/c/d/e", "has 5 levels (the server's limit is --max-topic-depth 4)"),
        (["--max-topic-length", "20"], "x" * 21, "has 21 bytes (the server's limit is --max-topic-length 20)"),
    ],
)
def test_topics_meet_their_limits(serve: Any, connect: Any, options: list[str], pattern: str, words: str) -> None:
    client = connect(serve(*options))
    told: list[Any] = []
    client.subscribe(pattern, on_delivery=lambda delivery: None, on_subscribed=told.append)
    assert words in str(wait_until(lambda: told)[0])
    sent: list[Any] = []
    client.publish(pattern, message(topic=pattern), on_outcome=lambda *outcome: sent.append(outcome))
    (outcome, condition) = wait_until(lambda: sent)[0]
    assert outcome is Outcome.REJECTED and words in condition.description


# Messages


def test_a_consumer_that_never_settles_gets_no_more_than_it_may_hold(watched: Any, connect: Any) -> None:
    server = watched("--max-unsettled", "100", "--max-memory", str(8 * MIB))
    held: list[Delivery] = []
    lazy = connect(server, "lazy")
    lazy.subscribe("t", credit=1_000_000, on_delivery=held.append)
    lazy.wait_started(10)
    publisher = connect(server, "publisher")
    outcomes: list[Any] = []
    for _ in range(2000):
        publisher.publish("t", message(10_000), on_outcome=lambda *outcome: outcomes.append(outcome))
    wait_until(lambda: len(outcomes) == 2000)
    accepted = sum(outcome is Outcome.ACCEPTED for outcome, _ in outcomes)
    assert 650 < accepted < 750, "seven eighths of 8 MiB, of 10 kB messages"
    assert "(the server's limit is --max-memory 8388608)" in outcomes[-1][1].description
    wait_until(lambda: len(held) == 100)
    for delivery in held[:10]:
        delivery.accept()
    wait_until(lambda: len(held) == 110)
    assert len(held) == 110


def test_a_subscriber_that_does_not_read_costs_no_more_than_its_limit(watched: Any, connect: Any) -> None:
    server = watched("--max-unread", str(4 * MIB), "--max-queue-bytes", str(4 * MIB), "--verbose")
    with Hostile(server, "deaf").log_in().begin() as deaf:
        source, target = Described(Ulong(0x28), ["private:t"]), Described(Ulong(0x29), ["private:t"])
        deaf.send(frame(ATTACH, "private:t", Uint(0), True, Ubyte(1), None, source, target))
        deaf.send(frame(0x13, Uint(0), Uint(2**31 - 1), Uint(0), Uint(2**31 - 1), Uint(0), Uint(0), Uint(2**31 - 1)))
        until(lambda: deaf.hears(b"private:t"), "to be subscribed")
        publisher = connect(server, "publisher")
        sent: list[Any] = []
        for _ in range(3000):
            publisher.publish("t", message(50_000), on_outcome=lambda *outcome: sent.append(outcome))
        wait_until(lambda: len(sent) == 3000, 30.0)
        assert all(outcome is Outcome.ACCEPTED for outcome, _ in sent), "it is the subscriber who loses messages"
        server.expect(r"deaf: does not read \(--max-unread 4194304\)")
        publisher.publish("t", message(1_000), on_outcome=lambda *outcome: sent.append(outcome))
        seen = 0
        deadline = time.monotonic() + 20
        while seen < 6 * MIB and time.monotonic() < deadline:  # what waited comes when it reads at last
            deaf.read()
            seen += len(deaf.got)
            deaf.got = b""
        assert seen >= 6 * MIB


@pytest.mark.parametrize("kind", ["messages", "links"])
def test_a_sender_that_never_reads_is_not_read_from_for_ever(watched: Any, kind: str) -> None:
    server = watched("--max-unread", str(4 * MIB), "--heartbeat", "3", "--verbose")
    with Hostile(server).log_in().begin() as mute:
        mute.send(sender("to", 0, "nowhere"))
        bodies = (b"no message", message(10))  # by turns: neighbours with one answer would share it
        number = sent = 0
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            batch = b""
            for _ in range(200):
                if kind == "messages":
                    tag = number.to_bytes(4, "big")
                    batch += frame(TRANSFER, Uint(0), Uint(number), tag, Uint(0), False, payload=bodies[number % 2])
                else:
                    batch += sender(f"l{number}" + "x" * 200, 1, "t") + frame(DETACH, Uint(1), True)
                number += 1
            if not mute.send(batch):
                break
            sent += len(batch)
        else:
            pytest.fail(f"it still takes what a client sends that never reads, {sent} bytes by now")
    server.expect("hostile: (is not read from until it reads|.*session window exceeded)")


def test_unfinished_messages_are_bounded(watched: Any) -> None:
    server = watched("--max-message-size", str(MIB))
    with Hostile(server).log_in().begin() as hostile:
        for link in range(200):
            hostile.send(sender(f"l{link}", link, "t"))
        part = b"\x00Su\xb0\x00\x10\x00\x00" + bytes(60_000)
        ended = False
        for round_ in range(10):
            for link in range(200):
                if round_ == 0:
                    fields = [Uint(link), Uint(link), link.to_bytes(2, "big"), Uint(0), False, True]
                else:
                    fields = [Uint(link), None, None, None, None, True]
                if not hostile.send(frame(TRANSFER, *fields, payload=part)) or not hostile.read():
                    ended = True
                    break
            if ended:
                break
        until(lambda: not hostile.read(), "to be closed")
        assert b"bytes of unfinished messages (the server's limit is --max-message-size 1048576)" in hostile.got
    server.expect("hostile: cut off: there are .* bytes of unfinished messages")
