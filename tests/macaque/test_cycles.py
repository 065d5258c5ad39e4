from __future__ import annotations

from macaque.cycles import KNOWN, Cycles
from macaque.registry import Registry, Service


def services(*endpoints: str) -> list[Service]:
    registry = Registry()
    return [registry.add(endpoint, "w", 1, len) for endpoint in endpoints]


def test_a_service_that_waits_for_itself_is_a_circle_which_is_told_once() -> None:
    (a,) = known = services("a/+")
    cycles = Cycles(lambda: known)
    assert cycles.add(a, "b") is None
    assert cycles.add(a, "a/1") == [a, a]
    assert cycles.add(a, "a/1") is None
    assert cycles.add(a, "a/2") is None


def test_services_that_wait_for_each_other_are_a_circle_when_it_is_closed() -> None:
    a, b, c = known = services("a", "b", "c")
    cycles = Cycles(lambda: known)
    assert cycles.add(a, "b") is None
    assert cycles.add(b, "c") is None
    assert cycles.add(a, "c") is None
    circle = cycles.add(c, "a")
    assert circle in ([c, a, b, c], [c, a, c])


def test_ever_new_topics_cost_no_memory() -> None:
    (a,) = known = services("a")
    cycles = Cycles(lambda: known)
    for number in range(KNOWN + 10):
        cycles.add(a, f"b/{number}")
    assert len(cycles._known) == KNOWN
