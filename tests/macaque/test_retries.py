from __future__ import annotations

import threading

from macaque.retries import LONGEST, Retries, delay


def test_the_delay_doubles_up_to_a_minute() -> None:
    assert [delay(count, 0.0) for count in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert delay(50, 0.0) == delay(5000, 0.0) == LONGEST


def test_chance_takes_up_to_half_of_the_delay() -> None:
    assert delay(3, 1.0) == 1.0
    assert 1.0 < delay(3, 0.3) < 2.0


def test_what_waits_comes_out_when_it_is_due_in_that_order() -> None:
    retries: Retries[str] = Retries(threading.Lock())
    assert retries.next_due() is None
    for at, item in ((3.0, "late"), (1.0, "first"), (1.0, "second")):
        assert retries.add(at, item)
    assert retries.next_due() == 1.0
    assert retries.due(0.9) == []
    assert retries.due(1.0) == ["first", "second"]
    assert (len(retries), retries.next_due()) == (1, 3.0)


def test_after_the_end_nothing_is_kept() -> None:
    retries: Retries[str] = Retries(threading.Lock())
    retries.add(3.0, "late")
    retries.add(1.0, "early")
    assert retries.close() == ["early", "late"]
    assert not retries.add(1.0, "more")
    assert retries.close() == []
