"""Functions that run for longer than the timeout of their service.

The rules of this file:

* A request with a timeout is answered once: by the thread that runs its function, or by the clock when the time is
  over. The first one to take the request out answers it.
* A function whose time is over goes on, and keeps its place in the credit until it returns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from macaque.deadlines import Deadlines
from macaque.job import Job
from macaque.transport import Transport
from mqlight.log import Log

__all__ = ["Overruns"]

log = Log("macaque.worker", BaseException)


class Overruns:
    """The requests of one service that must be done within `seconds`.

    Args:
        on_overrun: called on the clock's thread with a job whose time is over.
    """

    def __init__(self, transport: Transport, seconds: float, on_overrun: Callable[[Job], None]) -> None:
        self.taken = 0
        """The number of places taken by functions whose time is over."""
        self._transport = transport
        self._seconds = seconds
        self._on_overrun = on_overrun
        self._watched: Deadlines[Job] = Deadlines(threading.Lock())
        self._counting = threading.Lock()
        transport.every(self._look)

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, job: Job) -> None:
        """Start the time of a request."""
        at = self._transport.now() + self._seconds
        self._watched.add(job, at)
        self._transport.wake(at)

    def begin(self, job: Job) -> None:
        """Start the time of a request, because its function begins now."""
        job.running = True
        self.watch(job)

    def claim(self, job: Job) -> bool:
        """Take a request out. Return False if the clock has done that: then the request is already answered."""
        return self._watched.take(job)

    def count(self, job: Job) -> int:
        """Count a function whose time is over, unless it has returned. Return the number of places taken."""
        with self._counting:
            if job.running:
                job.counted = True
                self.taken += 1
            taken = self.taken
        if job.counted:
            self._transport.add_credit(job.delivery.subscription, -1)
        return taken

    def warn(self, job: Job, topic: str, taken: int, credit: int) -> None:
        """Log a function whose time is over, with the number of places taken and that of all places."""
        log.warning(
            "%s runs for longer than its timeout of %g s on the request %s from %s. %s. Until the function returns "
            "it takes one of the places (%d of %d are taken)",
            topic, self._seconds, job.request.uuid, job.source,
            "The caller gets an error" if job.request.reply_to else "The attempt counts as failed",
            taken, credit,
        )  # fmt: skip

    def returned(self, job: Job) -> None:
        """Free the place of a function that has returned after its time was over."""
        with self._counting:
            job.running = False
            if job.counted:
                self.taken -= 1
        if job.counted:
            self._transport.add_credit(job.delivery.subscription, 1)

    def _look(self, now: float) -> float | None:
        for job in self._watched.overdue(now):
            self._on_overrun(job)
        return self._watched.next()
