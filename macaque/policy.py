"""The decisions about a request: whether it is run, and how its failure, its reply and its dead letter are handled.

The rules of this file:

* A request whose caller no longer waits is dropped. A request that failed `max_deliveries` attempts is a dead letter.
* A one-way message that failed is tried again later, unless its function says that another attempt is of no use.
* The broker may not take a reply for the moment: its queue or disk is full, or the caller has lost its connection. Such
  a reply is sent again, after longer and longer pauses, until its caller no longer waits.
* A reply that the broker will never take, because of its size for example, is replaced by the reason, once.
* A dead letter that is too large for the broker is sent without the request. If the broker does not keep a dead letter
  for the moment, the request stays a request and goes back later.
* If the broker cannot be told, the request stays unsettled: another server gets it.

Pure: times are seconds of the monotonic clock unless stated otherwise. Time and chance are arguments.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from macaque.envelope import Fault
from macaque.faults import EXIT
from macaque.retries import delay
from mqlight.amqp.types import Condition, Outcome

__all__ = [
    "ABSENCE",
    "PATIENCE",
    "STRANGER",
    "Admission",
    "AfterFailure",
    "AfterLetter",
    "AfterReply",
    "ReplyAttempt",
    "admit",
    "after_dead_letter",
    "after_failure",
    "after_reply",
    "is_lasting",
]

PATIENCE = 30.0
"""Seconds for which a caller counts as waiting if it has set no deadline."""
ABSENCE = 60.0
"""Seconds in which a caller may come back after its topic is gone, as after a restart of the broker."""
STRANGER = 3.0
"""The same for a caller that has set no deadline."""
TOO_LARGE = "amqp:link:message-size-exceeded"
_PASSING = ("", "amqp:resource-limit-exceeded", "amqp:internal-error", "amqp:illegal-state")
"""Conditions of a rejection that may be over in a moment. RabbitMQ gives no condition if a queue is full."""


class Admission(enum.Enum):
    """The decision about a request that has arrived."""

    RUN = "run"
    EXPIRED = "expired"
    UNDELIVERABLE = "undeliverable"
    """The request failed every delivery attempt."""


_RUN = Admission.RUN  # looked up once, because looking up a member of an enum is slow


def admit(
    ttl: int | None, expires: float | None, count: int, most: int, arrived: float, now: float, wall: float
) -> tuple[Admission, float | None]:
    """Decide about a request. Return the decision and the deadline; the deadline is None if the caller set none.

    Args:
        ttl: milliseconds that were left of its time to live when the request arrived.
        expires: when the request expires by the caller's clock, in ms since 1970. Used only if there is no `ttl`.
        count: the number of failed delivery attempts.
        most: the number of delivery attempts that its service allows.
        arrived: when the request arrived.
        now: the time.
        wall: the time by this machine's clock, in ms since 1970.
    """
    deadline: float | None = None
    if ttl:
        deadline = arrived + ttl / 1000
    elif expires is not None:
        deadline = arrived + (expires - wall) / 1000
    if deadline is not None and now > deadline:
        return Admission.EXPIRED, deadline
    if count and count >= most:
        return Admission.UNDELIVERABLE, deadline
    return _RUN, deadline


class AfterFailure(NamedTuple):
    """The decision about a one-way message whose function failed: a dead letter, or another attempt."""

    reason: str
    attempts: int
    """The number of failed attempts, including this one."""
    pause: float | None
    """Seconds until the next attempt; None if there is no next attempt."""


def after_failure(fault: Fault, count: int, most: int, chance: float) -> AfterFailure:
    """Decide about a one-way message that failed.

    Args:
        count: the number of attempts that failed before.
        most: the number of attempts that the service allows.
        chance: a random number from 0 to 1.
    """
    reason = fault.message if fault.type is None else f"{fault.type}: {fault.message}"
    count += 1
    final = fault.type is None and not fault.retryable
    return AfterFailure(reason, count, None if final or count >= most else delay(count, chance))


def is_lasting(fault: Fault | None, wanted: bool) -> bool:
    """Return whether the result of a request is remembered for repeated requests.

    The failure of a one-way message is not remembered, because the message is tried again. Nor is an error that may not
    happen again in the next run. `wanted`: the caller waits for the reply.
    """
    return fault is None or wanted and not fault.retryable and fault.code != EXIT


class AfterReply(enum.Enum):
    """The decision about a request whose reply the broker did not take."""

    LEAVE = "leave"
    """Do nothing: another server gets the request."""
    AGAIN = "again"
    EXPLAIN = "explain"
    GIVE_UP = "give up"
    """Settle the request without a reply."""


class ReplyAttempt(NamedTuple):
    """A failed attempt to send a reply."""

    refusals: int
    """The number of times that the broker did not take the reply, including this one."""
    since: float
    """The time of the first refusal."""
    deadline: float | None
    """The time until which the caller waits; None if the caller did not set it."""
    explained: bool
    """Whether this reply is the reason why an earlier reply was not taken."""
    full: bool
    """Whether the waiting replies take up the credit of the service."""


def after_reply(
    outcome: Outcome, condition: Condition | None, tried: ReplyAttempt, now: float, chance: float
) -> tuple[AfterReply, float]:
    """Decide about a reply that was not accepted. Return the decision and, for `AGAIN`, the pause in seconds."""
    nobody = outcome is Outcome.RELEASED
    if nobody and condition is not None:  # the connection's own outcome, when it is given up
        return AfterReply.LEAVE, 0.0
    refused = outcome is Outcome.REJECTED and condition is not None and condition.name not in _PASSING
    if not refused and not (nobody and tried.full):  # a caller that is gone for good must not delay other callers
        until = tried.deadline
        if nobody:
            until = tried.since + STRANGER if until is None else min(until, tried.since + ABSENCE)
        elif until is None:
            until = tried.since + PATIENCE
        pause = delay(tried.refusals, chance)
        if now + pause <= until:
            return AfterReply.AGAIN, pause
    if refused and not tried.explained:
        return AfterReply.EXPLAIN, 0.0
    return AfterReply.GIVE_UP, 0.0


class AfterLetter(enum.Enum):
    """The decision about a request whose dead letter was sent."""

    KEPT = "kept"
    LEAVE = "leave"
    """Do nothing: another server gets the request."""
    SHORTEN = "shorten"
    """Send the dead letter without its request."""
    LATER = "later"
    """Give the request back after a pause."""


def after_dead_letter(outcome: Outcome, condition: Condition | None, whole: bool) -> AfterLetter:
    """Decide by the outcome of a dead letter. `whole`: the dead letter contains the request."""
    if outcome is Outcome.ACCEPTED:
        return AfterLetter.KEPT
    if outcome is Outcome.RELEASED and condition is not None:
        return AfterLetter.LEAVE
    if condition is not None and condition.name == TOO_LARGE and whole:
        return AfterLetter.SHORTEN
    return AfterLetter.LATER
