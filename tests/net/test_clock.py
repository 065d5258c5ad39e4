from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from time import monotonic

import pytest

from mqlight.net.clock import Clock
from mqlight.net.crew import Crew
from processes import wait_until

FOR_NOW = 60.0


def clock_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tests-clock"]


@pytest.fixture
def started() -> Iterator[Callable[[Callable[[float], float]], Clock]]:
    """Starts a clock with a function that is called at each tick."""
    clocks: list[Clock] = []

    def start(tick: Callable[[float], float]) -> Clock:
        clock = Clock(Crew("tests", lambda epoch: None, on_exit=lambda error: None, daemon=True), tick)
        clock.start("tests-clock", daemon=True)
        clocks.append(clock)
        return clock

    yield start
    for clock in clocks:
        clock.stop()
    for thread in clock_threads():
        thread.join(10)


def test_it_ticks_when_it_starts_and_when_it_is_woken(started: Callable[..., Clock]) -> None:
    ticked = threading.Semaphore(0)

    def tick(now: float) -> float:
        ticked.release()
        return now + FOR_NOW

    clock = started(tick)
    assert ticked.acquire(timeout=10)
    clock.wake(monotonic())
    assert ticked.acquire(timeout=10)


def test_it_ticks_again_when_something_is_due(started: Callable[..., Clock]) -> None:
    times: list[float] = []
    enough = threading.Event()

    def tick(now: float) -> float:
        times.append(now)
        if len(times) == 3:
            enough.set()
        return now + 0.05

    started(tick)
    assert enough.wait(10)
    assert all(later - earlier >= 0.05 for earlier, later in zip(times, times[1:], strict=False))


def test_a_tick_that_fails_is_logged_and_the_next_one_comes(
    started: Callable[..., Clock], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mqlight.net.clock.AFTER_FAULT", 0.01)
    again = threading.Event()
    failed: list[float] = []

    def tick(now: float) -> float:
        if not failed:
            failed.append(now)
            raise RuntimeError("no")
        again.set()
        return now + FOR_NOW

    started(tick)
    assert again.wait(10)
    assert "tick failed" in caplog.text


def test_user_code_that_begins_keeps_the_clock_awake_for_a_while(
    started: Callable[..., Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code may be over when the clock looks. The next one must not have to wake the clock again."""
    monkeypatch.setattr("mqlight.net.clock.RESTLESS", 0.1)
    ticked = threading.Semaphore(0)

    def tick(now: float) -> float:
        ticked.release()
        return now + FOR_NOW

    clock = started(tick)
    assert ticked.acquire(timeout=10)
    wait_until(lambda: clock._crew.clock_sleeps)
    woken = monotonic()
    clock._crew.wake_clock()
    clock.wake(woken)
    assert ticked.acquire(timeout=10)
    wait_until(lambda: clock._crew.clock_sleeps)
    assert monotonic() - woken >= 0.1


def test_once_it_is_stopped_it_ticks_no_more(started: Callable[..., Clock]) -> None:
    ticked = threading.Event()

    def tick(now: float) -> float:
        ticked.set()
        return now + FOR_NOW

    clock = started(tick)
    assert ticked.wait(10)
    (thread,) = clock_threads()
    clock.stop()
    thread.join(10)
    assert not thread.is_alive()
