"""The next endpoint to try, the time of the attempt, and the end of all attempts."""

from __future__ import annotations

import pytest

from mqlight.addresses import Endpoint
from mqlight.errors import NetworkError, ReplacedError, SecurityError
from mqlight.reconnect import DOUBTS, PATIENT_ROUNDS, STEADY, Backoff, Decision, Reconnect

FIRST, SECOND = Endpoint("amqp", "first", 1), Endpoint("amqp", "second", 2)
LOST, REFUSED, REPLACED = NetworkError("gone"), SecurityError("no"), ReplacedError("yours no more")


def begun(*endpoints: Endpoint) -> Reconnect:
    reconnect = Reconnect()
    assert reconnect.round_is_over and reconnect.pause(0.0, 1.0) == 0.0, "the first attempt is made at once"
    reconnect.begin_round(0.0)
    reconnect.add(endpoints or [FIRST])
    return reconnect


def test_a_round_tries_every_endpoint_in_order_and_the_next_round_comes_after_a_pause() -> None:
    reconnect = begun(FIRST, SECOND)
    assert reconnect.next_endpoint() is FIRST
    assert reconnect.failed(LOST) is Decision.NEXT_ENDPOINT
    assert reconnect.next_endpoint() is SECOND
    assert reconnect.failed(LOST) is Decision.NEXT_ROUND
    assert reconnect.round_is_over and reconnect.pause(0.0, 1.0) == 0.1


def test_the_pause_counts_from_the_last_attempt() -> None:
    reconnect = begun()
    reconnect.next_endpoint()
    reconnect.failed(LOST)
    assert 0 < reconnect.pause(0.04, 1.0) < 0.07
    assert reconnect.pause(9.0, 1.0) == 0.0


def test_a_refused_login_is_not_tried_again() -> None:
    reconnect = begun(FIRST, SECOND)
    reconnect.next_endpoint()
    assert reconnect.failed(REFUSED) is Decision.GIVE_UP


def accepted(lasted: float, error: NetworkError | SecurityError | ReplacedError) -> tuple[Reconnect, Decision]:
    reconnect = begun(FIRST, SECOND)
    reconnect.next_endpoint()
    reconnect.greeted()
    return reconnect, reconnect.lost(error, 10.0 + lasted, 10.0)


def test_a_good_connection_that_is_lost_is_made_again_from_the_first_endpoint() -> None:
    reconnect, decision = accepted(1.0, LOST)
    assert decision is Decision.COME_BACK and reconnect.round_is_over
    assert reconnect.pause(11.0, 1.0) == pytest.approx(0.1)


def test_a_client_that_was_accepted_for_a_while_doubts_a_refusal() -> None:
    reconnect, _ = accepted(2 * STEADY, LOST)
    reconnect.begin_round(20.0)
    assert [reconnect.failed(REFUSED) for _ in range(DOUBTS)] == [Decision.NEXT_ROUND] * DOUBTS
    assert reconnect.failed(REFUSED) is Decision.GIVE_UP


def test_a_client_that_was_greeted_and_left_at_once_does_not() -> None:
    reconnect, _ = accepted(STEADY / 2, LOST)
    assert reconnect.failed(REFUSED) is Decision.GIVE_UP


def test_a_client_that_was_replaced_gives_up() -> None:
    assert accepted(1.0, REPLACED)[1] is Decision.GIVE_UP


def test_a_connection_that_was_never_greeted_is_a_failed_attempt() -> None:
    reconnect = begun(FIRST, SECOND)
    reconnect.next_endpoint()
    assert reconnect.lost(LOST, 1.0, None) is Decision.NEXT_ENDPOINT


def test_it_is_news_once_that_several_rounds_have_failed() -> None:
    reconnect = begun()
    reconnect.next_endpoint()
    news = []
    for _ in range(PATIENT_ROUNDS + 2):
        reconnect.failed(LOST)
        news.append(reconnect.is_news)
    assert news.count(True) == 1 and news[PATIENT_ROUNDS - 1]
    reconnect.greeted()
    reconnect.failed(LOST)
    assert not reconnect.is_news


def test_the_pauses_of_a_server_that_greets_and_hangs_up_grow() -> None:
    reconnect = begun()
    pauses = []
    for _ in range(4):
        reconnect.greeted()
        reconnect.lost(LOST, 10.0, 10.0)
        pauses.append(reconnect.pause(10.0, 1.0))
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8])


# The pauses


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


def test_the_pause_stays_in_bounds_for_ever() -> None:
    backoff = Backoff()
    pauses = [backoff.next(1.0) for _ in range(5000)]
    assert all(0 < pause <= 30 for pause in pauses) and pauses == sorted(pauses)
