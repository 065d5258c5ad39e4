from __future__ import annotations

import threading

from macaque.deadlines import Deadlines


def test_what_is_overdue_comes_out_once_the_earliest_first() -> None:
    deadlines: Deadlines[str] = Deadlines(threading.Lock())
    assert deadlines.next() is None
    for at, thing in ((1.0, "a"), (2.0, "b"), (3.0, "c")):
        deadlines.add(thing, at)
    assert deadlines.next() == 1.0
    assert deadlines.overdue(0.9) == []
    assert deadlines.overdue(2.0) == ["a", "b"]
    assert deadlines.overdue(2.0) == []
    assert (len(deadlines), deadlines.next()) == (1, 3.0)


def test_whoever_takes_a_thing_is_the_only_one() -> None:
    deadlines: Deadlines[str] = Deadlines(threading.Lock())
    for thing in "ab":
        deadlines.add(thing, 1.0)
    assert deadlines.take("a")
    assert not deadlines.take("a")
    assert deadlines.overdue(1.0) == ["b"]
    assert not deadlines.take("b") and len(deadlines) == 0
