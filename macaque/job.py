"""One delivery at work: the request in it, what is known about it, and how it is settled in the end."""

from __future__ import annotations

from collections.abc import Hashable

from macaque.envelope import Request
from mqlight.delivery import Delivery

__all__ = ["Job"]


class Job:
    """A delivery, from when it is taken until it is settled. Times are in seconds of the monotonic clock.

    What is the same for nearly every job stands in the class, which costs the path of the messages nothing.
    """

    request: Request
    count = 0
    """Attempts that failed before."""
    deadline: float | None = None
    """Until when its caller waits; None: it did not say."""
    key: Hashable | None = None
    """Set while others wait for the answer to this request, because theirs is the same."""
    began = 0.0
    running = False
    """Its function was begun and has not returned."""
    counted = False
    """It is counted among the functions that take a place although their time is over."""
    refusals = 0
    """How often the broker could not take the reply."""
    refused_at = 0.0
    """When it did so first."""
    explained = False
    """The caller was sent the reason why its reply was rejected."""
    wrong: str | None = None
    """Why the message is no request, so that it is rejected in the end."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery

    @property
    def source(self) -> str | None:
        """Who sent the request."""
        return self.request.source or self.request.reply_to

    def settle(self) -> None:
        """The broker has taken the reply, or there is none: it may forget the message."""
        if self.wrong is None:
            self.delivery.accept()
        else:
            self.delivery.reject("amqp:decode-error", self.wrong)
