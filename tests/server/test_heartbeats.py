"""Heartbeats of an idle connection over real sockets, however short the peer's idle time-out is (section 2.4.5)."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Iterator

import pytest

import mqlight
from faults.flood import ANONYMOUS, OPEN, frame
from mqlight.amqp.codec import Uint
from mqlight.server.sasl import AMQP_HEADER, SASL_HEADER
from processes import Server, start_server, wait_until

EMPTY = bytes.fromhex("0000000802000000")
IDLE = 0.25


@pytest.fixture
def impatient() -> Iterator[Server]:
    """A server that asks its clients for a sign of life every 250 ms, and ends those that are silent for 500 ms."""
    server = start_server("--heartbeat", str(2 * IDLE), "--verbose")
    yield server
    server.close()


def test_both_ends_of_an_idle_connection_keep_an_idle_time_out_of_250_ms(impatient: Server) -> None:
    client = mqlight.Client(impatient.url, "idle")
    with socket.create_connection(("127.0.0.1", impatient.port), 10) as peer:
        wait_until(lambda: client.state == "started")
        idle = Uint(IDLE * 1000)
        peer.sendall(SASL_HEADER + ANONYMOUS + AMQP_HEADER + frame(OPEN, "peer", None, None, None, idle))
        got, times = b"", [time.monotonic()]
        while len(times) <= 16:
            got += peer.recv(4096)
            if got.endswith(EMPTY):
                times.append(time.monotonic())
                peer.sendall(EMPTY)
    gaps = [after - before for before, after in zip(times, times[1:], strict=False)]
    assert statistics.median(gaps) < IDLE, gaps
    assert got.endswith(15 * EMPTY), "nothing but heartbeats"
    client.stop()
    wait_until(client.is_stopped)
    log = impatient.log()
    assert log.count("connected as") == 2 and "was silent" not in log, log


def test_a_client_that_says_nothing_is_ended_in_time_and_told_why(impatient: Server) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), 10) as peer:
        peer.sendall(SASL_HEADER + ANONYMOUS + AMQP_HEADER + frame(OPEN, "mute"))
        got = b""
        while data := peer.recv(4096):
            got += data
    assert b"amqp:resource-limit-exceeded" in got and b"the peer was silent for 0.5 s (idle-time-out)" in got
