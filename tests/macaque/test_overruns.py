from __future__ import annotations

from typing import Any

from macaque.job import Job
from macaque.overruns import Overruns


class World:
    """A transport whose clock is set by hand."""

    def __init__(self) -> None:
        self.time = 100.0
        self.credit = 0
        self.subscription = None
        self.woken: list[float] = []
        self.overran: list[Job] = []
        delivery: Any = self
        transport: Any = self
        self.job = Job(delivery)
        self.overruns = Overruns(transport, 2.0, self.overran.append)

    def now(self) -> float:
        return self.time

    def every(self, call: Any) -> None:
        self.look = call

    def wake(self, at: float) -> None:
        self.woken.append(at)

    def add_credit(self, subscription: object, messages: int) -> None:
        self.credit += messages


def test_a_function_that_returns_in_time_is_answered_by_its_own_thread() -> None:
    world = World()
    world.overruns.begin(world.job)
    assert world.woken == [102.0] and world.look(101.9) == 102.0
    assert world.overruns.claim(world.job)
    assert world.look(103.0) is None and world.overran == [] and len(world.overruns) == 0


def test_a_function_that_overruns_is_answered_for_once_and_takes_its_place_until_it_returns() -> None:
    world = World()
    world.overruns.begin(world.job)
    assert world.look(102.0) is None and world.overran == [world.job]
    assert world.overruns.count(world.job) == 1 and (world.overruns.taken, world.credit) == (1, -1)
    assert not world.overruns.claim(world.job)
    world.overruns.returned(world.job)
    assert (world.overruns.taken, world.credit) == (0, 0)


def test_a_request_that_only_waited_takes_no_place() -> None:
    world = World()
    world.overruns.watch(world.job)
    assert world.look(102.0) is None and world.overran == [world.job]
    assert world.overruns.count(world.job) == 0 and world.credit == 0


def test_a_function_that_returned_before_it_was_counted_takes_no_place() -> None:
    world = World()
    world.overruns.begin(world.job)
    world.look(102.0)
    world.overruns.returned(world.job)
    assert world.overruns.count(world.job) == 0 and (world.overruns.taken, world.credit) == (0, 0)
