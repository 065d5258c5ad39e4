"""The messages for one subscription inside of the process: those that wait, and those that are given out.

The rules of this file:

* A request is accepted when it is given out, because the service has a place for it then. So its caller learns whether
  it was begun. A one-way message is accepted at once. A destination that is full rejects.
* A message whose time is over is not given out. A message that comes back goes before all others.
* Everything here needs the lock of the broker, but for the answers of a delivery.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

import msgspec

from macaque.transport import Lane
from mqlight.amqp.message import decode, decode_properties, delivery_count, encode, time_to_live
from mqlight.amqp.types import Condition, Outcome
from mqlight.delivery import hand_over
from mqlight.log import Log, report
from mqlight.outgoing import OnOutcome

__all__ = ["Destination", "Message"]

log = Log("macaque.http.local", BaseException)

MOST_WAITING = 10_000
"""The most messages that wait at a destination."""
MOST_BYTES = 64 * 1024 * 1024
"""The most bytes of these messages."""
FULL = Condition("amqp:resource-limit-exceeded", "too many messages wait for this service")


class Home(Protocol):
    """The broker."""

    lock: threading.RLock
    settled: threading.Condition
    """Told when a message was settled."""

    def remove(self, destination: Destination) -> None: ...


class Message:
    """A message, from its publication until it is settled."""

    __slots__ = ("arrived", "data", "expires", "on_outcome")

    def __init__(self, data: bytes, on_outcome: OnOutcome | None) -> None:
        self.data = data
        self.arrived = monotonic()
        self.expires: float | None = None
        """The time at which it is discarded, if it waits."""
        self.on_outcome = on_outcome

    def tell(self, outcome: Outcome, condition: Condition | None = None) -> None:
        """Tell the sender the outcome. Only the first one counts."""
        told, self.on_outcome = self.on_outcome, None
        if told is not None:
            told(outcome, condition)


class Delivery:
    """A message that a destination has given out: see `mqlight.delivery.Delivery`."""

    __slots__ = ("_sent", "answered", "arrived", "link", "message", "subscription")

    settled = False

    def __init__(self, destination: Destination, sent: Message) -> None:
        self.subscription = self.link = destination
        self.message = sent.data
        self.arrived = sent.arrived
        self.answered = False
        self._sent = sent

    def begin(self) -> None:
        """Do nothing: no attempt is lost, unless the process is."""

    def accept(self) -> bool:
        return self.subscription.settle(self, None)

    def reject(self, condition: str, description: str) -> bool:
        return self.subscription.settle(self, None)

    def release(self) -> bool:
        return self.subscription.settle(self, self._sent)

    def fail(self) -> bool:
        count, most = delivery_count(self.message) + 1, self.subscription.max_deliveries
        if 0 < most <= count:
            log.error("a message to %s is lost, because it failed %d times", self.subscription.pattern, count)
            return self.subscription.settle(self, None)
        again = msgspec.structs.replace(decode(self.message), delivery_count=count, first_acquirer=False)
        return self.subscription.settle(self, self._sent, encode(again))


class Destination:
    """A subscription, with the messages that wait for it. It needs the lock of the broker."""

    def __init__(
        self,
        broker: Home,
        pattern: str,
        credit: int,
        lane: Lane | None,
        on_delivery: Callable[[Any], object],
        max_deliveries: int = 0,
    ) -> None:
        self.pattern = pattern
        self.max_deliveries = max_deliveries
        """The most delivery attempts of a message; 0: any number."""
        self.credit = credit
        """The most messages that are given out. With 0 the destination keeps no message at all."""
        self.held = 0
        """The messages that are given out and not settled."""
        self.waiting: deque[Message] = deque()
        self.paused = self.closed = False
        self._broker = broker
        self._lane = lane
        self._on_delivery = on_delivery
        self._bytes = 0
        """The size of the waiting messages."""

    def __repr__(self) -> str:
        return f"<Subscription {self.pattern}>"

    @property
    def ready(self) -> bool:
        """Whether messages are given out."""
        return not (self.paused or self.closed)

    def put(self, message: Message) -> None:
        """Give a message out, now or when there is room."""
        if self.credit == 0:
            log.error("a message to %s is lost, because nothing keeps it inside of a process", self.pattern)
            message.tell(Outcome.ACCEPTED)
        elif self.held < self.credit and not (self.waiting or self.paused):
            self._give_out(message)
        else:
            self._keep(message)

    def _keep(self, message: Message) -> None:
        size = len(message.data)
        if len(self.waiting) >= MOST_WAITING or self._bytes + size > MOST_BYTES:
            self._discard()
        if len(self.waiting) >= MOST_WAITING or self._bytes + size > MOST_BYTES:
            message.tell(Outcome.REJECTED, FULL)
            return
        life = time_to_live(message.data)
        message.expires = None if life is None else message.arrived + life / 1000
        known = decode_properties(message.data)
        if known is None or not known.reply_to:
            message.tell(Outcome.ACCEPTED)
        self._bytes += size
        self.waiting.append(message)

    def _discard(self) -> None:
        """Discard the waiting messages whose time is over."""
        now = monotonic()
        kept = [each for each in self.waiting if each.expires is None or each.expires > now]
        self.waiting = deque(kept)
        self._bytes = sum(len(each.data) for each in kept)

    def _give_out(self, message: Message) -> None:
        delivery = Delivery(self, message)
        self.held += 1
        try:
            message.tell(Outcome.ACCEPTED)
            if self._lane is not None:
                self._lane.submit(hand_over, delivery, self._on_delivery)
                return
        except BaseException:  # of a signal's handler: its sender gets it, and the place is free again
            delivery.accept()
            raise
        try:
            if self._on_delivery(delivery) is True:
                delivery.accept()
        except BaseException:
            report(log, self._on_delivery)
            delivery.accept()  # it would fail again at once

    def settle(self, delivery: Delivery, back: Message | None, data: bytes | None = None) -> bool:
        """Note the answer to a message. Return False if there was one, or this is closed.

        Args:
            back: the message, if it waits again, before all others.
            data: its new bytes, if they have changed.
        """
        with self._broker.lock:
            if self.closed or delivery.answered:
                return False
            delivery.answered = True
            self.held -= 1
            if back is not None:
                back.data = data or back.data
                self.waiting.appendleft(back)
                self._bytes += len(back.data)
            self.go_on()
        return True

    def go_on(self) -> None:
        """Give out what waits, as far as there is room."""
        while self.waiting and self.held < self.credit and not self.paused:
            message = self.waiting.popleft()
            self._bytes -= len(message.data)
            if message.expires is None or message.expires > monotonic():
                self._give_out(message)
        self._broker.settled.notify_all()

    def close(self) -> None:
        """Take no more messages. The senders of waiting requests learn that nobody serves them."""
        if self.closed:
            return
        self.closed = self.paused = True
        self._broker.remove(self)
        waiting, self.waiting = self.waiting, deque()
        self._discard()
        lost = sum(1 for each in waiting if each.on_outcome is None)
        for each in waiting:
            each.tell(Outcome.RELEASED)
        if lost:
            log.error("%d messages to %s are lost, because their server stops", lost, self.pattern)
