"""The interface by which the broker reports the fate of messages to an observer.

Pure. Without an observer each message costs the broker one ``is None`` check, and one more for each step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mqlight.amqp.types import Condition, Outcome
    from mqlight.server.destination import Destination
    from mqlight.server.publication import Publication
    from mqlight.server.queued import Queued, Trace


class Story(Protocol):
    """One published message, and its traces."""

    def trace(self, destination: Destination, message: Queued) -> Trace:
        """Begin the trace of the message's copy in a destination."""


class Observer(Protocol):
    """The part that watches a broker."""

    allowance: int
    """The number of further messages to report by :meth:`published`. The observer renews it from time to time."""

    def published(self, message: Publication, now: float, sender: object) -> Story | None:
        """Note an accepted message; return None to decline. ``sender`` is the argument of :meth:`Broker.publish`."""

    def unwatched(self, destination: Destination, message: Queued) -> Trace | None:
        """Begin the trace of an unwatched message to which something unusual happens; return None to decline."""

    def refused(
        self, sender: object, topic: str | None, data: bytes, outcome: Outcome, condition: Condition | None, now: float
    ) -> None:
        """Note a message without subscribers (``RELEASED``) or a rejected one. ``data`` is the whole message."""

    def added(self, destination: Destination) -> None:
        """Note a new destination."""

    def forgotten(self, destination: Destination) -> None:
        """Note that a destination and its waiting messages are gone."""
