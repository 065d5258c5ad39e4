"""A connection for one request and its answer, so that a refusal is known to be about that request.

A broker may end the session, or the connection, of a client that lacks a permission. So each request that may be
refused has an exchange of its own.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import TypeVar

from macaque.ids import made_up_id
from mqlight.addresses import Addresses
from mqlight.amqp.message import Message, encode
from mqlight.amqp.types import Condition, Outcome
from mqlight.connection import Connection
from mqlight.delivery import Delivery
from mqlight.errors import MQLightError, NetworkError, error_of
from mqlight.subscription import Subscription

__all__ = ["Exchange", "Outcomes", "words"]

CLOSE_TIMEOUT = 2.0
"""Seconds for an orderly close."""

Answer = TypeVar("Answer")
Outcomes = queue.SimpleQueue[tuple[Outcome, Condition | None]]
"""A queue that gets the outcome of a message."""


def words(error: Exception) -> str:
    """Return the broker's words in an error, without the prefix that this package adds to a refused login."""
    return str(error).removeprefix("the server refused this client: ")


class Exchange:
    """A connection for the time of a block. At its end the subscriptions are forgotten, unless they are kept.

    Args:
        left: returns the seconds that the next answer may take.

    Raises:
        MQLightError: when the block begins: the reason why there is no connection.
    """

    def __init__(self, service: Addresses, left: Callable[[], float], client_id: str | None = None) -> None:
        self.connection = Connection(service, client_id or made_up_id())
        self._left = left
        self._subscriptions: list[Subscription] = []

    def __enter__(self) -> Exchange:
        try:
            self.connection.start()
            self.connection.wait_started(self._left())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget the subscriptions, and disconnect. A second call is harmless."""
        try:
            self.forget()
        except MQLightError:
            pass
        self.connection.stop(CLOSE_TIMEOUT)

    def subscribe(
        self,
        pattern: str,
        share: str | None = None,
        *,
        ttl: int,
        credit: int = 0,
        keep: bool = False,
        on_delivery: Callable[[Delivery], None] = lambda delivery: None,
    ) -> Subscription:
        """Subscribe, and wait for the broker's answer. Raises MQLightError if the broker refuses or does not answer."""
        answers: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        subscription = self.connection.subscribe(
            pattern, share, ttl=ttl, credit=credit, on_delivery=on_delivery, on_subscribed=answers.put
        )
        if not keep:
            self._subscriptions.append(subscription)
        try:
            self._wait(answers)
        except NetworkError:
            raise
        except MQLightError:
            if not keep:
                self._subscriptions.pop()
            raise
        return subscription

    def publish(self, topic: str, message: bytes) -> Outcomes:
        """Send an encoded message, and return the queue that gets its outcome: see `outcome`.

        Raises:
            MQLightError: there was no room to send it in time, or the connection is closed.
        """
        outcomes: Outcomes = queue.SimpleQueue()
        self.connection.publish(
            topic,
            message,
            mandatory=True,
            on_outcome=lambda outcome, condition: outcomes.put((outcome, condition)),
            timeout=self._left(),
        )
        return outcomes

    def outcome(self, outcomes: Outcomes) -> bool:
        """Wait for the outcome of a message. Return whether a subscription got the message, as far as the broker tells.

        Raises:
            MQLightError: the broker refuses the message, or does not answer.
        """
        outcome, condition = self._answer(outcomes)
        if condition is not None:
            raise error_of(condition)
        if outcome is Outcome.REJECTED:
            raise error_of(Condition("amqp:not-allowed", "the message was rejected without a reason"))
        return outcome is Outcome.ACCEPTED

    def send(self, topic: str, *, ttl: int | None = None, data: str = "") -> bool:
        """Send a message, and wait for its outcome. Returns and raises as `outcome` does.

        Args:
            ttl: milliseconds.
        """
        return self.outcome(self.publish(topic, encode(Message(body=data, to=topic, ttl=ttl, durable=True))))

    def forget(self) -> None:
        """End the subscriptions and their destinations. Raises MQLightError after the last one if any end failed."""
        error: MQLightError | None = None
        while self._subscriptions:
            answers: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
            self.connection.unsubscribe(self._subscriptions.pop(), forget=True, on_unsubscribed=answers.put)
            try:
                self._wait(answers)
            except MQLightError as failed:
                error = failed
        if error is not None:
            raise error

    def _wait(self, answers: queue.SimpleQueue[Exception | None]) -> None:
        error = self._answer(answers)
        if isinstance(error, MQLightError):
            raise error
        if error is not None:
            raise NetworkError(str(error)) from error

    def _answer(self, answers: queue.SimpleQueue[Answer]) -> Answer:
        self.connection.before_blocking()
        seconds = self._left()
        try:
            return answers.get(timeout=seconds)
        except queue.Empty:
            said = f"the broker did not answer within {seconds:g} s"
            raise NetworkError(said, url=self.connection.url) from self.connection.error
