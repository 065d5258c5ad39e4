from __future__ import annotations

import threading
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from macaque.pending import DELAY, TICKS, Added, Pending


class Waiting(NamedTuple):
    uuid: str
    deadline: float


def pending(maximum: int = 100) -> Pending[Waiting]:
    return Pending(maximum)


def test_a_call_is_taken_once() -> None:
    calls = pending()
    call = Waiting("a", 1.0)
    assert calls.add(call) is Added.YES
    assert calls.pop("a") is call
    assert calls.pop("a") is None
    assert len(calls) == 0


def test_a_uuid_that_was_never_added_is_nobodys() -> None:
    assert pending().pop("a") is None


def test_calls_over_the_maximum_are_not_kept() -> None:
    calls = pending(maximum=2)
    assert calls.add(Waiting("a", 1.0)) is Added.YES
    assert calls.add(Waiting("b", 1.0)) is Added.YES
    assert calls.full
    assert calls.add(Waiting("c", 1.0)) is Added.FULL
    assert calls.pop("c") is None
    calls.pop("a")
    assert calls.add(Waiting("c", 1.0)) is Added.YES


def test_calls_expire_after_their_deadline_and_not_before() -> None:
    calls = pending()
    early, late = Waiting("early", 1.0), Waiting("late", 2.0)
    calls.add(late)
    calls.add(early)
    assert calls.expire(0.999) == []
    assert calls.expire(1.0 + 1 / TICKS) == [early]
    assert calls.expire(5.0) == [late]
    assert calls.expire(9.0) == []


def test_the_next_deadline_is_the_earliest_to_the_tick() -> None:
    calls = pending()
    assert calls.next_deadline() is None
    for deadline in (3.0, 1.25, 2.0):
        calls.add(Waiting(str(deadline), deadline))
    first = calls.next_deadline()
    assert first is not None and 1.25 <= first <= 1.25 + 1 / TICKS + 3 * DELAY
    assert [call.deadline for call in calls.expire(first)] == [1.25]


def test_a_call_that_expired_cannot_be_taken() -> None:
    calls = pending()
    calls.add(Waiting("a", 1.0))
    calls.expire(2.0)
    assert calls.pop("a") is None


def test_clearing_gives_all_calls_in_their_order_and_leaves_none() -> None:
    calls = pending()
    kept = [Waiting(str(number), 5.0 - number) for number in range(4)]
    for call in kept:
        calls.add(call)
    assert calls.clear() == kept
    assert (len(calls), calls.next_deadline()) == (0, None)


def test_a_hundred_thousand_calls_that_were_answered_leave_nothing_behind() -> None:
    calls = pending()
    for number in range(100_000):
        calls.add(Waiting("a", number / 1000 + 30.0))
        calls.pop("a")
    assert calls._calls == {}


def test_with_many_calls_the_search_for_late_calls_is_put_off() -> None:
    calls = pending(maximum=40_000)
    for number in range(40_000):
        calls.add(Waiting(str(number), 30.0 + number))
    first = calls.next_deadline()
    assert first is not None and 30.1 <= first <= 30.1 + 1 / TICKS


def test_threads_that_take_and_expire_calls_get_each_call_once() -> None:
    calls = pending(maximum=1000)
    every = [Waiting(str(number), 1.0) for number in range(5000)]
    taken: list[Waiting] = []
    added = threading.Event()

    def take() -> None:
        while not added.is_set():
            taken.extend(filter(None, [calls.pop(call.uuid) for call in every]))

    def expire() -> None:
        while not added.is_set():
            taken.extend(calls.expire(2.0))

    threads = [threading.Thread(target=function) for function in (take, take, expire, expire)]
    for thread in threads:
        thread.start()
    for call in every:
        while calls.add(call) is Added.FULL:
            taken.extend(calls.expire(2.0))
    added.set()
    for thread in threads:
        thread.join(60)
    taken += calls.clear()
    assert sorted(taken) == sorted(every)


class AgainstADict(RuleBasedStateMachine):
    """Pending does what a dict that is searched does."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = pending(maximum=8)
        self.model: dict[str, Waiting] = {}
        self.now = 0.0
        self.number = 0

    @rule(seconds=st.floats(0.0, 3.0))
    def add(self, seconds: float) -> None:
        call = Waiting(str(self.number), self.now + seconds)
        self.number += 1
        assert (self.calls.add(call) is Added.YES) == (len(self.model) < 8)
        if len(self.model) < 8:
            self.model[call.uuid] = call

    @rule(data=st.data())
    def pop(self, data: st.DataObject) -> None:
        uuid = str(data.draw(st.integers(0, self.number)))
        assert self.calls.pop(uuid) == self.model.pop(uuid, None)

    @rule(seconds=st.floats(0.0, 2.0))
    def expire(self, seconds: float) -> None:
        self.now += seconds
        over = self.calls.expire(self.now)
        for call in over:
            assert call.deadline <= self.now
            assert self.model.pop(call.uuid) == call
        assert all(call.deadline > self.now - 1 / TICKS for call in self.model.values())

    @invariant()
    def same(self) -> None:
        assert len(self.calls) == len(self.model)
        first = self.calls.next_deadline()
        if first is None:
            assert not self.model
        else:
            earliest = min(call.deadline for call in self.model.values())
            assert earliest <= first <= earliest + 1 / TICKS + len(self.model) * DELAY


TestAgainstADict = AgainstADict.TestCase
TestAgainstADict.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
