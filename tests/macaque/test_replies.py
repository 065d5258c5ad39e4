"""Replies by the outcome that the broker gives, also outcomes that no broker of the tests gives."""

from __future__ import annotations

import logging

import pytest

from macaque.envelope import Fault, decode_reply
from mqlight.amqp.types import Condition, Outcome
from outcomes import FULL, LARGE, World


def test_a_reply_that_was_taken_settles_its_request() -> None:
    world = World()
    world.replies.send(world.job, b"reply")
    assert world.delivery.answers == []
    world.tell(Outcome.ACCEPTED)
    assert world.delivery.answers == ["accepted"]


@pytest.mark.parametrize(
    "outcome, condition",
    [
        (Outcome.MODIFIED, None),
        (Outcome.RELEASED, None),
        (Outcome.REJECTED, None),
        (Outcome.REJECTED, Condition("")),
        (Outcome.REJECTED, FULL),
        (Outcome.REJECTED, Condition("amqp:internal-error", "a node is starting")),
    ],
)
def test_a_reply_that_cannot_be_taken_for_now_is_sent_again_after_longer_and_longer_pauses(
    outcome: Outcome, condition: Condition | None
) -> None:
    world = World()
    world.replies.send(world.job, b"reply")
    pauses = []
    for _ in range(3):
        world.tell(outcome, condition)
        pauses.append(world.wait())
    assert [message for message, _ in world.sent] == [b"reply"] * 4
    assert 0.25 <= pauses[0] <= 0.5 <= pauses[1] <= 1.0 <= pauses[2] <= 2.0
    assert world.delivery.answers == []
    world.tell(Outcome.ACCEPTED)
    assert world.delivery.answers == ["accepted"]


@pytest.mark.parametrize(
    "outcome, said",
    [
        (Outcome.REJECTED, "the reply to u-1 for response/me was not accepted in time"),
        (Outcome.MODIFIED, "the broker released it"),
        (Outcome.RELEASED, "no client was subscribed"),
    ],
)
def test_a_reply_is_given_up_when_its_caller_waits_no_more(
    outcome: Outcome, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(deadline=0.0)
    world.replies.send(world.job, b"reply")
    world.tell(outcome, FULL if outcome is Outcome.REJECTED else None)
    assert world.held == [] and world.delivery.answers == ["accepted"]
    assert said in caplog.text


def test_a_caller_that_is_gone_takes_up_no_credit_and_one_whose_queue_is_full_does() -> None:
    for outcome, answers in ((Outcome.RELEASED, ["accepted"]), (Outcome.MODIFIED, [])):
        world = World()
        world.full = True
        world.replies.send(world.job, b"reply")
        world.tell(outcome)
        assert world.delivery.answers == answers


@pytest.mark.parametrize("outcome, answer", [(Outcome.RELEASED, "accepted"), (Outcome.MODIFIED, "released")])
def test_what_waits_when_the_server_leaves_goes_to_another_one_unless_its_caller_is_gone(
    outcome: Outcome, answer: str
) -> None:
    world = World()
    world.replies.send(world.job, b"reply")
    world.tell(outcome)
    world.held[0][2]()
    assert world.delivery.answers == [answer]


def test_a_reply_that_will_never_be_taken_is_replaced_by_the_reason_once() -> None:
    world = World()
    world.replies.send(world.job, b"reply")
    world.tell(Outcome.REJECTED, LARGE)
    error = decode_reply(world.sent[1][0]).error
    assert error is not None and (error.code, error.type) == (500, LARGE.name)
    assert world.delivery.answers == []
    world.tell(Outcome.MODIFIED)
    world.wait()
    world.tell(Outcome.REJECTED, LARGE)
    assert len(world.sent) == 3 and world.delivery.answers == ["accepted"]


def test_a_reply_that_is_told_to_have_been_stopped_leaves_its_request_to_another_server() -> None:
    world = World()
    world.replies.send(world.job, b"reply")
    world.tell(Outcome.RELEASED, Condition("amqp:connection:forced", "the client was stopped"))
    assert world.held == [] and world.delivery.answers == []


def test_an_error_whose_details_cannot_be_sent_is_replaced_by_one_that_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    with caplog.at_level(logging.ERROR):
        world.replies.send_fault(world.job, Fault(400, "wrong", details=object()))
    error = decode_reply(world.sent[0][0]).error
    assert error is not None and (error.code, error.type) == (500, "TypeError")
    assert "cannot be sent" in caplog.text
