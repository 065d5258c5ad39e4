"""The surroundings of a service's replies and dead letters, for outcomes that no broker of the tests gives."""

from __future__ import annotations

import time
from typing import Any

from macaque.envelope import Request
from macaque.job import Job
from macaque.replies import Replies
from mqlight.amqp.types import Condition, Outcome

FULL = Condition("amqp:resource-limit-exceeded", "the queue is full")
LARGE = Condition("amqp:link:message-size-exceeded", "it is too large")


class Delivery:
    """One that remembers how it was answered."""

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.message = b"the request"

    def accept(self) -> bool:
        self.answers.append("accepted")
        return True

    def release(self) -> bool:
        self.answers.append("released")
        return True

    def reject(self, condition: str, description: str) -> bool:
        assert condition == "amqp:decode-error"
        self.answers.append(f"rejected: {description}")
        return True


class World:
    """The transport, desk and retry queue of `Replies`: `tell` gives the outcome of the message that was sent last."""

    def __init__(self, deadline: float | None = 1e12) -> None:
        self.full = False
        self.sent: list[tuple[bytes, Any]] = []
        self.held: list[tuple[float, Any, Any]] = []
        self.delivery = Delivery()
        self.job = Job(self.delivery)  # type: ignore[arg-type]
        self.job.request = Request("u-1", None, "response/me")
        self.job.deadline = deadline
        self.replies = Replies(self, self, self)  # type: ignore[arg-type]

    def now(self) -> float:
        return time.monotonic()

    def publish(
        self, topic: str, message: bytes, *, mandatory: bool, on_outcome: Any, timeout: float | None = None
    ) -> None:
        assert topic in ("response/me", "macaque/dead/work") and mandatory
        self.sent.append((message, on_outcome))

    def step(self, job: Job, function: Any, *args: Any) -> None:
        function(job, *args)

    submit = step

    def hold(self, delivery: Any, seconds: float, then: Any, leaving: Any) -> None:
        self.held.append((seconds, then, leaving))

    def tell(self, outcome: Outcome, condition: Condition | None = None) -> None:
        self.sent[-1][1](outcome, condition)

    def wait(self) -> float:
        seconds, then, _ = self.held.pop()
        then()
        return float(seconds)
