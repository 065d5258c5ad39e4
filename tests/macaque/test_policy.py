"""The decisions about a request, without a broker, a thread or a clock."""

from __future__ import annotations

from typing import Any

import pytest

from macaque.envelope import Fault
from macaque.faults import EXIT
from macaque.policy import (
    ABSENCE,
    PATIENCE,
    STRANGER,
    Admission,
    AfterLetter,
    AfterReply,
    ReplyAttempt,
    admit,
    after_dead_letter,
    after_failure,
    after_reply,
    is_lasting,
)
from mqlight.amqp.types import Condition, Outcome

ACCEPTED, REJECTED, RELEASED, MODIFIED = Outcome.ACCEPTED, Outcome.REJECTED, Outcome.RELEASED, Outcome.MODIFIED
FULL = Condition("amqp:resource-limit-exceeded", "the queue is full")
LARGE = Condition("amqp:link:message-size-exceeded", "it is too large")
STOPPED = Condition("amqp:connection:forced", "the client was stopped")


def admitted(**more: Any) -> tuple[Admission, float | None]:
    facts: dict[str, Any] = {
        "ttl": None, "expires": None, "count": 0, "most": 5, "arrived": 100.0, "now": 100.0, "wall": 1e12
    }  # fmt: skip
    return admit(**{**facts, **more})


# Admission


def test_a_request_without_a_deadline_is_run() -> None:
    assert admitted() == (Admission.RUN, None)


@pytest.mark.parametrize(
    "now, decision", [(100.0, Admission.RUN), (102.0, Admission.RUN), (102.001, Admission.EXPIRED)]
)
def test_a_deadline_is_what_was_left_of_the_time_to_live_when_the_request_arrived(
    now: float, decision: Admission
) -> None:
    assert admitted(ttl=2000, now=now) == (decision, 102.0)


def test_a_time_to_live_counts_more_than_the_clock_of_the_caller() -> None:
    assert admitted(ttl=2000, expires=0.0) == (Admission.RUN, 102.0)


@pytest.mark.parametrize("expires, decision", [(1e12 + 1000, Admission.RUN), (1e12 - 1000, Admission.EXPIRED)])
def test_without_a_time_to_live_the_clock_of_the_caller_counts(expires: float, decision: Admission) -> None:
    assert admitted(expires=expires) == (decision, 100.0 + (expires - 1e12) / 1000)


def test_a_time_to_live_of_nothing_is_none() -> None:
    assert admitted(ttl=0) == (Admission.RUN, None)


@pytest.mark.parametrize(
    "count, most, decision",
    [
        (0, 1, Admission.RUN),
        (1, 1, Admission.UNDELIVERABLE),
        (4, 5, Admission.RUN),
        (5, 5, Admission.UNDELIVERABLE),
        (7, 5, Admission.UNDELIVERABLE),
    ],
)
def test_a_request_is_run_as_often_as_its_service_allows(count: int, most: int, decision: Admission) -> None:
    assert admitted(count=count, most=most)[0] is decision


def test_a_request_that_is_late_and_failed_every_attempt_is_late() -> None:
    assert admitted(ttl=1, now=200.0, count=9)[0] is Admission.EXPIRED


# A one-way message that failed


@pytest.mark.parametrize("count, pause", [(0, 0.5), (1, 1.0), (2, 2.0), (3, 4.0)])
def test_a_message_whose_function_raises_is_tried_again_later_each_time(count: int, pause: float) -> None:
    assert after_failure(Fault(500, "no", "KeyError"), count, 5, 0.0) == ("KeyError: no", count + 1, pause)


def test_chance_takes_up_to_half_of_a_pause() -> None:
    assert after_failure(Fault(500, "no", "KeyError"), 0, 5, 1.0).pause == 0.25


def test_the_last_attempt_is_followed_by_a_dead_letter() -> None:
    assert after_failure(Fault(500, "no", "KeyError"), 4, 5, 0.0) == ("KeyError: no", 5, None)


@pytest.mark.parametrize("retryable, pause", [(False, None), (True, 0.5)])
def test_an_abort_is_final_unless_it_is_retryable(retryable: bool, pause: float | None) -> None:
    assert after_failure(Fault(404, "gone", None, None, retryable), 0, 5, 0.0) == ("gone", 1, pause)


# Idempotency


@pytest.mark.parametrize(
    "fault, wanted, lasting",
    [
        (None, True, True),
        (None, False, True),
        (Fault(500, "no", "KeyError"), True, True),
        (Fault(500, "no", "KeyError"), False, False),
        (Fault(503, "busy", retryable=True), True, False),
        (Fault(EXIT, "bye", "SystemExit"), True, False),
    ],
)
def test_an_end_is_remembered_unless_the_next_run_may_do_better(
    fault: Fault | None, wanted: bool, lasting: bool
) -> None:
    assert is_lasting(fault, wanted) is lasting


# A reply that was not accepted


def tried(**more: Any) -> ReplyAttempt:
    facts: dict[str, Any] = {"refusals": 1, "since": 100.0, "deadline": 110.0, "explained": False, "full": False}
    return ReplyAttempt(**{**facts, **more})


def replied(
    outcome: Outcome, condition: Condition | None = None, now: float = 100.0, **more: Any
) -> tuple[AfterReply, float]:
    return after_reply(outcome, condition, tried(**more), now, 0.0)


@pytest.mark.parametrize(
    "outcome, condition",
    [(MODIFIED, None), (RELEASED, None), (REJECTED, None), (REJECTED, Condition("")), (REJECTED, FULL)],
)
def test_a_reply_that_may_be_taken_later_is_sent_again(outcome: Outcome, condition: Condition | None) -> None:
    assert replied(outcome, condition) == (AfterReply.AGAIN, 0.5)
    assert replied(outcome, condition, refusals=3) == (AfterReply.AGAIN, 2.0)


@pytest.mark.parametrize("outcome", [MODIFIED, RELEASED])
def test_a_reply_is_given_up_when_the_next_attempt_would_be_too_late(outcome: Outcome) -> None:
    assert replied(outcome, now=109.4) == (AfterReply.AGAIN, 0.5)
    assert replied(outcome, now=109.6)[0] is AfterReply.GIVE_UP


def test_a_caller_that_is_gone_may_come_back_for_a_minute() -> None:
    assert replied(RELEASED, now=100.0 + ABSENCE - 1, deadline=1e9)[0] is AfterReply.AGAIN
    assert replied(RELEASED, now=100.0 + ABSENCE, deadline=1e9)[0] is AfterReply.GIVE_UP
    assert replied(MODIFIED, now=100.0 + ABSENCE, deadline=1e9)[0] is AfterReply.AGAIN


@pytest.mark.parametrize("outcome, patience", [(RELEASED, STRANGER), (MODIFIED, PATIENCE)])
def test_a_caller_that_has_not_said_how_long_it_waits_is_waited_for_a_while(outcome: Outcome, patience: float) -> None:
    assert replied(outcome, now=100.0 + patience - 1, deadline=None)[0] is AfterReply.AGAIN
    assert replied(outcome, now=100.0 + patience, deadline=None)[0] is AfterReply.GIVE_UP


def test_a_caller_that_is_gone_takes_up_no_credit_of_others() -> None:
    assert replied(RELEASED, full=True)[0] is AfterReply.GIVE_UP
    assert replied(MODIFIED, full=True)[0] is AfterReply.AGAIN


def test_a_reply_that_will_never_be_taken_is_replaced_by_the_reason_once() -> None:
    assert replied(REJECTED, LARGE)[0] is AfterReply.EXPLAIN
    assert replied(REJECTED, LARGE, explained=True)[0] is AfterReply.GIVE_UP


def test_a_reply_that_a_full_queue_refused_until_the_deadline_is_given_up() -> None:
    assert replied(REJECTED, FULL, now=110.0)[0] is AfterReply.GIVE_UP


def test_a_reply_of_a_connection_that_was_given_up_leaves_its_request_to_another_server() -> None:
    assert replied(RELEASED, STOPPED)[0] is AfterReply.LEAVE


# A dead letter


@pytest.mark.parametrize(
    "outcome, condition, whole, decision",
    [
        (ACCEPTED, None, True, AfterLetter.KEPT),
        (RELEASED, STOPPED, True, AfterLetter.LEAVE),
        (REJECTED, LARGE, True, AfterLetter.SHORTEN),
        (REJECTED, LARGE, False, AfterLetter.LATER),
        (REJECTED, FULL, True, AfterLetter.LATER),
        (RELEASED, None, True, AfterLetter.LATER),
        (MODIFIED, None, True, AfterLetter.LATER),
    ],
)
def test_a_dead_letter_is_kept_or_its_request_stays_one(
    outcome: Outcome, condition: Condition | None, whole: bool, decision: AfterLetter
) -> None:
    assert after_dead_letter(outcome, condition, whole) is decision
