"""The desk of a service: it runs the steps of requests, now or later.

The rules of this file:

* A step is a function that gets the job of its request first.
* If a step raises, its request is given back as a failed attempt. So no request is lost, and no lane ends.
* A later step may block. It has a lane of its own, so that functions that never return do not delay it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from macaque.job import Job
from macaque.transport import Lane

__all__ = ["Desk"]


class Desk:
    """Runs the steps of the requests of one service.

    Args:
        lane: the lane of the later steps.
        rescue: called with a job and its step while the exception of the step is handled. It gives the request back.
    """

    def __init__(self, lane: Lane, rescue: Callable[[Job, Callable[..., object]], None]) -> None:
        self._lane = lane
        self._rescue = rescue

    def step(self, job: Job, step: Callable[..., object], *args: Any) -> None:
        """Call `step(job, *args)`. Raises nothing."""
        try:
            step(job, *args)
        except BaseException:
            self._rescue(job, step)

    def submit(self, job: Job, step: Callable[..., object], *args: Any) -> None:
        """Call `step(job, *args)` later, in the lane."""
        self._lane.submit(self.step, job, step, *args)
