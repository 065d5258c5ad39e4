from __future__ import annotations

from mqlight.backoff import Backoff


def test_the_longest_pause_doubles_up_to_a_limit_and_chance_shortens_it() -> None:
    backoff = Backoff(0.1, 1.0)
    assert [backoff.next(1.0) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert backoff.next(0.25) == 0.25 and backoff.next(0.0) == 0.0


def test_it_begins_anew_after_a_success() -> None:
    backoff = Backoff(0.1, 1.0)
    for _ in range(5_000):
        backoff.next(1.0)
    backoff.reset()
    assert backoff.next(1.0) == 0.1
