from __future__ import annotations

import pytest

from amqp.pair import Pair
from mqlight.amqp.capabilities import Marks
from mqlight.amqp.message import Message, encode, header
from mqlight.amqp.types import Condition, Outcome
from mqlight.delivery import Delivery, hand_over
from mqlight.subscription import Subscription

FIRST, AGAIN = (header(None, count, first_acquirer=not count) + encode(Message(body="x", to="t")) for count in (0, 1))


class Origin:
    """Hears what a delivery says of itself."""

    def __init__(self) -> None:
        self.begun = 0
        self.settled: list[tuple[Outcome | None, Condition | None]] = []

    def begin(self, delivery: Delivery) -> None:
        self.begun += 1

    def settle(self, delivery: Delivery, outcome: Outcome | None, condition: Condition | None) -> bool:
        self.settled.append((outcome, condition))
        return True


def delivery(origin: Origin, message: bytes = FIRST, *, settled: bool = False, marks: Marks = Marks.NONE) -> Delivery:
    ours, _ = Pair().receiver()
    subscription = Subscription("t", None, qos=1, ttl=0, credit=1, on_message=lambda *message: None, on_subscribed=None)
    subscription.marks_granted = marks
    return Delivery(origin, subscription, ours, 0, message, settled)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [("accept", Outcome.ACCEPTED), ("release", Outcome.RELEASED), ("fail", Outcome.MODIFIED)],
)
def test_it_is_answered_once(answer: str, outcome: Outcome) -> None:
    origin = Origin()
    made = delivery(origin)
    assert getattr(made, answer)()
    assert not made.accept() and not made.fail()
    assert origin.settled == [(outcome, None)]


@pytest.mark.parametrize(("answer", "outcome"), [(None, Outcome.ACCEPTED), ("fail", Outcome.MODIFIED)])
def test_a_function_that_returns_true_accepts_its_delivery_unless_it_answered(
    answer: str | None, outcome: Outcome
) -> None:
    origin = Origin()

    def work(delivery: Delivery) -> bool:
        return answer is None or bool(getattr(delivery, answer)())

    hand_over(delivery(origin), work)
    assert origin.settled == [(outcome, None)]


def test_a_delivery_that_was_let_go_cannot_be_answered() -> None:
    origin = Origin()
    made = delivery(origin)
    assert made.let_go()
    assert not made.let_go() and not made.accept()
    assert origin.settled == []


@pytest.mark.parametrize(("answered", "outcome"), [(False, Outcome.MODIFIED), (True, Outcome.ACCEPTED)])
def test_a_function_that_raises_has_failed_its_delivery_unless_it_answered(answered: bool, outcome: Outcome) -> None:
    origin = Origin()

    def work(delivery: Delivery) -> None:
        if answered:
            delivery.accept()
        raise KeyError("a fault of the function")

    with pytest.raises(KeyError, match="a fault of the function"):
        hand_over(delivery(origin), work)
    assert origin.settled == [(outcome, None)]


def test_a_rejection_says_why() -> None:
    origin = Origin()
    assert delivery(origin).reject("amqp:decode-error", "no text")
    assert origin.settled == [(Outcome.REJECTED, Condition("amqp:decode-error", "no text"))]


def test_one_that_came_settled_has_no_outcome_and_makes_room() -> None:
    origin = Origin()
    assert delivery(origin, settled=True).fail()
    assert origin.settled == [(None, None)]


@pytest.mark.parametrize(
    ("marks", "message", "told"),
    [
        (Marks.NONE, AGAIN, 0),
        (Marks.REDELIVERED, FIRST, 0),
        (Marks.REDELIVERED, AGAIN, 1),
        (Marks.EVERY, FIRST, 1),
        (Marks.EVERY, AGAIN, 1),
    ],
)
def test_the_server_is_told_that_work_begins_where_it_counts(marks: Marks, message: bytes, told: int) -> None:
    origin = Origin()
    delivery(origin, message, marks=marks).begin()
    delivery(origin, message, marks=marks, settled=True).begin()
    assert origin.begun == told


def test_once_it_is_answered_its_beginning_is_told_to_nobody() -> None:
    origin = Origin()
    made = delivery(origin, marks=Marks.EVERY)
    made.accept()
    made.begin()
    assert origin.begun == 0


def test_it_is_stale_when_its_link_is_gone() -> None:
    made = delivery(Origin())
    assert not made.stale
    made.link.closed = True
    assert made.stale
