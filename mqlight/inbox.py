"""What a client listens to, and the messages that it holds.

The rules of this file:

* A message at least once is confirmed after `on_message` returned, or by `confirm_delivery`. If `on_message` raises,
  the attempt failed: unless the message is confirmed by then, it goes back to the server after `RETURN_DELAY` as
  modified with delivery-failed (AMQP 1.0 section 3.4.5). The server counts it, so a broker with a limit ends it.
* What arrived and was not given to the application when its subscription ended goes back to the server at once.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from mqlight import payload
from mqlight.arguments import QOS_AT_LEAST_ONCE, SubscribeOptions
from mqlight.connection import Connection
from mqlight.delivery import Delivery
from mqlight.errors import NetworkError, SubscribedError, UnsubscribedError
from mqlight.subscription import Subscription as Listening
from mqlight.wire.log import Log
from mqlight.wire.threads import Lane

__all__ = ["Inbox", "Subscription"]

log = Log(__name__)

RETURN_DELAY = 1.0
"""Seconds that a message whose `on_message` raised is kept, so that a fault makes no busy loop."""


class Subscription:
    """One subscription as the application knows it. `options.ttl` is in milliseconds."""

    __slots__ = ("active", "listening", "on_message", "on_subscribed", "options", "pattern", "share")

    def __init__(
        self,
        pattern: str,
        share: str | None,
        options: SubscribeOptions,
        on_subscribed: Callable[..., object] | None,
        on_message: Callable[..., object] | None,
    ) -> None:
        self.pattern = pattern
        self.share = share
        self.options = options
        self.on_subscribed = on_subscribed
        self.on_message = on_message
        self.active = True
        self.listening: Listening | None = None

    @property
    def by_hand(self) -> bool:
        """Whether the application confirms its messages."""
        return self.options.qos == QOS_AT_LEAST_ONCE and not self.options.auto_confirm


class Confirmation:
    """`confirm_delivery`: call it to tell the server that the message is done with. Calling it again does nothing.

    Raises:
        NetworkError: the server will give the message to somebody again, as the client stopped, unsubscribed or
            reconnected meanwhile.
    """

    __slots__ = ("_confirmed", "_delivery", "_inbox")

    def __init__(self, inbox: Inbox, delivery: Delivery) -> None:
        self._inbox = inbox
        self._delivery = delivery
        self._confirmed = False

    def __call__(self) -> None:
        if self._confirmed:
            return
        self._inbox.confirm(self._delivery)
        self._confirmed = True


class Inbox:
    """The receiving half of `client`, whose functions run in `lane`."""

    def __init__(self, client: object, connection: Connection, lane: Lane) -> None:
        self._client = client
        self._connection = connection
        self._lane = lane
        self._lock = threading.Lock()
        """Guards what follows. Nothing of the connection is called under it: the connection calls us under its lock."""
        self._subscriptions: dict[tuple[str, str | None], Subscription] = {}
        self._ended: list[Subscription] = []
        self._unconfirmed: set[Delivery] = set()
        self._returns: deque[tuple[float, Delivery]] = deque()
        self._closed = False
        self._attaching = threading.Lock()
        """Held while `listening` is found out: an answer may come, and be acted upon, before it is set."""
        connection.every(self._return_due)

    def open(self) -> None:
        """Before the connection is started: take nothing over from what it was stopped with."""
        with self._lock:
            ended, self._ended = self._ended, []
            self._closed = False
        for subscription in ended:
            if subscription.listening is not None:
                self._connection.unsubscribe(subscription.listening, forget=False)

    def close(self) -> None:
        """Take no more messages. What the application holds goes back, once the functions that run now are done."""
        self._closed = True
        self._lane.submit(self._release_held)

    def ended(self, error: Exception) -> None:
        """Under the connection's lock: it is stopped, and with it every subscription."""
        with self._lock:
            subscriptions = list(self._subscriptions.values())
            self._ended += subscriptions
            self._subscriptions.clear()
            self._unconfirmed.clear()
            self._returns.clear()
            self._closed = True
        for subscription in subscriptions:
            subscription.active = False
            self._answer(subscription, error)

    def subscribe(self, subscription: Subscription) -> None:
        """Raises SubscribedError: there is one for this pattern and share."""
        key = (subscription.pattern, subscription.share)
        with self._lock:
            if key in self._subscriptions:
                raise SubscribedError(
                    "client is already subscribed to this address", topic_pattern=key[0], share=key[1]
                )
            self._subscriptions[key] = subscription
        options = subscription.options
        with self._attaching:
            subscription.listening = self._connection.subscribe(
                subscription.pattern,
                subscription.share,
                qos=options.qos,
                ttl=-(-options.ttl // 1000),
                credit=options.credit,
                lane=self._lane,
                on_delivery=functools.partial(self._deliver, subscription),
                on_subscribed=functools.partial(self._subscribed, subscription),
            )

    def unsubscribe(
        self, pattern: str, share: str | None, ttl: int | None, on_unsubscribed: Callable[..., object] | None
    ) -> None:
        """Raises UnsubscribedError: there is none for this pattern and share."""
        with self._lock:
            subscription = self._subscriptions.pop((pattern, share), None)
        if subscription is None:
            address = f"private:{pattern}" if share is None else f"share:{share}:{pattern}"
            if self._connection.url is not None:
                address = f"{self._connection.url}/{address}"
            raise UnsubscribedError(
                f"client is not subscribed to this address: {address}", topic_pattern=pattern, share=share
            )
        subscription.active = False

        def told(error: Exception | None) -> None:
            if on_unsubscribed is not None:
                self._lane.submit(on_unsubscribed, self._client, error, pattern, share)

        forget = ttl == 0 or subscription.options.ttl == 0
        with self._attaching:
            listening = subscription.listening
        if listening is not None:
            self._connection.unsubscribe(listening, forget=forget, on_unsubscribed=told)

    def _subscribed(self, subscription: Subscription, error: Exception | None) -> None:
        """Under the connection's lock: the server has answered."""
        if error is not None:
            subscription.active = False
            key = (subscription.pattern, subscription.share)
            with self._lock:
                if self._subscriptions.get(key) is subscription:
                    del self._subscriptions[key]
        self._answer(subscription, error)

    def _answer(self, subscription: Subscription, error: Exception | None) -> None:
        function, subscription.on_subscribed = subscription.on_subscribed, None
        if function is not None:
            self._lane.submit(function, self._client, error, subscription.pattern, subscription.share)

    # Messages

    def _deliver(self, subscription: Subscription, delivery: Delivery) -> None:
        """In the lane."""
        if self._closed or not subscription.active:
            delivery.release()
            return
        try:
            received = payload.unpack(delivery.message)
        except ValueError as error:
            log.warning("a message for %s is no AMQP message and was rejected: %s", subscription.pattern, error)
            delivery.reject("amqp:decode-error", str(error))
            return
        about = _about(subscription, received)
        if received.topic is not None:
            about["message"]["topic"] = self._connection.topic_of(received.topic)
        if subscription.by_hand:
            about["message"]["confirm_delivery"] = Confirmation(self, delivery)
            with self._lock:
                self._unconfirmed.add(delivery)
        try:
            if subscription.on_message is not None:
                subscription.on_message(received.kind, received.data, about)
        except SystemExit:
            raise
        except BaseException:
            self._return_later(delivery)
            log.exception("on_message for %s failed", subscription.pattern)
        else:
            if not subscription.by_hand:
                delivery.accept()

    def confirm(self, delivery: Delivery) -> None:
        """See `Confirmation`."""
        with self._lock:
            held = delivery in self._unconfirmed
            self._unconfirmed.discard(delivery)
            closed = self._closed
        if not held:
            raise NetworkError("not started" if closed else "Client has reconnected since this message was received")
        if not delivery.accept():
            raise NetworkError("Client has reconnected since this message was received")

    def _release_held(self) -> None:
        with self._lock:
            failed = [delivery for _, delivery in self._returns]
            held = self._unconfirmed.difference(failed)
            self._unconfirmed.clear()
            self._returns.clear()
        for delivery in failed:
            delivery.fail()
        for delivery in held:
            delivery.release()

    def _return_later(self, delivery: Delivery) -> None:
        if delivery.settled or self._closed:
            delivery.fail()
            return
        at = monotonic() + RETURN_DELAY
        with self._lock:
            self._returns.append((at, delivery))
        self._connection.wake(at)

    def _return_due(self, now: float) -> float | None:
        """Give back what waited long enough; returns when to look again."""
        due = []
        with self._lock:
            while self._returns and self._returns[0][0] <= now:
                due.append(self._returns.popleft()[1])
            then = self._returns[0][0] if self._returns else None
            self._unconfirmed.difference_update(due)
        for delivery in due:
            delivery.fail()
        return then


def _about(subscription: Subscription, received: payload.Received) -> dict[str, dict[str, Any]]:
    """The `delivery` argument of `on_message`."""
    message: dict[str, Any] = {"topic": subscription.pattern if received.topic is None else received.topic}
    if received.ttl is not None:
        message["ttl"] = received.ttl
    destination: dict[str, Any] = {"topic_pattern": subscription.pattern}
    if subscription.share is not None:
        destination["share"] = subscription.share
    about = {"message": message, "destination": destination}
    if received.malformed is not None:
        about["malformed"] = received.malformed
    return about
