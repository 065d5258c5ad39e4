"""The subscriptions of a client, and the messages that it holds.

The rules of this file:

* At least once, a message is confirmed when `on_message` has returned, or by `confirm_delivery`. If `on_message` raises
  and the message is not confirmed, the delivery attempt has failed. After `RETURN_DELAY` the message goes back to the
  server as modified with delivery-failed (AMQP 1.0 section 3.4.5). A broker with a limit counts the attempt.
* When a subscription ends, messages that the application has not received yet go back to the server at once.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from mqlight import payload
from mqlight.amqp.topics import subscription_address
from mqlight.arguments import QOS_AT_LEAST_ONCE, SubscribeOptions
from mqlight.connection import Connection
from mqlight.delivery import Delivery
from mqlight.errors import NetworkError, SubscribedError, UnsubscribedError
from mqlight.log import Log
from mqlight.net.crew import Lane
from mqlight.subscription import Subscription

__all__ = ["Inbox", "Subscriber"]

log = Log(__name__)

RETURN_DELAY = 1.0
"""Seconds that a message is kept after its `on_message` raised, so that a fault does not cause a busy loop."""

_RECONNECTED = "the client has reconnected since this message arrived; the server delivers the message again"


class Subscriber:
    """One subscription with the functions of the application. `options.ttl` is in milliseconds."""

    __slots__ = ("active", "on_message", "on_subscribed", "options", "pattern", "share", "subscription")

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
        self.subscription: Subscription | None = None

    @property
    def by_hand(self) -> bool:
        """Whether the application confirms messages itself."""
        return self.options.qos == QOS_AT_LEAST_ONCE and not self.options.auto_confirm


class Confirmation:
    """`confirm_delivery`: a call tells the server that the message is done. A second call does nothing.

    Raises:
        NetworkError: the server will deliver the message again, because the client has stopped, unsubscribed or
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
        """Guards the attributes below. The connection is never called under it: the connection's lock comes first."""
        self._subscribers: dict[tuple[str, str | None], Subscriber] = {}
        self._ended: list[Subscriber] = []
        self._unconfirmed: set[Delivery] = set()
        self._returns: deque[tuple[float, Delivery]] = deque()
        self._closed = False
        self._attaching = threading.Lock()
        """Held until `subscription` of a subscriber is set: an answer may arrive and be handled before that."""
        connection.every(self._return_due)

    def open(self) -> None:
        """Forget the subscriptions of the stopped connection. Call it before the connection starts again."""
        with self._lock:
            ended, self._ended = self._ended, []
            self._closed = False
        for subscriber in ended:
            if subscriber.subscription is not None:
                self._connection.unsubscribe(subscriber.subscription, forget=False)

    def close(self) -> None:
        """Take no more messages. Held messages go back when the functions that run now have returned."""
        self._closed = True
        self._lane.submit(self._release_held)

    def ended(self, error: Exception) -> None:
        """End every subscription, because the connection has stopped. Runs under the connection's lock."""
        with self._lock:
            subscribers = list(self._subscribers.values())
            self._ended += subscribers
            self._subscribers.clear()
            self._unconfirmed.clear()
            self._returns.clear()
            self._closed = True
        for subscriber in subscribers:
            subscriber.active = False
            self._answer(subscriber, error)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Subscribe to a pattern. Raises SubscribedError if there is a subscription to this pattern and share."""
        key = (subscriber.pattern, subscriber.share)
        with self._lock:
            if key in self._subscribers:
                address = subscription_address(*key)
                raise SubscribedError(
                    f"the client already subscribes to {address}; unsubscribe first", topic_pattern=key[0], share=key[1]
                )
            self._subscribers[key] = subscriber
        options = subscriber.options
        with self._attaching:
            subscriber.subscription = self._connection.subscribe(
                subscriber.pattern,
                subscriber.share,
                qos=options.qos,
                ttl=-(-options.ttl // 1000),
                credit=options.credit,
                lane=self._lane,
                on_delivery=functools.partial(self._deliver, subscriber),
                on_subscribed=functools.partial(self._subscribed, subscriber),
            )

    def unsubscribe(
        self, pattern: str, share: str | None, ttl: int | None, on_unsubscribed: Callable[..., object] | None
    ) -> None:
        """End a subscription. Raises UnsubscribedError if there is none to this pattern and share."""
        with self._lock:
            subscriber = self._subscribers.pop((pattern, share), None)
        if subscriber is None:
            address = subscription_address(pattern, share)
            raise UnsubscribedError(f"the client does not subscribe to {address}", topic_pattern=pattern, share=share)
        subscriber.active = False

        def told(error: Exception | None) -> None:
            if on_unsubscribed is not None:
                self._lane.submit(on_unsubscribed, self._client, error, pattern, share)

        forget = ttl == 0 or subscriber.options.ttl == 0
        with self._attaching:
            subscription = subscriber.subscription
        if subscription is not None:
            self._connection.unsubscribe(subscription, forget=forget, on_unsubscribed=told)

    def _subscribed(self, subscriber: Subscriber, error: Exception | None) -> None:
        """Handle the server's answer to a subscription. Runs under the connection's lock."""
        if error is not None:
            subscriber.active = False
            key = (subscriber.pattern, subscriber.share)
            with self._lock:
                if self._subscribers.get(key) is subscriber:
                    del self._subscribers[key]
        self._answer(subscriber, error)

    def _answer(self, subscriber: Subscriber, error: Exception | None) -> None:
        function, subscriber.on_subscribed = subscriber.on_subscribed, None
        if function is not None:
            self._lane.submit(function, self._client, error, subscriber.pattern, subscriber.share)

    # Messages

    def _deliver(self, subscriber: Subscriber, delivery: Delivery) -> None:
        """Give a message to the application. Runs in the lane."""
        if self._closed or not subscriber.active:
            delivery.release()
            return
        try:
            received = payload.unpack(delivery.message)
        except ValueError as error:
            log.warning(
                "rejected a message for %s, because it is not a valid AMQP message: %s", subscriber.pattern, error
            )
            delivery.reject("amqp:decode-error", str(error))
            return
        about = _about(subscriber, received)
        if received.topic is not None:
            about["message"]["topic"] = self._connection.topic_of(received.topic)
        if subscriber.by_hand:
            about["message"]["confirm_delivery"] = Confirmation(self, delivery)
            with self._lock:
                self._unconfirmed.add(delivery)
        try:
            if subscriber.on_message is not None:
                subscriber.on_message(received.kind, received.data, about)
        except SystemExit:
            raise
        except BaseException:
            self._return_later(delivery)
            log.exception("on_message for %s failed", subscriber.pattern)
        else:
            if not subscriber.by_hand:
                delivery.accept()

    def confirm(self, delivery: Delivery) -> None:
        """Confirm a delivery: see `Confirmation`."""
        with self._lock:
            held = delivery in self._unconfirmed
            self._unconfirmed.discard(delivery)
            closed = self._closed
        if not held:
            raise NetworkError("the client has stopped" if closed else _RECONNECTED)
        if not delivery.accept():
            raise NetworkError(_RECONNECTED)

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
        """Give back the messages whose delay is over. Returns when to check again."""
        due = []
        with self._lock:
            while self._returns and self._returns[0][0] <= now:
                due.append(self._returns.popleft()[1])
            then = self._returns[0][0] if self._returns else None
            self._unconfirmed.difference_update(due)
        for delivery in due:
            delivery.fail()
        return then


def _about(subscriber: Subscriber, received: payload.Received) -> dict[str, dict[str, Any]]:
    """Return the `delivery` argument of `on_message`."""
    message: dict[str, Any] = {"topic": subscriber.pattern if received.topic is None else received.topic}
    if received.ttl is not None:
        message["ttl"] = received.ttl
    destination: dict[str, Any] = {"topic_pattern": subscriber.pattern}
    if subscriber.share is not None:
        destination["share"] = subscriber.share
    about = {"message": message, "destination": destination}
    if received.malformed is not None:
        about["malformed"] = received.malformed
    return about
