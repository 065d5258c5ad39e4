from __future__ import annotations

from mqlight.timers import Timers


def test_what_is_due_is_called_once_and_the_clock_is_told_the_next_time() -> None:
    wakes: list[float] = []
    called: list[str] = []
    timers = Timers(wakes.append)
    timers.set(2.0, lambda: called.append("later"))
    timers.set(1.0, lambda: called.append("first"))
    assert wakes == [2.0, 1.0]
    assert timers.run(0.5) == 1.0 and called == []
    assert timers.run(1.0) == 2.0 and called == ["first"]
    assert timers.run(5.0) is None and called == ["first", "later"]
    assert timers.run(9.0) is None and called == ["first", "later"]


def test_a_function_that_is_set_again_has_its_new_time_only() -> None:
    called: list[str] = []
    timers = Timers(lambda at: None)

    def call() -> None:
        called.append("called")

    timers.set(1.0, call)
    timers.set(3.0, call)
    assert timers.run(2.0) == 3.0 and called == []
    assert timers.run(3.0) is None and called == ["called"]


def test_a_function_may_set_itself_again_while_it_runs() -> None:
    called: list[str] = []
    timers = Timers(lambda at: None)

    def call() -> None:
        called.append("called")
        timers.set(len(called) + 1.0, call)

    timers.set(1.0, call)
    assert timers.run(1.0) == 2.0
    assert timers.run(10.0) == 3.0, "only what was due at the beginning is called"
    assert len(called) == 2
