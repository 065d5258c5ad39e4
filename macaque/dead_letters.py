"""The dead letters that a broker keeps: reading, sending again, and dropping them.

The rules of this file:

* The broker keeps a dead letter until the letter is dropped, or until the broker has accepted its request again. If
  this process ends before that, nothing is lost; at worst an action is repeated.
* With two readers at a time, only one of them sees each dead letter: the broker gives it to one reader only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from time import monotonic

from macaque.broker import resolve
from macaque.dead_letter import PATTERN, SHARE, TTL, DeadLetter, decode_dead_letter, revive
from macaque.envelope import BadRequest
from macaque.errors import ConnectionLost, lost
from macaque.exchange import Exchange, Outcomes
from mqlight.addresses import ServiceLike
from mqlight.delivery import Delivery
from mqlight.errors import MQLightError, NetworkError

__all__ = ["MAX_DEAD_LETTERS", "DeadLetters"]

MAX_DEAD_LETTERS = 10_000
"""The most dead letters that are read at a time."""


class DeadLetters:
    """The dead letters of a broker: taken when the block begins, and given back at its end unless they are settled.

    Args:
        broker: as for macaque.Client.
        timeout: seconds for all work in the block.

    Raises:
        TypeError, ValueError: the broker, or a setting of the environment, is invalid.
        ConnectionLost: when the block begins: there is no broker, or the broker does not give the dead letters.
    """

    def __init__(self, broker: ServiceLike | None = None, timeout: float = 10.0) -> None:
        service, _ = resolve(broker, None, os.environ)
        self._deadline = monotonic() + timeout
        self._exchange = Exchange(service, self._left)
        self._deliveries: list[tuple[DeadLetter, Delivery]] = []

    def __enter__(self) -> DeadLetters:
        try:
            self._read()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the dead letters back. A second call is harmless."""
        for _, delivery in self._deliveries:
            delivery.release()
        self._exchange.close()

    @property
    def letters(self) -> list[DeadLetter]:
        """The dead letters, the oldest first; at most MAX_DEAD_LETTERS."""
        return [letter for letter, _ in self._deliveries]

    def _read(self) -> None:
        exchange = self._exchange
        try:
            exchange.__enter__()
        except MQLightError as error:
            raise lost(error) from error
        late = "The broker did not deliver all dead letters in time; give more time."
        try:
            subscription = exchange.subscribe(
                PATTERN, SHARE, ttl=TTL, credit=MAX_DEAD_LETTERS, keep=True, on_delivery=self._take
            )
        except NetworkError as error:
            raise ConnectionLost(late, reason="no answer") from error
        except MQLightError as error:
            raise ConnectionLost(f"The broker does not deliver the dead letters: {error}", reason=str(error)) from error
        if not exchange.connection.drain(subscription, self._left()):
            raise ConnectionLost(late, reason="no answer")

    def _take(self, delivery: Delivery) -> None:
        self._deliveries.append((decode_dead_letter(delivery.message), delivery))

    def _left(self) -> float:
        return max(0.0, self._deadline - monotonic())

    def drop(self, ids: Iterable[str]) -> list[str]:
        """Drop these dead letters at the broker. Return the ids of those that it has dropped."""
        wanted = set(ids)
        return [letter.id for letter, delivery in self._deliveries if letter.id in wanted and delivery.accept()]

    def replay(self, ids: Iterable[str]) -> tuple[list[str], dict[str, str]]:
        """Send the requests of these dead letters again. Drop each dead letter when the broker accepts its request.

        Returns:
            The ids of the dead letters that were sent, and a dict of the ids that were not sent, with the reason.
        """
        wanted = set(ids)
        sent: list[str] = []
        failed: dict[str, str] = {}
        waiting: list[tuple[DeadLetter, Delivery, Outcomes]] = []
        for letter, delivery in self._deliveries:
            if letter.id in wanted:
                try:
                    waiting.append((letter, delivery, self._exchange.publish(letter.topic, revive(letter))))
                except (BadRequest, MQLightError) as error:
                    failed[letter.id] = str(error)
        for letter, delivery, outcomes in waiting:
            try:
                if self._exchange.outcome(outcomes):
                    delivery.accept()
                    sent.append(letter.id)
                else:
                    failed[letter.id] = f"no service listens on {letter.topic}; start it first"
            except NetworkError:
                failed[letter.id] = "the broker did not confirm the request in time; the request may be sent twice"
            except MQLightError as error:
                failed[letter.id] = f"the broker did not accept it: {error}"
        return sent, failed
