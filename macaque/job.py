"""One delivery in progress: its request, the facts about it, and its settlement."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from macaque.context import Home
from macaque.envelope import Request
from macaque.traces import Trace
from mqlight.amqp.types import Condition, Outcome
from mqlight.delivery import Delivery

__all__ = ["Job"]

_ACCEPTED = Outcome.ACCEPTED  # looked up once, because looking up a member of an enum is slow


class Job:
    """A delivery, from its arrival until its settlement. Times are in seconds of the monotonic clock.

    Attributes with the same value in nearly every job are class attributes, so that they cost no time for each message.
    """

    home: Home
    """The service that works on the request."""
    request: Request
    reply: bytes
    """The last reply that was sent, an AMQP message."""
    on_refused: Callable[[Job, Outcome, Condition | None], None]
    """Called when the broker has not accepted the reply."""
    count = 0
    """The number of earlier attempts, all of which failed."""
    deadline: float | None = None
    """The time until which the caller waits; None if the caller did not set it."""
    key: Hashable | None = None
    """The key of this request while repeated requests wait for its result; otherwise None."""
    outgoing: Trace | None = None
    """The trace for the calls that the function makes, once one was made."""
    span: Any = None
    """The span of OpenTelemetry; None without one."""
    began = 0.0
    running = False
    """Whether the function has begun and has not returned."""
    counted = False
    """Whether the job counts among the functions that take a place after their time is over."""
    cancel: Callable[[], object] | None = None
    """Stops the function. None for a plain function, which cannot be stopped."""
    unwanted = False
    """Whether the function was stopped, so that there is no reply."""
    sent: int | None = None
    """The number of parts that were sent, if the reply is a stream."""
    refusals = 0
    """The number of times that the broker did not take the reply."""
    refused_at = 0.0
    """The time of the first refusal."""
    explained = False
    """Whether the caller was sent the reason why its reply was rejected."""
    wrong: str | None = None
    """The reason why the message is not a request, so that it is rejected in the end."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery

    @property
    def message(self) -> bytes:
        """The AMQP message of the request."""
        return self.delivery.message

    @property
    def source(self) -> str | None:
        """The client that sent the request."""
        return self.request.source or self.request.reply_to

    def settle(self) -> None:
        """Settle the request, because the broker has accepted its reply or there is no reply."""
        if self.wrong is None:
            self.delivery.accept()
        else:
            self.delivery.reject("amqp:decode-error", self.wrong)

    def on_outcome(self, outcome: Outcome, condition: Condition | None) -> None:
        """Take the outcome of the reply. Runs under the connection's lock."""
        if outcome is _ACCEPTED and self.wrong is None:
            self.delivery.accept()
        elif outcome is _ACCEPTED:
            self.settle()
        else:
            self.on_refused(self, outcome, condition)
