"""The dead letters that a broker keeps, to be read, sent again or dropped.

The rules of this file:

* A letter is the broker's until it is dropped, or until the broker has accepted its request again. Whatever ends this
  process before loses nothing, and may at worst repeat what was just done.
* Two readers at a time see each letter at one of them: the broker gives a letter to one only.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterable
from time import monotonic
from types import TracebackType

from macaque.envelope import BadRequest
from macaque.errors import ConnectionLost
from macaque.letter import PATTERN, SHARE, TTL, Letter, decode_letter, revive
from mqlight.amqp.types import Condition, Outcome
from mqlight.connection import Connection
from mqlight.delivery import Delivery
from mqlight.errors import MQLightError, StoppedError
from mqlight.service import ServiceLike, resolve

__all__ = ["MAX_LETTERS", "DeadLetters"]

MAX_LETTERS = 10_000
"""Letters that are read at a time."""
FAREWELL = 2.0


class DeadLetters:
    """The dead letters at hand, taken when the block begins and given back at its end, but for those that are settled.

    Args:
        broker: as for macaque.Client.
        timeout: seconds for all of it.

    Raises:
        TypeError, ValueError: the broker, or the environment, says what cannot work.
        ConnectionLost: at the beginning of the block: there is no server, or it does not give the letters.
    """

    def __init__(self, broker: ServiceLike | None = None, timeout: float = 10.0) -> None:
        service, _ = resolve(broker, None, os.environ)
        self._deadline = monotonic() + timeout
        self._connection = Connection(service, f"macaque_dead_{uuid.uuid4().hex[:12]}")
        self._deliveries: list[tuple[Letter, Delivery]] = []
        self._changed = threading.Condition()

    def __enter__(self) -> DeadLetters:
        try:
            self._read()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the letters back. May be called twice."""
        for _, delivery in self._deliveries:
            delivery.release()
        self._connection.stop(FAREWELL)

    @property
    def letters(self) -> list[Letter]:
        """The oldest first; at most MAX_LETTERS."""
        return [letter for letter, _ in self._deliveries]

    def _read(self) -> None:
        answers: list[Exception | None] = []

        def on_subscribed(error: Exception | None) -> None:
            with self._changed:
                answers.append(error)
                self._changed.notify_all()

        connection = self._connection
        connection.start()
        try:
            connection.wait_started(self._left())
        except MQLightError as error:
            raise ConnectionLost(f"No connection to the messaging server: {error}", reason=str(error)) from error
        subscription = connection.subscribe(
            PATTERN, SHARE, ttl=TTL, credit=MAX_LETTERS, on_delivery=self._take, on_subscribed=on_subscribed
        )
        with self._changed:
            self._changed.wait_for(lambda: answers, self._left())
        if answers and answers[0] is not None:
            raise ConnectionLost(f"The server does not give the dead letters: {answers[0]}", reason=str(answers[0]))
        if not answers or not connection.drain(subscription, self._left()):
            raise ConnectionLost("The server did not give all dead letters in time: give it more.", reason="no answer")

    def _take(self, delivery: Delivery) -> None:
        self._deliveries.append((decode_letter(delivery.message), delivery))

    def _left(self) -> float:
        return max(0.0, self._deadline - monotonic())

    def drop(self, ids: Iterable[str]) -> list[str]:
        """Have the broker forget these letters; returns the ids of those that it has forgotten."""
        wanted = set(ids)
        return [letter.id for letter, delivery in self._deliveries if letter.id in wanted and delivery.accept()]

    def replay(self, ids: Iterable[str]) -> tuple[list[str], dict[str, str]]:
        """Send the requests of these letters again, and drop each letter when its request was accepted.

        Returns:
            The ids of those that were sent, and of those that were not with the reason.
        """
        wanted = set(ids)
        outcomes: dict[str, str | None] = {}
        chosen = [(letter, delivery) for letter, delivery in self._deliveries if letter.id in wanted]
        for letter, delivery in chosen:
            self._send(letter, delivery, outcomes)
        with self._changed:
            self._changed.wait_for(lambda: len(outcomes) == len(chosen), self._left())
        late = "the server did not say in time whether it took the request; it may be sent twice"
        failed = {letter.id: outcomes.get(letter.id, late) for letter, _ in chosen}
        return (
            [letter.id for letter, _ in chosen if failed[letter.id] is None],
            {number: reason for number, reason in failed.items() if reason is not None},
        )

    def _send(self, letter: Letter, delivery: Delivery, outcomes: dict[str, str | None]) -> None:
        def told(outcome: Outcome, condition: Condition | None) -> None:
            if outcome is Outcome.ACCEPTED:
                delivery.accept()
                ended(None)
            elif outcome is Outcome.RELEASED and condition is None:
                ended(f"nobody listens on {letter.topic}: start its service first")
            else:
                ended(f"the server did not take it: {condition or outcome.name.lower()}")

        def ended(reason: str | None) -> None:
            with self._changed:
                outcomes[letter.id] = reason
                self._changed.notify_all()

        try:
            self._connection.publish(
                letter.topic, revive(letter), mandatory=True, on_outcome=told, timeout=self._left()
            )
        except (BadRequest, TimeoutError, StoppedError) as error:
            ended(str(error))
