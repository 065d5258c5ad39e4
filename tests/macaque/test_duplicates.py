from __future__ import annotations

from typing import Any

import msgspec
import pytest

from macaque.duplicates import Duplicates
from macaque.envelope import BareRequest, Fault, Request, decode_reply
from macaque.job import Job
from outcomes import Delivery, World


class Twice(World):
    """A first request, and others that are the same."""

    def __init__(self, *, claimed: bool = True) -> None:
        super().__init__()
        self.duplicates = Duplicates(60.0, self.now, self.replies, self, lambda job: claimed)

    def another(self, request: Request | None = None) -> Job:
        delivery: Any = Delivery()
        job = Job(delivery)
        job.request = request or Request("u-1", None, "response/me")
        return job

    def answers(self, job: Job) -> list[str]:
        return job.delivery.answers  # type: ignore[attr-defined, no-any-return]


RESULT = msgspec.Raw(b'"done"')


def test_a_request_that_waits_gets_the_answer_of_the_first_and_so_does_one_that_comes_later() -> None:
    world = Twice()
    assert world.duplicates.begin(world.job)
    assert not world.duplicates.begin(world.another())
    world.duplicates.end(world.job, RESULT, 6)
    assert not world.duplicates.begin(world.another())
    assert [decode_reply(reply).data for reply, _ in world.sent] == ["done", "done"]


@pytest.mark.parametrize(
    "fault, remembered",
    [
        (Fault(500, "no", "KeyError"), True),
        (Fault(503, "busy", None, None, True), False),
        (Fault("exit", "bye", "SystemExit"), False),
    ],
)
def test_an_error_is_remembered_unless_the_next_run_may_do_better(fault: Fault, remembered: bool) -> None:
    world = Twice()
    assert world.duplicates.begin(world.job)
    assert not world.duplicates.begin(world.another())
    world.duplicates.end(world.job, fault, 10)
    assert len(world.sent) == 1
    assert world.duplicates.begin(world.another()) is not remembered


def test_a_first_request_that_came_to_nothing_sends_the_others_back_and_leaves_no_key() -> None:
    world, other = Twice(), Twice().another()
    world.duplicates.begin(world.job)
    world.duplicates.begin(other)
    world.duplicates.end(world.job, None, 0)
    world.duplicates.end(world.job, RESULT, 6)
    assert world.answers(other) == ["released"] and world.sent == []
    assert world.duplicates.begin(world.another())


def test_a_one_way_message_that_waits_is_done_with_the_first_or_tried_by_itself() -> None:
    for answer, settled in ((RESULT, "accepted"), (Fault(500, "no", "KeyError"), "released")):
        world, other = Twice(), Twice().another(Request("u-1", None))
        world.duplicates.begin(world.job)
        world.duplicates.begin(other)
        world.duplicates.end(world.job, answer, 6)
        assert world.answers(other) == [settled]


def test_a_request_whose_time_is_over_or_that_has_left_is_not_answered() -> None:
    late = Twice(claimed=False)
    late.duplicates.begin(late.job)
    late.duplicates.begin(late.another())
    late.duplicates.end(late.job, RESULT, 6)
    left = Twice()
    left.duplicates.begin(left.job)
    other = left.another()
    left.duplicates.begin(other)
    left.duplicates.leave(other)
    left.duplicates.end(left.job, RESULT, 6)
    assert late.sent == left.sent == []


def test_a_bare_request_without_an_id_is_always_run() -> None:
    world = Twice()
    for _ in range(2):
        job = world.another(BareRequest("", None, "answers"))
        assert world.duplicates.begin(job)
        world.duplicates.leave(job)
        world.duplicates.end(job, RESULT, 6)
    assert world.sent == []
