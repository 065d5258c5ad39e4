"""Requests to a broker about its queues, over a pair of links in memory."""

from __future__ import annotations

from typing import Any

import pytest

from amqp.pair import Pair
from mqlight.amqp.message import Message, decode, encode
from mqlight.amqp.types import Condition
from mqlight.dialects.base import AddressError, Answer, Request, Steps
from mqlight.dialects.management import CREDIT, Management


class Broker:
    """A client's management, and the broker's end of its links, which answers when a test says so."""

    def __init__(self, *, credit: int = 100) -> None:
        self.pair = Pair(server={"credit": credit})
        client = self.pair.client
        self.lost: list[Condition] = []
        self.management = Management(client.engine, "/management", self.lost.append)
        client.on_attach = self.management.on_attach  # type: ignore[method-assign]
        self.pair.pump()
        links = [link for (link,) in self.pair.server.all("attach")]
        self.requests, self.answers = sorted(links, key=lambda link: not link.receiver)
        self.told: list[Answer] = []
        self.ended: list[Condition | None] = []

    def run(self, *requests: Request) -> None:
        def steps() -> Steps:
            for request in requests:
                self.told.append((yield request))

        self.management.run(steps(), self.ended.append)
        self.pair.pump()

    @property
    def heard(self) -> list[Message]:
        return [decode(data) for data in self.pair.server.messages]

    def answer(self, number: object, status: str, body: Any = None) -> None:
        data = encode(Message(body=body, subject=status, correlation_id=number))  # type: ignore[arg-type]
        self.answers.send(data, None, True)
        self.pair.pump()


FIRST, SECOND = Request("PUT", "/queues/a", {"durable": True}), Request("POST", "/bindings", {"queue": "a"})


def test_a_request_has_its_method_as_subject_its_path_as_address_and_a_number() -> None:
    broker = Broker()
    broker.run(FIRST)
    (request,) = broker.heard
    assert (request.subject, request.to, request.body) == ("PUT", "/queues/a", {"durable": True})
    assert (request.message_id, request.reply_to) == (1, "$me")


def test_each_step_is_told_its_answer_before_the_next_is_asked_for() -> None:
    broker = Broker()
    broker.run(FIRST, SECOND)
    assert len(broker.heard) == 1 and broker.ended == []
    broker.answer(1, "201", {"name": "a"})
    assert [request.subject for request in broker.heard] == ["PUT", "POST"] and broker.ended == []
    broker.answer(2, "204")
    assert broker.told == [Answer(201, {"name": "a"}), Answer(204, None)] and broker.ended == [None]


def test_answers_find_their_steps_by_number_in_any_order() -> None:
    broker = Broker()
    broker.run(FIRST)
    broker.run(SECOND)
    broker.answer(2, "204", "second")
    broker.answer(1, "201", "first")
    assert [answer.body for answer in broker.told] == ["second", "first"]


def test_steps_that_are_refused_end_with_the_condition() -> None:
    broker = Broker()

    def steps() -> Steps:
        yield FIRST
        raise AddressError("no room", "amqp:precondition-failed")

    broker.management.run(steps(), broker.ended.append)
    broker.pair.pump()
    broker.answer(1, "409")
    assert broker.ended == [Condition("amqp:precondition-failed", "no room")]


@pytest.mark.parametrize(("number", "status"), [(9, "200"), ("1", "200"), (1, "soon"), (None, "200")])
def test_an_answer_that_makes_no_sense_is_nobodys(number: object, status: str) -> None:
    broker = Broker()
    broker.run(FIRST)
    broker.answer(number, status)
    assert broker.told == [] and broker.ended == []
    broker.answer(1, "200")
    assert broker.ended == [None]


def test_requests_wait_for_credit() -> None:
    broker = Broker(credit=0)
    broker.run(FIRST)
    broker.run(SECOND)
    assert broker.heard == []
    broker.requests.flow(1)
    broker.pair.pump()
    assert [request.subject for request in broker.heard] == ["PUT"]
    broker.requests.flow(1)
    broker.pair.pump()
    assert len(broker.heard) == 2


def test_credit_for_answers_does_not_run_out() -> None:
    broker = Broker()
    for number in range(1, 2 * CREDIT):
        broker.run(FIRST)
        broker.answer(number, "200")
    assert len(broker.told) == len(broker.ended) == 2 * CREDIT - 1


def test_the_loss_of_the_links_is_told_once_with_its_reason() -> None:
    broker = Broker()
    broker.run(FIRST)
    gone = Condition("amqp:not-found", "the node is gone")
    for link in broker.requests, broker.answers:
        link.detach(condition=gone)
    broker.pair.pump()
    assert broker.lost == [gone] and broker.ended == []
