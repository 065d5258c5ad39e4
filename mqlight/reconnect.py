"""Decide which endpoint to try next, when, or whether to give up. Pure: time, chance and lookups come from outside."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mqlight.errors import MQLightError, NotPermittedError, ReplacedError, SecurityError

if TYPE_CHECKING:
    from mqlight.addresses import Endpoint

__all__ = ["Backoff", "Decision", "Reconnect"]

STEADY = 0.2
"""Seconds that a connection must last before the pauses between attempts become short again."""
PATIENT_ROUNDS = 3
"""Failed rounds through all URLs before a warning is logged: a server that is just starting is no news."""
DOUBTS = 5
"""The most refusals in a row after which a client that was accepted before tries again. A server that is starting, or a
network that corrupts data, may refuse a valid client.
"""
_FINAL = (SecurityError, ReplacedError, NotPermittedError)


class Backoff:
    """The pause before the next attempt: exponential with full jitter, so that clients do not all come back at once."""

    def __init__(self, shortest: float = 0.1, longest: float = 5.0) -> None:
        self._shortest = shortest
        self._longest = longest
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    def next(self, chance: float) -> float:
        """Return the seconds to wait. ``chance`` is a random number from 0 to 1."""
        most = min(self._longest, self._shortest * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return most * chance


class Decision(enum.Enum):
    """The step after a failed attempt."""

    GIVE_UP = "a new attempt would fail again"
    NEXT_ENDPOINT = "try the next endpoint at once"
    NEXT_ROUND = "try all endpoints again after a pause"
    COME_BACK = "the same, because a connection that was good is lost"


class Reconnect:
    """The attempts to connect: in rounds, each of which tries all endpoints in their order."""

    def __init__(self) -> None:
        self._endpoints: deque[Endpoint] = deque()
        self._backoff = Backoff()
        self._tried_at: float | None = None
        """The time at which the last round began or the last connection was lost; None before the first round."""
        self._rounds = 0
        self._doubts = 0

    @property
    def round_is_over(self) -> bool:
        """Whether no endpoint of the round is left. Then wait for :meth:`pause`, and call :meth:`begin_round`."""
        return not self._endpoints

    def pause(self, now: float, chance: float) -> float:
        """Return the seconds to wait before the next round, 0 before the first one.

        The time of the last attempt counts, so that a server that answers again is found without more delay.
        """
        if self._tried_at is None:
            return 0.0
        return max(0.0, self._tried_at + self._backoff.next(chance) - now)

    def begin_round(self, now: float) -> None:
        """Begin a round. Add its endpoints by :meth:`add`."""
        self._tried_at = now

    def add(self, endpoints: Iterable[Endpoint]) -> None:
        """Add the endpoints that the round tries."""
        self._endpoints.extend(endpoints)

    def next_endpoint(self) -> Endpoint:
        """Return the endpoint to try now."""
        return self._endpoints.popleft()

    def greeted(self) -> None:
        """Note that a server has accepted the client."""
        self._rounds = 0

    def lost(self, error: MQLightError, now: float, greeted_at: float | None) -> Decision:
        """Note the end of a connection, and decide. ``greeted_at`` is when the server accepted the client, or None."""
        if greeted_at is not None and now - greeted_at > STEADY:
            self._backoff.reset()
            self._doubts = DOUBTS
        if greeted_at is None or isinstance(error, _FINAL):
            return self.failed(error)
        self._endpoints.clear()
        self._tried_at = now
        return Decision.COME_BACK

    def failed(self, error: MQLightError) -> Decision:
        """Note a failed attempt, and decide."""
        if isinstance(error, _FINAL):
            if isinstance(error, ReplacedError) or not self._doubts:
                return Decision.GIVE_UP
            self._doubts -= 1
        if self._endpoints:
            return Decision.NEXT_ENDPOINT
        self._rounds += 1
        return Decision.NEXT_ROUND

    @property
    def is_news(self) -> bool:
        """Whether as many rounds have failed that the application should be warned once."""
        return self._rounds == PATIENT_ROUNDS
