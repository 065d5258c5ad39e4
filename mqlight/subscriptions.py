"""The subscriptions of a client, and the links that their messages come over.

The rules of this file:

* A subscription is attached again over each connection, until it is given up. If the server ends a subscription that it
  had confirmed, ``resume`` attaches the subscription again: it must not end in silence.
* Queues and bindings that a subscription needs are declared before its link is attached. If the broker cannot do
  something, the subscription that needs it gets the error.
* A message is held from its arrival to its settlement. The credit given to the server is the rest of the
  subscription's credit.
* This code is pure: bytes and time come from outside, and one thread at a time calls it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from mqlight.amqp.capabilities import marks_of
from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Handle, Outcome
from mqlight.dialects.base import AddressError, Dialect
from mqlight.dialects.management import Management
from mqlight.errors import error_of
from mqlight.log import Log
from mqlight.subscription import Subscription
from mqlight.timers import Timers

__all__ = ["Subscriptions"]

log = Log(__name__)

ANSWER_TIMEOUT = 20.0
"""Seconds within which a broker must answer a subscription."""
RESUBSCRIBE = 2.0
"""Seconds until a subscription that the server ended is attached again."""
PASSING = ("amqp:internal-error", "amqp:illegal-state", "amqp:not-found")
"""Conditions of a cluster for a destination whose node is coming or going. The client then tries a new connection."""


class Subscriptions:
    """The receiving half of a client, and the handler of its links.

    Args:
        timers: Get the time to attach again the subscriptions that the server ended.
        clock: Returns the time in seconds.
        on_room: Called when credit or a subscription is gone, for which a thread may wait.
        on_ready: Called when everything is declared that the subscriptions need over a new connection.
        on_stuck: Called with the reason why this connection is to be ended, and the next one tried.
    """

    def __init__(
        self,
        timers: Timers,
        clock: Callable[[], float],
        *,
        on_room: Callable[[], None],
        on_ready: Callable[[], None],
        on_stuck: Callable[[Condition], None],
    ) -> None:
        self.active: list[Subscription] = []
        """The subscriptions that are not given up."""
        self.leaving = False
        """Whether the client itself ends the connection. The next one attaches the subscriptions again."""
        self._ending: list[Subscription] = []
        """Subscriptions that are given up. The server has not answered yet, or cannot be told without a connection."""
        self._declaring: set[Subscription] = set()
        self._ready = False
        self._unanswered_since: float | None = None
        self._client_id = self._nonce = ""
        self._engine: Engine | None = None
        self._dialect: Dialect | None = None
        self._management: Management | None = None
        self._timers = timers
        self._clock = clock
        self._on_room = on_room
        self._on_ready = on_ready
        self._on_stuck = on_stuck

    # Requests of the application

    def subscribe(self, subscription: Subscription) -> None:
        """Listen, now and over each later connection. The first answer calls ``on_subscribed`` once."""
        self.active.append(subscription)
        if self._dialect is not None:
            self._attach(subscription)

    def unsubscribe(
        self, subscription: Subscription, *, forget: bool, on_ended: Callable[[Exception | None], None] | None
    ) -> None:
        """Stop listening.

        ``forget`` False leaves the destination to its time to live (MQ Light contract, 9). ``forget`` True deletes it,
        over the next connection if there is none now.
        """
        known = subscription in self.active  # False if the server ended it
        if known:
            self.active.remove(subscription)
        subscription.on_ended = on_ended
        subscription.forget = forget and subscription.ttl > 0  # with ttl 0 the server deletes it by itself
        link = subscription.link
        if subscription in self._declaring:
            self._ending.append(subscription)
        elif link is not None and not link.closed:
            self._ending.append(subscription)
            link.detach(closed=forget)
        elif known and subscription.forget and not self._ready:
            self._ending.append(subscription)
        else:
            subscription.ended(None)

    def resume(self) -> None:
        """Attach again the subscriptions that the server ended."""
        if self._ready:
            for subscription in list(self.active):
                if subscription.link is None and subscription not in self._declaring:
                    self._attach(subscription)

    def pause(self) -> None:
        """Take the credit of all subscriptions back: held messages can be finished, and no more arrive."""
        for subscription in self.active:
            subscription.pause()

    def unpause(self) -> None:
        """Give credit again over the next connection."""
        for subscription in self.active:
            subscription.paused = False

    def release_held(self) -> int:
        """Release the messages that arrived and are not settled. Returns their number."""
        return sum(subscription.release_held() for subscription in self.active)

    @property
    def holds(self) -> int:
        """The number of messages that are not settled, plus the credit that the server has not given back."""
        return sum(subscription.held + subscription.granted for subscription in self.active if subscription.link)

    @property
    def forgets(self) -> bool:
        """Whether a subscription is given up and the server has not been told, or has not answered."""
        return bool(self._ending)

    # The beginning and the end of a connection

    def begin(self, engine: Engine, dialect: Dialect, client_id: str, nonce: str) -> None:
        """Attach all subscriptions over a new connection. ``nonce`` tells it from earlier connections."""
        self._engine, self._dialect = engine, dialect
        self._client_id, self._nonce = client_id, nonce
        if dialect.management is not None:
            self._management = Management(engine, dialect.management, self._lost_management)
        for subscription in list(self._ending):  # first, because the application may have subscribed to them again
            if self._management is not None:
                self._forget(subscription)
            else:
                self._attach_link(subscription)
        for subscription in list(self.active):
            self._attach(subscription)
        self._check_ready()

    def _check_ready(self) -> None:
        if not self._ready and not self._declaring:
            self._ready = True
            self._on_ready()

    def end(self) -> None:
        """Handle the end of the connection."""
        for subscription in self.active:
            subscription.lose_link()
        self._engine = self._dialect = self._management = None
        self._ready = self.leaving = False
        self._unanswered_since = None
        self._declaring.clear()
        given_up, self._ending = self._ending, []
        for subscription in given_up:
            subscription.link = None
            if subscription.forget:
                self._ending.append(subscription)
            else:
                subscription.ended(None)

    def give_up(self) -> None:
        """Report the end of the subscriptions that are given up: there is no next connection."""
        ending, self._ending = self._ending, []
        for subscription in ending:
            subscription.ended(None)

    def look(self, now: float) -> float | None:
        """End the connection if the broker has not answered a subscription for ``ANSWER_TIMEOUT``.

        RabbitMQ does not answer for a queue that a crash has broken.

        Returns:
            The time of the next call, None if no answer is due.
        """
        owed = [each.address for each in self.active if each in self._declaring or each.awaits_answer]
        if not owed or self.leaving:
            self._unanswered_since = None
            return None
        if self._unanswered_since is None:
            self._unanswered_since = now
        if now >= self._unanswered_since + ANSWER_TIMEOUT:
            self._unanswered_since = None
            said = f"the broker has not answered the subscription {owed[0]} for {ANSWER_TIMEOUT:g} s"
            self._on_stuck(Condition("amqp:internal-error", said))
            return None
        return self._unanswered_since + ANSWER_TIMEOUT

    # Attaching

    def _attach(self, subscription: Subscription) -> None:
        """Declare the destination that a subscription needs, then attach its link."""
        assert self._dialect is not None
        try:
            steps = self._dialect.declare(subscription.wanted(self._client_id, self._nonce))
        except AddressError as error:
            self._refused(subscription, error.condition)
            return
        if steps is None:
            self._attach_link(subscription)
        elif self._management is not None:
            self._declaring.add(subscription)
            self._management.run(steps, partial(self._declared, subscription))

    def _declared(self, subscription: Subscription, condition: Condition | None) -> None:
        self._declaring.discard(subscription)
        if subscription in self._ending:
            self._forget(subscription)
        elif subscription not in self.active:
            pass
        elif condition is None:
            self._attach_link(subscription)
        elif condition.name in PASSING and not self._ready:
            self._on_stuck(condition)
            return
        else:
            self._refused(subscription, condition)
        self._check_ready()

    def _attach_link(self, subscription: Subscription) -> None:
        assert self._engine is not None and self._dialect is not None
        try:
            name, source = self._dialect.source(subscription.wanted(self._client_id, self._nonce))
        except AddressError as error:
            self._refused(subscription, error.condition)
            return
        if subscription.forget:
            source = replace(source, timeout=0)
        link = self._engine.attach_receiver(name, source, at_most_once=subscription.qos == 0)
        link.handler, link.context = self, subscription
        subscription.lose_link()
        subscription.link = link
        subscription.only_accepts = self._dialect.only_accepts
        if subscription.forget:
            link.detach()

    def _refused(self, subscription: Subscription, condition: Condition) -> None:
        """Handle a refused subscription, or the end of a subscription that the server had confirmed."""
        if subscription.confirmed:
            if not subscription.lapsed:
                log.error("the server ended the subscription %s, trying again: %s", subscription.address, condition)
            subscription.lapsed = True
            self._timers.set(self._clock() + RESUBSCRIBE, self.resume)
        else:
            if subscription in self.active:
                self.active.remove(subscription)
            subscription.answered(error_of(condition))

    def _forget(self, subscription: Subscription) -> None:
        """Delete the destination of a subscription that is given up and has no link, if the client must do that."""
        steps = None
        if self._management is not None and self._dialect is not None and (subscription.forget or not subscription.ttl):
            steps = self._dialect.forget(subscription.wanted(self._client_id, self._nonce))

        def forgotten(condition: Condition | None) -> None:
            self._ending.remove(subscription)
            subscription.ended(None if condition is None else error_of(condition))
            self._on_room()

        if steps is None or self._management is None:
            forgotten(None)
        else:
            self._management.run(steps, forgotten)

    def _lost_management(self, condition: Condition) -> None:
        self._management = None
        if condition.name not in PASSING:  # RabbitMQ ends the session of a client that lacks a permission
            for subscription in list(self._declaring):
                self._refused(subscription, condition)
        self._on_stuck(condition)

    # Events from the server (LinkHandler)

    def on_attach(self, link: Link) -> None:
        """Take the broker's answer to the attach of a link that this object or its management made."""
        if self._management is not None and link.handler is self._management:
            self._management.on_attach(link)
        elif link.handler is self and link.source.address is not None:
            subscription: Subscription = link.context
            subscription.marks_granted = marks_of(link.source.capabilities)
            subscription.top_up()  # not earlier: RabbitMQ counts deliveries from a number in its answer
            if subscription.lapsed:
                log.info("subscribed to %s again", subscription.address)
            subscription.answered(None)

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> bool:
        subscription: Subscription = link.context
        subscription.granted -= 1
        subscription.held += 1
        if subscription.on_message(link, handle, data, settled) is not True:
            return False
        subscription.held -= 1
        if subscription.granted * 2 <= subscription.credit:
            subscription.top_up()
        return True

    def on_credit(self, link: Link) -> None:
        subscription: Subscription = link.context
        subscription.granted = link.credit
        self._on_room()

    def on_detach(self, link: Link, closed: bool, condition: Condition | None) -> None:
        subscription: Subscription = link.context
        if subscription.link is link:
            subscription.lose_link()
        if subscription in self._ending:
            self._forget(subscription)
        elif subscription not in self.active or self.leaving:
            pass  # the server ended it before, or the next connection attaches it again
        elif condition is None:
            self._attach(subscription)
        else:
            self._refused(subscription, condition)

    def on_outcomes(self, link: Link, tokens: list[Any], outcome: Outcome, condition: Condition | None) -> None:
        """Do nothing: a receiving link sends no messages."""

    def on_received(self, link: Link, token: Any) -> None:
        """Do nothing: a receiving link sends no messages."""
