"""The state of a connection, and the threads that wait for it."""

from __future__ import annotations

import threading
from time import monotonic

import pytest

from mqlight.errors import NetworkError, SecurityError
from mqlight.state import State, Status


def made(told: list[tuple[State, Exception | None]] | None = None) -> tuple[threading.RLock, Status]:
    lock = threading.RLock()
    return lock, Status(lock, None if told is None else lambda state, error: told.append((state, error)))


def test_each_change_is_told_with_its_reason() -> None:
    told: list[tuple[State, Exception | None]] = []
    _, status = made(told)
    assert (status.state, status.error) == (State.STOPPED, None)
    error = NetworkError("gone")
    status.set(State.STARTING, None)
    status.set(State.RETRYING, error)
    assert told == [(State.STARTING, None), (State.RETRYING, error)]
    assert (status.state, status.error) == (State.RETRYING, error)


def test_a_thread_that_waits_goes_on_when_the_state_changes() -> None:
    lock, status = made()
    status.set(State.STARTING, None)

    def change() -> None:
        with lock:  # the waiting thread releases it
            status.set(State.STARTED, None)

    with lock:
        thread = threading.Thread(target=change)
        thread.start()
        status.wait(lambda: status.state is State.STARTED, monotonic() + 10)
        assert status.state is State.STARTED
    thread.join(10)


def test_to_wait_ends_at_the_deadline() -> None:
    lock, status = made()
    with lock:
        status.wait(lambda: False, monotonic() - 1)


def test_to_wait_for_a_connection_ends_with_it_or_with_the_reason_why_there_is_none() -> None:
    lock, status = made()
    with lock:
        status.set(State.STARTED, None)
        status.wait_started(0.0, None)
        status.set(State.STARTING, None)
        with pytest.raises(NetworkError, match="no connection within 0 s") as caught:
            status.wait_started(0.0, "amqp://h:1")
        assert caught.value.url == "amqp://h:1"
        status.set(State.STOPPED, SecurityError("not you"))
        with pytest.raises(SecurityError, match="not you"):
            status.wait_started(0.0, None)
