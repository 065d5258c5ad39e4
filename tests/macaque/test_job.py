from __future__ import annotations

import pytest

from macaque.envelope import Request
from outcomes import World


@pytest.mark.parametrize("wrong, answers", [(None, ["accepted"]), ("no JSON", ["rejected: no JSON"])])
def test_a_job_is_settled_as_done_or_as_no_request(wrong: str | None, answers: list[str]) -> None:
    world = World()
    world.job.wrong = wrong
    world.job.settle()
    assert world.delivery.answers == answers


@pytest.mark.parametrize(
    "request_, source",
    [
        (Request("u", 1, "response/me"), "response/me"),
        (Request("u", 1, None, source="me"), "me"),
        (Request("u", 1), None),
    ],
)
def test_a_job_knows_who_sent_its_request(request_: Request, source: str | None) -> None:
    world = World()
    world.job.request = request_
    assert world.job.source == source
