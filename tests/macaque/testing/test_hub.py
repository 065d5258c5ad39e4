from __future__ import annotations

import threading
from math import inf

import pytest

from macaque.testing.hub import BEGIN, Hub, Lane


class Alarm:
    """A member that is due at some times."""

    def __init__(self, hub: Hub, *times: float) -> None:
        self.times = [BEGIN + time for time in times]
        self.rung: list[float] = []
        self.due = self.times[0]
        hub.members.append(self)

    def move(self) -> bool:
        return False

    def tick(self, now: float) -> None:
        self.rung.append(now - BEGIN)
        self.times = [time for time in self.times if time > now]
        self.due = min(self.times, default=inf)


def test_a_function_runs_before_submit_returns() -> None:
    hub, seen = Hub(), []
    Lane(hub, 1).submit(seen.append, 1)
    assert seen == [1]


def test_a_function_that_another_function_submits_runs_after_it() -> None:
    hub, seen = Hub(), []
    lane = Lane(hub, 5)

    def outer() -> None:
        lane.submit(seen.append, "inner")
        seen.append("outer")

    lane.submit(outer)
    assert seen == ["outer", "inner"]


def test_a_chain_of_functions_is_no_recursion() -> None:
    hub, lane, seen = Hub(), None, []
    lane = Lane(hub, 1)

    def follow(left: int) -> None:
        if left:
            lane.submit(follow, left - 1)
        else:
            seen.append("end")

    lane.submit(follow, 10_000)
    assert seen == ["end"]


def test_a_lane_runs_as_many_functions_at_a_time_as_it_is_wide() -> None:
    hub, seen = Hub(), []
    narrow, wide = Lane(hub, 1), Lane(hub, 2)

    def wait(lane: Lane, name: str) -> None:
        lane.submit(seen.append, f"inside {name}")
        hub.run()
        seen.append(name)

    narrow.submit(wait, narrow, "narrow")
    wide.submit(wait, wide, "wide")
    assert seen == ["narrow", "inside narrow", "inside wide", "wide"]


def test_what_a_function_raises_is_raised_by_the_outermost_run() -> None:
    hub, seen = Hub(), []
    lane = Lane(hub, 5)

    def fail() -> None:
        raise KeyError("first")

    def outer() -> None:
        lane.submit(fail)
        hub.run()
        seen.append("outer")

    with pytest.raises(KeyError, match="first"):
        lane.submit(outer)
    assert seen == ["outer"]
    lane.submit(seen.append, "next")
    assert seen == ["outer", "next"]


def test_time_stands_still_until_a_thread_waits_and_then_jumps_from_event_to_event() -> None:
    hub = Hub()
    alarm = Alarm(hub, 3.0, 5.0, 60.0)
    hub.run()
    assert alarm.rung == [] and hub.now == BEGIN
    assert hub.until(lambda: alarm.rung, 100.0)
    assert alarm.rung == [3.0] and hub.now == BEGIN + 3.0
    assert not hub.until(lambda: False, 10.0)
    assert alarm.rung == [3.0, 5.0] and hub.now == BEGIN + 13.0


def test_waiting_for_ever_ends_when_nothing_can_happen_any_more() -> None:
    hub = Hub()
    alarm = Alarm(hub, 3.0)
    assert not hub.until(lambda: False, None)
    assert alarm.rung == [3.0]


def test_time_passes_by_order_with_all_that_is_due_meanwhile() -> None:
    hub = Hub()
    alarm = Alarm(hub, 1.0, 2.0, 30.0)
    hub.advance(10.0)
    assert alarm.rung == [1.0, 2.0] and hub.now == BEGIN + 10.0
    wall = hub.wall()
    hub.advance(20.0)
    assert alarm.rung == [1.0, 2.0, 30.0] and hub.wall() == pytest.approx(wall + 20.0)


def test_time_stands_still_while_another_thread_runs_a_function() -> None:
    hub = Hub()
    alarm = Alarm(hub, 3.0)
    lane, began, go, seen = Lane(hub, 1), threading.Event(), threading.Event(), []

    def work() -> None:
        began.set()
        assert go.wait(20.0)
        seen.append(hub.now)

    def look() -> bool:
        go.set()
        return bool(seen)

    thread = threading.Thread(target=lane.submit, args=(work,))
    thread.start()
    assert began.wait(20.0)
    assert hub.until(look, 10.0)
    thread.join(20.0)
    assert seen == [BEGIN] and alarm.rung == []


def test_two_functions_that_wait_for_each_other_let_the_time_pass() -> None:
    hub = Hub()
    lane, both, ended = Lane(hub, 2), threading.Barrier(2), []

    def work() -> None:
        both.wait(20.0)
        ended.append(hub.until(lambda: False, 5.0))

    threads = [threading.Thread(target=lane.submit, args=(work,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    assert ended == [False, False]
