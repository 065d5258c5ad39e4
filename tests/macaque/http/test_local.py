"""The broker inside of a process. Services on it are in tests/macaque/testing/test_conformance.py."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from macaque.http.local import LocalBroker, LocalTransport
from mqlight.amqp.message import Message, encode
from mqlight.amqp.types import Outcome
from mqlight.connection import State
from mqlight.errors import NetworkError, StoppedError
from processes import wait_until

BOUND = 10.0
Sender = Any
"""That of conftest.py."""


def test_a_message_goes_to_every_subscription_that_matches(transport: LocalTransport, send: Sender) -> None:
    taken: list[str] = []
    for pattern in "a/b", "a/+", "#", "c":
        transport.subscribe(pattern, on_delivery=lambda each, pattern=pattern: (taken.append(pattern), each.accept()))
    send("a/b")
    assert sorted(taken) == ["#", "a/+", "a/b"]
    assert send.told == [Outcome.ACCEPTED]


def test_a_message_that_nobody_takes_is_released(transport: LocalTransport, send: Sender) -> None:
    send("a")
    assert send.outcomes == [(Outcome.RELEASED, None)]
    transport.publish("a", encode(Message(to="a")), on_outcome=lambda *told: send.outcomes.append(told))
    transport.publish("a", encode(Message(to="a")))
    assert send.told == [Outcome.RELEASED, Outcome.ACCEPTED]


def test_functions_in_a_lane_run_beside_the_sender(transport: LocalTransport, send: Sender) -> None:
    threads: set[int] = set()
    done = threading.Semaphore(0)
    meet = threading.Barrier(2)

    def take(delivery: Any) -> None:
        meet.wait(BOUND)
        threads.add(threading.get_ident())
        delivery.accept()
        done.release()

    transport.subscribe("a", credit=2, lane=transport.lane(2), on_delivery=take)
    send("a")
    send("a")
    assert done.acquire(timeout=BOUND) and done.acquire(timeout=BOUND)
    assert len(threads) == 2 and threading.get_ident() not in threads


def test_a_transport_that_stops_waits_for_what_is_held_and_loses_nothing_silently(
    broker: LocalBroker, transport: LocalTransport, send: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    states: list[State] = []
    server = LocalTransport(broker, None, "server", on_state=lambda state, error: states.append(state))
    held: list[Any] = []
    told: list[Exception | None] = []
    destination = server.subscribe("a", credit=1, on_delivery=held.append, on_subscribed=told.append)
    assert told == [] and destination.ready
    server.start()
    server.start()
    assert told == [None]
    for to in "r", "r", None:
        send("a", reply_to=to)
    stopping = threading.Thread(target=server.stop, args=(BOUND,))
    stopping.start()
    wait_until(lambda: server.state is State.STOPPING, BOUND)
    send("a", reply_to="r")
    assert held[0].accept()
    stopping.join(BOUND)
    assert states == [State.STARTED, State.STOPPING, State.STOPPED]
    assert send.told == [Outcome.ACCEPTED] * 2 + [Outcome.RELEASED] * 2
    assert len(held) == 1 and held[0].link.closed
    assert "1 messages to a are lost" in caplog.text
    server.stop()
    send("a")
    assert send.told[-1] is Outcome.RELEASED


def test_a_stopped_transport_is_late_for_everything(
    broker: LocalBroker, transport: LocalTransport, send: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    held: list[Any] = []
    transport.subscribe("a", on_delivery=held.append)
    send("a")
    with caplog.at_level(logging.WARNING):
        transport.stop(0.0)
    assert "stops with 1 unfinished messages" in caplog.text
    assert not held[0].accept()
    with pytest.raises(StoppedError):
        send("a")
    with pytest.raises(StoppedError):
        transport.wait_started(0.0)


def test_an_ended_subscription_gets_nothing(transport: LocalTransport, send: Sender) -> None:
    told: list[Exception | None] = []
    destination = transport.subscribe("a", on_delivery=lambda delivery: None)
    transport.unsubscribe(destination, forget=True, on_unsubscribed=told.append)
    transport.unsubscribe(destination, forget=True)
    assert told == [None] and not destination.ready
    send("a")
    assert send.told == [Outcome.RELEASED]


def test_draining_waits_for_what_waits(broker: LocalBroker, transport: LocalTransport, send: Sender) -> None:
    held: list[Any] = []
    transport.subscribe("a", credit=1, on_delivery=held.append)
    send("a")
    send("a")
    broker.drain(0.01)
    assert len(held) == 1
    draining = threading.Thread(target=broker.drain, args=(BOUND,))
    draining.start()
    held[0].accept()
    draining.join(BOUND)
    assert not draining.is_alive() and len(held) == 2


def test_the_clock_and_the_threads_serve_a_transport(transport: LocalTransport) -> None:
    rung, run, lock = threading.Event(), threading.Event(), threading.Lock()
    at = transport.now() + 0.02

    def ring(now: float) -> float | None:
        if now < at:
            return at
        rung.set()
        return None

    transport.every(ring)
    transport.wake(at)
    transport.run_soon(run.set)
    assert rung.wait(BOUND) and run.wait(BOUND)
    assert transport.wait(lock, 0.0) and not transport.wait(lock, 0.001)
    with transport.batch():
        transport.before_blocking()
    assert abs(transport.wall() - time.time()) < BOUND


def test_without_a_thread_the_broker_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(NetworkError, match="no thread can be started"):
        LocalBroker().start()
