"""The idle time-outs of both ends (section 2.4.5)."""

from __future__ import annotations

import pytest

from amqp.pair import End, Pair
from amqp.raw import performative
from mqlight.amqp import Terminus
from mqlight.amqp.frames import AMQP_HEADER
from mqlight.amqp.heartbeat import Heartbeat
from mqlight.amqp.values import Uint


@pytest.fixture
def pair() -> Pair:
    """A client and a server, opened."""
    return Pair()


def test_a_silent_peer_counts_as_gone_when_its_time_is_over() -> None:
    pair = Pair(server={"heartbeat": 2.0})
    due = pair.server.engine.tick(100.0)
    assert due is not None and 100.0 < due <= 102.1
    pair.server.engine.tick(101.0)
    assert not pair.server.engine.closed
    pair.server.engine.tick(103.0)
    (condition,) = pair.server.one("close")
    assert condition.name == "amqp:resource-limit-exceeded"


def test_an_idle_peer_that_sends_heartbeats_stays() -> None:
    pair = Pair(server={"heartbeat": 2.0})
    for now in range(100, 130):
        pair.client.engine.tick(now)
        pair.server.engine.tick(now)
        pair.pump()
    assert not pair.server.engine.closed


def test_a_heartbeat_is_an_empty_frame() -> None:
    pair = Pair(server={"heartbeat": 2.0})
    due = pair.client.engine.tick(100.0)
    assert due is not None and 100.0 < due <= 101.1
    pair.client.engine.tick(due)
    assert pair.client.output() == bytes.fromhex("00000008 02000000")


def test_without_a_heartbeat_nobody_is_ever_called_again(pair: Pair) -> None:
    assert pair.client.engine.tick(100.0) is None
    assert pair.client.engine.tick(1e6) is None
    assert not pair.client.engine.closed


@pytest.mark.parametrize("idle", [250, 1, 60_000])
def test_a_heartbeat_comes_within_the_peers_idle_time_out_whatever_it_is(idle: int) -> None:
    """Section 2.4.5."""
    server = End(server=True, heartbeat=0)
    server.engine.receive(AMQP_HEADER + performative(0x10, ["c", None, None, None, Uint(idle)]))
    while data := server.engine.output():
        server.engine.sent(len(data))
    now = said_at = 100.0
    server.engine.tick(now)
    for beat in range(5):
        if beat == 2:  # something else is said right after a look at the time
            server.engine.attach_sender("l", Terminus("t"))
            while data := server.engine.output():
                server.engine.sent(len(data))
            said_at = now
        while not (data := server.engine.output()):
            due = server.engine.tick(now)
            assert due is not None
            now = max(due, now)
        assert data == bytes.fromhex("0000000802000000")
        assert now - said_at <= max(2 * idle / 3, 2) / 1000 + 0.003
        said_at = now
        server.engine.sent(len(data))


def test_a_peer_is_missed_when_its_patience_is_over() -> None:
    beat = Heartbeat(500)
    assert beat.idle_time_out == 250
    assert not beat.is_missed(1000, 10) and not beat.is_missed(1499, 10)
    assert not beat.is_missed(1499, 11) and not beat.is_missed(1998, 11)
    assert beat.is_missed(1999, 11)


def test_a_heartbeat_is_due_after_a_third_of_the_peers_time_out_and_is_no_other_traffic() -> None:
    beat = Heartbeat(0)
    beat.peer_idle = 300
    assert not beat.is_due(1000, 50) and beat.next == 1.1
    assert beat.is_due(1100, 50)
    beat.beats(8)
    assert beat.is_due(1200, 58), "the heartbeat itself puts off none"
    assert not beat.is_due(1300, 70), "other bytes do"


def test_nothing_is_ever_due_without_a_time_out() -> None:
    beat = Heartbeat(0)
    assert beat.next is None and beat.idle_time_out == 0
    assert not beat.is_due(1000, 0) and not beat.is_missed(10**9, 0)


@pytest.mark.parametrize(("patience", "asked"), [(0, 0), (1, 1), (2000, 1000)])
def test_the_peer_is_asked_for_a_sign_of_life_in_half_of_the_time(patience: int, asked: int) -> None:
    assert Heartbeat(patience).idle_time_out == asked


def test_the_next_look_is_at_the_earlier_of_both_times_in_seconds() -> None:
    beat = Heartbeat(1000)
    beat.is_missed(5000, 0)
    assert beat.next == 6.0
    beat.peer_idle = 900
    beat.is_due(5000, 0)
    assert beat.next == 5.3
    assert Heartbeat(0).next is None
