from __future__ import annotations

from typing import Any

from macaque.desk import Desk
from macaque.job import Job
from outcomes import Delivery


class Lane:
    """A lane whose functions wait until they are run."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Any, tuple[Any, ...]]] = []

    def submit(self, function: Any, *args: Any) -> None:
        self.waiting.append((function, args))

    def run(self) -> None:
        for function, args in self.waiting:
            function(*args)


def test_a_step_is_run_now_or_later() -> None:
    lane, done, delivery = Lane(), [], Delivery()
    job = Job(delivery)  # type: ignore[arg-type]
    desk = Desk(lane, lambda job, step: None)
    desk.submit(job, lambda job, word: done.append((job, word)), "later")
    desk.step(job, lambda job, word: done.append((job, word)), "now")
    assert done == [(job, "now")]
    lane.run()
    assert done == [(job, "now"), (job, "later")]


def test_a_request_whose_step_raises_is_rescued() -> None:
    lane, rescued, delivery = Lane(), [], Delivery()
    job = Job(delivery)  # type: ignore[arg-type]
    desk = Desk(lane, lambda job, step: rescued.append((job, step)))

    def fail(job: Job) -> None:
        raise SystemExit

    desk.step(job, fail)
    desk.submit(job, fail)
    lane.run()
    assert rescued == [(job, fail)] * 2
