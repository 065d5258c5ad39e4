"""A connection that asks for one thing and waits for the answer, so that a refusal is known to be about that thing.

A broker may end the session, or the connection, of who lacks a permission. So each thing has a probe of its own.
"""

from __future__ import annotations

import queue
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from mqlight.amqp.types import Condition, Outcome
from mqlight.connection import Connection
from mqlight.delivery import Delivery
from mqlight.errors import MQLightError, NetworkError, error_of
from mqlight.service import Service
from mqlight.subscription import Subscription
from mqlight.wire.message import Message, encode

__all__ = ["Probe", "new_id", "words"]

FAREWELL = 2.0

Answer = TypeVar("Answer")


def new_id() -> str:
    """A client id like those that macaque makes, so that permissions which name these fit."""
    return f"macaque_{uuid.uuid4().hex[:12]}"


def words(error: Exception) -> str:
    """What an error says of a request: the broker's words, without ours for a login that was refused."""
    return str(error).removeprefix("the server does not let this client in: ")


class Probe:
    """Connected while the block lasts. What it has subscribed to and not kept is forgotten at its end.

    Args:
        timeout: seconds that each answer may take.

    Raises:
        MQLightError: at the beginning of the block: why there is no connection.
    """

    def __init__(self, service: Service, timeout: float, client_id: str | None = None) -> None:
        self.connection = Connection(service, client_id or new_id())
        self._timeout = timeout
        self._subscriptions: list[Subscription] = []

    def __enter__(self) -> Probe:
        try:
            self.connection.start()
            self.connection.wait_started(self._timeout)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget, and leave. May be called twice."""
        try:
            self.forget()
        except MQLightError:
            pass
        self.connection.stop(FAREWELL)

    def subscribe(
        self,
        pattern: str,
        share: str | None = None,
        *,
        ttl: int,
        credit: int = 0,
        keep: bool = False,
        on_delivery: Callable[[Delivery], None] = lambda delivery: None,
    ) -> None:
        """Subscribe. Raises MQLightError: the broker refuses, or does not answer."""
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

    def send(self, topic: str, *, ttl: int | None = None, data: str = "") -> bool:
        """Send a message; returns whether anybody, as far as the broker tells, is subscribed there.

        Args:
            ttl: milliseconds.

        Raises:
            MQLightError: the broker refuses, or does not answer.
        """
        answers: queue.SimpleQueue[tuple[Outcome, Condition | None]] = queue.SimpleQueue()
        message = encode(Message(body=data, to=topic, ttl=ttl, durable=True))
        try:
            self.connection.publish(
                topic,
                message,
                mandatory=True,
                on_outcome=lambda outcome, condition: answers.put((outcome, condition)),
                timeout=self._timeout,
            )
        except TimeoutError as error:
            raise NetworkError(str(error)) from error
        outcome, condition = self._answer(answers)
        if condition is not None:
            raise error_of(condition)
        if outcome is Outcome.REJECTED:
            raise error_of(Condition("amqp:not-allowed", "the message was rejected without a reason"))
        return outcome is Outcome.ACCEPTED

    def forget(self) -> None:
        """Give up what it has subscribed to, each with its destination. Raises MQLightError, at the end of all."""
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
        try:
            return answers.get(timeout=self._timeout)
        except queue.Empty:
            said = f"the broker did not answer within {self._timeout:g} s"
            raise NetworkError(said, url=self.connection.url) from self.connection.error
