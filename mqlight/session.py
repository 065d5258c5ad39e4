"""What outlives a connection: subscriptions, messages on their way out, and the plan for the next attempt.

The rules of this file:

* A message that was given to :meth:`Session.send` at least once (not ``settled``) is kept until the server settled it,
  and sent again over the next connection, before what was given later. Its outcome is told exactly once.
* A subscription is attached again over each connection, until it is given up.
* A message is held from its arrival to its settlement, and the credit given to the server is what is left of the
  subscription's.
* It is pure: bytes, time and chance come in from outside, and one thread at a time touches it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from mqlight.errors import MQLightError, NetworkError, NotPermittedError, ReplacedError, SecurityError
from mqlight.wire.engine import Engine
from mqlight.wire.link import Link
from mqlight.wire.terms import Condition, Handle, Outcome, Peer, Terminus

log = logging.getLogger(__name__)

ANONYMOUS_RELAY = "ANONYMOUS-RELAY"
RELEASE_UNROUTED = "mqlight:release-unrouted"

OnOutcome = Callable[[Outcome, "Condition | None"], None]


def error_of(condition: Condition | None) -> MQLightError:
    """What an AMQP condition means to an application (wire contract 1.8)."""
    if condition is None:
        return NetworkError("the server closed the connection")
    name, description = condition
    if name == "amqp:link:stolen" or "_Takeover" in description:
        return ReplacedError(f"another client took this client's id over: {condition}")
    if name == "amqp:unauthorized-access" or any(mark in description for mark in ("sasl ", "SSL ", " 2035 ")):
        return SecurityError(f"the server does not let this client in: {condition}")
    if (
        name in ("amqp:not-allowed", "amqp:precondition-failed", "amqp:not-implemented")
        or "_InvalidSource" in description
    ):
        return NotPermittedError(f"the server does not permit this: {condition}")
    return NetworkError(str(condition))


class Outgoing:
    """A message on its way out."""

    __slots__ = ("mandatory", "message", "on_outcome", "settled", "topic")

    def __init__(
        self, topic: str, message: bytes, settled: bool, mandatory: bool, on_outcome: OnOutcome | None
    ) -> None:
        self.topic = topic
        self.message = message
        self.settled = settled
        self.mandatory = mandatory
        self.on_outcome = on_outcome


class Route:
    """A link to send on, and what waits for its credit. ``topic`` None is the link that takes every topic."""

    __slots__ = ("credit", "link", "mandatory", "topic", "waiting")

    def __init__(self, topic: str | None, mandatory: bool) -> None:
        self.topic = topic
        self.mandatory = mandatory
        self.link: Link | None = None
        self.credit = 0
        self.waiting: deque[Outgoing] = deque()


class Subscription:
    """What a client listens to. ``credit`` is how many messages it holds at the most; ``ttl`` is in seconds."""

    __slots__ = (
        "_on_ended",
        "_on_message",
        "credit",
        "granted",
        "held",
        "link",
        "on_subscribed",
        "paused",
        "pattern",
        "qos",
        "share",
        "ttl",
    )

    def __init__(
        self,
        pattern: str,
        share: str | None,
        *,
        qos: int,
        ttl: int,
        credit: int,
        on_message: Callable[[Link, Handle, bytes, bool], None],
        on_subscribed: Callable[[Exception | None], None] | None,
    ) -> None:
        self.pattern = pattern
        self.share = share
        self.qos = qos
        self.ttl = ttl
        self.credit = credit
        self.granted = 0
        """What the server may still send."""
        self.held = 0
        """What it sent that is not settled yet."""
        self.paused = False
        self.link: Link | None = None
        self.on_subscribed = on_subscribed
        self._on_message = on_message
        self._on_ended: Callable[[Exception | None], None] | None = None

    @property
    def address(self) -> str:
        return f"private:{self.pattern}" if self.share is None else f"share:{self.share}:{self.pattern}"

    def __repr__(self) -> str:
        return f"<Subscription {self.address}>"

    def top_up(self) -> None:
        """Give the server credit again, in lots, so that it is one flow frame for many messages."""
        link = self.link
        if link is None or self.paused:
            return
        wanted = self.credit - self.granted - self.held
        if wanted > 0 and (wanted * 2 >= self.credit or not self.granted):
            self.granted += wanted
            link.flow(wanted)


class Session:
    """The client's end of the contract; the engine's handler while there is one.

    ``on_state(connected, error)`` is called when the server has greeted us, and when the connection is over.
    ``on_room()`` is called when something that waited has gone out or was settled.
    """

    def __init__(self, *, on_state: Callable[[bool, MQLightError | None], None], on_room: Callable[[], None]) -> None:
        self.engine: Engine | None = None
        self.connected = False
        self.subscriptions: list[Subscription] = []
        self.outstanding = 0
        """Messages that were given to :meth:`send` and whose outcome is not told yet."""
        self.waiting = 0
        """Those among them that wait for a connection or for credit."""
        self._ending: list[Subscription] = []
        """Given up, and the server has not answered yet."""
        self._relay = False
        self._early: deque[Outgoing] = deque()
        self._routes: dict[tuple[str | None, bool], Route] = {}
        self._links = 0
        self._on_state = on_state
        self._on_room = on_room

    # What the application wants

    def send(self, outgoing: Outgoing) -> None:
        """Send now if there is credit, else as soon as there is."""
        self.outstanding += 1
        if not self.connected:
            self.waiting += 1
            self._early.append(outgoing)
            return
        key = (None if self._relay else outgoing.topic, outgoing.mandatory)
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = Route(*key)
            self._attach_route(route)
        if route.credit > 0 and route.link is not None:
            self._send_on(route, route.link, outgoing)
        else:
            self.waiting += 1
            route.waiting.append(outgoing)

    def _send_on(self, route: Route, link: Link, outgoing: Outgoing) -> None:
        assert self.engine is not None
        route.credit -= 1
        self.engine.send(link, outgoing.message, outgoing, outgoing.settled)
        if outgoing.settled:
            self._tell(outgoing, Outcome.ACCEPTED, None)

    def _tell(self, outgoing: Outgoing, outcome: Outcome, condition: Condition | None) -> None:
        self.outstanding -= 1
        if outgoing.on_outcome is not None:
            outgoing.on_outcome(outcome, condition)

    def subscribe(self, subscription: Subscription) -> None:
        """Listen, now and over each later connection. ``on_subscribed`` is told once, by the first answer."""
        self.subscriptions.append(subscription)
        if self.connected:
            self._attach_subscription(subscription)

    def unsubscribe(
        self, subscription: Subscription, *, forget: bool, on_ended: Callable[[Exception | None], None] | None
    ) -> None:
        """Stop listening. ``forget`` False leaves the destination to its time to live (wire contract 1.9)."""
        if subscription in self.subscriptions:  # it is not when the server ended it
            self.subscriptions.remove(subscription)
        subscription._on_ended = on_ended
        link = subscription.link
        if link is None or link.closed:
            self._ended(subscription, None)
        else:
            self._ending.append(subscription)
            link.detach(closed=forget)

    def settle(
        self,
        subscription: Subscription,
        link: Link,
        handle: Handle,
        outcome: Outcome | None,
        condition: Condition | None,
    ) -> bool:
        """Done with a message; ``outcome`` None for one that came settled. False when its connection is gone."""
        if link is not subscription.link or link.closed or self.engine is None:
            return False
        subscription.held -= 1
        if outcome is not None:
            self.engine.settle(link, handle, outcome, condition)
        subscription.top_up()
        return True

    def pause(self) -> None:
        """Take the credit of all subscriptions back: what is here is finished, nothing more is taken."""
        for subscription in self.subscriptions:
            subscription.paused = True
            if subscription.link is not None:
                subscription.link.stop_flow()

    @property
    def holds(self) -> int:
        """Messages that arrived and are not settled, and credit that the server has not given back."""
        return sum(subscription.held + subscription.granted for subscription in self.subscriptions if subscription.link)

    # The connection comes and goes

    def begin(self, engine: Engine) -> None:
        self.engine = engine
        for subscription in self.subscriptions:
            subscription.paused = False
        engine.open()

    def end(self) -> None:
        """The connection is gone: what the server had not settled waits for the next one, in its old order."""
        again: list[Outgoing] = []
        for route in self._routes.values():
            if route.link is not None:
                unsettled = route.link.unsettled.values()
                self.waiting += len(unsettled)
                again.extend(unsettled)
                route.link.unsettled.clear()
            again.extend(route.waiting)
        self._routes.clear()
        self._early.extendleft(reversed(again))
        for subscription in self.subscriptions:
            subscription.link = None
            subscription.granted = subscription.held = 0
        self.engine = None
        self.connected = False
        for subscription in self._ending:
            subscription.link = None
            self._ended(subscription, None)
        self._ending.clear()

    def give_up(self, condition: Condition) -> None:
        """There will be no next connection: every message still here is told so."""
        self.end()
        early, self._early = self._early, deque()
        self.waiting = 0
        for outgoing in early:
            self._tell(outgoing, Outcome.RELEASED, condition)
        self._on_room()

    def _attach_route(self, route: Route) -> None:
        assert self.engine is not None
        self._links += 1
        capabilities = (RELEASE_UNROUTED,) if route.mandatory else ()
        name = f"{route.topic or 'relay'}-{self._links}"
        route.link = self.engine.attach_sender(name, Terminus(route.topic, capabilities=capabilities))
        route.link.context = route
        route.credit = 0

    def _attach_subscription(self, subscription: Subscription) -> None:
        assert self.engine is not None
        source = Terminus(subscription.address, timeout=subscription.ttl)
        link = self.engine.attach_receiver(subscription.address, source, at_most_once=subscription.qos == 0)
        link.context = subscription
        subscription.link = link
        subscription.granted = subscription.held = 0
        subscription.top_up()

    # What the server did (engine.Handler)

    def on_open(self, peer: Peer) -> None:
        if self.connected:
            return
        self.connected = True
        self._relay = ANONYMOUS_RELAY in peer.offered
        for subscription in self.subscriptions:
            self._attach_subscription(subscription)
        early, self._early = self._early, deque()
        self.waiting -= len(early)
        self.outstanding -= len(early)
        for outgoing in early:
            self.send(outgoing)
        self._on_state(True, None)

    def on_attach(self, link: Link) -> None:
        subscription = link.context
        if not link.local:
            link.refuse(Condition("amqp:not-allowed", "a client accepts no links"))
        elif isinstance(subscription, Subscription) and link.source.address is not None:
            self._subscribed(subscription, None)

    def _subscribed(self, subscription: Subscription, error: Exception | None) -> None:
        told, subscription.on_subscribed = subscription.on_subscribed, None
        if told is not None:
            told(error)

    def _ended(self, subscription: Subscription, error: Exception | None) -> None:
        told, subscription._on_ended = subscription._on_ended, None
        if told is not None:
            told(error)

    def on_detach(self, link: Link, closed: bool, condition: Condition | None) -> None:
        context = link.context
        if isinstance(context, Subscription):
            if context.link is link:
                context.link = None
                context.granted = context.held = 0
            if context in self._ending:
                self._ending.remove(context)
                self._ended(context, None)
            elif context not in self.subscriptions:
                pass  # the server ended it before
            elif condition is not None:
                self.subscriptions.remove(context)
                if context.on_subscribed is None:
                    log.error("the server ended the subscription %s: %s", context.address, condition)
                self._subscribed(context, error_of(condition))
            else:
                self._attach_subscription(context)
        elif isinstance(context, Route) and context.link is link:
            self._lost_route(context, link, condition)

    def _lost_route(self, route: Route, link: Link, condition: Condition | None) -> None:
        """The server does not take messages here any more: it said why, or it is tried again."""
        unsettled = list(link.unsettled.values())
        link.unsettled.clear()
        self._routes.pop((route.topic, route.mandatory), None)
        self.waiting -= len(route.waiting)
        for outgoing in unsettled + list(route.waiting):
            if condition is not None:
                self._tell(outgoing, Outcome.REJECTED, condition)
            else:
                self.outstanding -= 1
                self.send(outgoing)
        self._on_room()

    def on_credit(self, link: Link) -> None:
        if link.receiver:
            subscription: Subscription = link.context
            subscription.granted = link.credit
            self._on_room()
            return
        route: Route = link.context
        route.credit = link.credit
        waiting = route.waiting
        if waiting:
            while waiting and route.credit > 0:
                self.waiting -= 1
                self._send_on(route, link, waiting.popleft())
            self._on_room()

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        subscription: Subscription = link.context
        subscription.granted -= 1
        subscription.held += 1
        subscription._on_message(link, handle, data, settled)

    def on_outcome(self, link: Link, token: Any, outcome: Outcome, condition: Condition | None) -> None:
        self._tell(token, outcome, condition)
        self._on_room()

    def on_close(self, condition: Condition | None) -> None:
        self._on_state(False, error_of(condition))


class Backoff:
    """How long to wait before the next attempt: exponential with full jitter, so that many clients do not come back at
    once.
    """

    def __init__(self, shortest: float = 0.1, longest: float = 5.0) -> None:
        self._shortest = shortest
        self._longest = longest
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    def next(self, chance: float) -> float:
        """Seconds to wait. ``chance`` is a random number from 0 to 1."""
        most = min(self._longest, self._shortest * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return most * chance
