from __future__ import annotations

from mqlight.server.throttle import FORGIVEN, LONGEST_DELAY, MOST_AT_ONCE, MOST_FAILURES, Throttle

FISH, BIRD = "fish", "bird"


def test_each_failure_costs_more_until_there_is_peace() -> None:
    throttle = Throttle()
    costs = [throttle.failed("192.0.2.1", FISH, 1000.0 + number, known=True) for number in range(8)]
    assert costs == [0.25, 0.5, 1.0, 2.0, 4.0, LONGEST_DELAY, LONGEST_DELAY, LONGEST_DELAY]
    assert throttle.failed("192.0.2.2", FISH, 1008.0, known=True) == 0.25, "another address does not pay for it"
    assert throttle.failed("192.0.2.1", BIRD, 1008.0, known=True) == 0.25, "another user does not pay for it"
    assert throttle.failed("192.0.2.1", FISH, 1008.0 + FORGIVEN, known=True) == 0.25


def test_a_user_that_does_not_exist_costs_the_same() -> None:
    throttle = Throttle()
    assert [throttle.failed("192.0.2.1", "nobody", 1.0, known=False) for _ in range(3)] == [0.25, 0.5, 1.0]


def test_a_network_of_ipv6_is_one_address() -> None:
    throttle = Throttle()
    assert [throttle.failed(f"2001:db8::{n}", FISH, 1.0, known=True) for n in range(1, 4)] == [0.25, 0.5, 1.0]
    assert throttle.failed("2001:db8:0:1::1", FISH, 1.0, known=True) == 0.25
    for last in (1, 2):
        assert throttle.failed(f"::ffff:192.0.2.{last}", FISH, 1.0, known=True) == 0.25


def test_so_many_logins_of_a_user_from_an_address_are_checked_at_once_and_no_more() -> None:
    throttle = Throttle()
    assert all(throttle.begin("192.0.2.1", FISH) for _ in range(MOST_AT_ONCE))
    assert not throttle.begin("192.0.2.1", FISH)
    assert throttle.begin("192.0.2.2", FISH) and throttle.begin("192.0.2.1", BIRD)
    throttle.end("192.0.2.1", FISH)
    assert throttle.begin("192.0.2.1", FISH) and not throttle.begin("192.0.2.1", FISH)


def test_a_million_names_fill_no_memory_and_push_out_no_real_user() -> None:
    throttle = Throttle()
    throttle.failed("192.0.2.1", FISH, 1.0, known=True)
    for number in range(MOST_FAILURES + 500):
        assert throttle.begin("192.0.2.1", str(number))
        throttle.failed("192.0.2.1", str(number), 1.0, known=False)
        throttle.end("192.0.2.1", str(number))
    assert len(throttle._failed[False]) == MOST_FAILURES and not throttle._busy
    assert throttle.failed("192.0.2.1", FISH, 2.0, known=True) == 0.5
