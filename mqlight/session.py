"""What outlives a connection: subscriptions, and messages on their way out.

The rules of this file:

* A message that was given to :meth:`Session.send` at least once (not ``settled``) is kept until the server settled it,
  and sent again over the next connection, before what was given later. Its outcome is told exactly once.
* A subscription is attached again over each connection, until it is given up. One that the server had confirmed and
  then ended is attached again as well, when :meth:`Session.resume` is called: it must not end in silence.
* A message is held from its arrival to its settlement, and the credit given to the server is what is left of the
  subscription's.
* It is ready, and sends, when what the subscriptions need is declared. What the broker cannot do is told to the
  subscription or message that asked for it.
* It is pure: bytes, time and chance come in from outside, and one thread at a time touches it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Handle, Outcome, Peer
from mqlight.errors import MQLightError, NetworkError, NotPermittedError, error_of
from mqlight.outgoing import Outgoing, Route, too_large
from mqlight.subscription import Subscription
from mqlight.wire.addressing import dialect_of
from mqlight.wire.attempts import marks_of
from mqlight.wire.dialect import AddressError, Dialect, Wanted
from mqlight.wire.log import Log, report
from mqlight.wire.management import Management
from mqlight.wire.stamping import count_down

__all__ = ["EXPIRED", "Session"]

log = Log(__name__)

ANSWER_TIMEOUT = 20.0
"""Seconds that a broker has to answer a subscription."""
RESEND = 0.2
"""Seconds after which a message is sent again that a broker rejected without a reason."""
MAX_TRIES = 150
EXPIRED = "mqlight:expired"
"""Our own condition for a message whose time to live is over before it could be sent."""
PASSING = ("amqp:internal-error", "amqp:illegal-state", "amqp:not-found")
"""What a cluster says of a destination whose node is coming or going: it is asked for again over a new connection."""
REFUSALS = ("amqp:unauthorized-access", "amqp:not-allowed", "amqp:precondition-failed")
"""What a broker says, of its session's end, that it would say again over the next one."""


class Session:
    """The client's end of the contract; the engine's handler while there is one.

    ``on_state(connected, error)`` is called when the server has greeted us, and when the connection is over.
    ``on_room()`` is called when something that waited has gone out or was settled.
    ``on_lapse()`` is called when there is something for :meth:`resume` to do, after a pause.
    ``clock()`` returns the seconds by which the time to live of a message goes by while it waits here.
    """

    def __init__(
        self,
        *,
        on_state: Callable[[bool, MQLightError | None], None],
        on_room: Callable[[], None],
        on_lapse: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.engine: Engine | None = None
        self.connected = False
        """The server has greeted us, and what the subscriptions need is declared."""
        self.dialect: Dialect | None = None
        """That of the server that has greeted us."""
        self.rejected: list[Outgoing] = []
        """What the broker could not take just now: see :meth:`resend`."""
        self.subscriptions: list[Subscription] = []
        self.outstanding = 0
        """Messages that were given to :meth:`send` and whose outcome is not told yet."""
        self.waiting = 0
        """Those among them that wait for a connection or for credit."""
        self.peer: Peer | None = None
        """What the server said of itself that greeted us last."""
        self._ending: list[Subscription] = []
        """Given up, and the server has not answered yet, or has not been told: there is no connection."""
        self._client_id = self._nonce = ""
        self._options: Mapping[str, str] = {}
        self._relay = self._drops_unrouted = self._rejects_in_passing = self._only_accepts = False
        self._management: Management | None = None
        self._declaring: set[Subscription] = set()
        self._unanswered_since: float | None = None
        self._verdict: MQLightError | None = None
        """Why we end a connection ourselves."""
        self._early: deque[Outgoing] = deque()
        self._routes: dict[tuple[str | None, bool], Route] = {}
        self._links = 0
        self._on_state = on_state
        self._on_room = on_room
        self._on_lapse = on_lapse
        self._clock = clock

    # What the application wants

    def send(self, outgoing: Outgoing) -> None:
        """Send now if there is credit, else as soon as there is."""
        self.outstanding += 1
        if not self.connected:
            self._wait(outgoing)
            self._early.append(outgoing)
            return
        key = (None if self._relay else outgoing.topic, outgoing.mandatory)
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = self._attach_route(*key)
        if route.credit > 0 and route.link is not None:
            self._send_on(route, route.link, outgoing)
        else:
            self._wait(outgoing)
            route.waiting.append(outgoing)

    def _wait(self, outgoing: Outgoing) -> None:
        self.waiting += 1
        if outgoing.since is None:
            outgoing.since = self._clock()

    def _send_on(self, route: Route, link: Link, outgoing: Outgoing) -> None:
        assert self.engine is not None
        message = outgoing.message
        if outgoing.since is not None:
            left = count_down(message, int((self._clock() - outgoing.since) * 1000))
            if left is None:
                said = "the time to live of the message was over before it could be sent"
                self._tell(outgoing, Outcome.RELEASED, Condition(EXPIRED, said))
                return
            message = left
        if route.stamp is not None:
            try:
                message = route.stamp(message, outgoing.topic, outgoing.settled)
            except AddressError as error:
                self._tell(outgoing, Outcome.REJECTED, error.condition)
                return
        size, limit = len(message), link.peer_max_message_size
        if limit and size > limit:  # the server would end the link for it, and with it what else is on its way
            self._tell(outgoing, Outcome.REJECTED, too_large(size, limit))
            return
        route.credit -= 1
        link.send(message, outgoing, outgoing.settled)
        if outgoing.settled:
            self._tell(outgoing, Outcome.ACCEPTED, None)

    def _tell(self, outgoing: Outgoing, outcome: Outcome, condition: Condition | None) -> None:
        self.outstanding -= 1
        if outgoing.on_outcome is not None:
            try:
                outgoing.on_outcome(outcome, condition)
            except BaseException:  # else the outcomes of other messages are lost with it
                report(log, outgoing.on_outcome)

    def subscribe(self, subscription: Subscription) -> None:
        """Listen, now and over each later connection. ``on_subscribed`` is told once, by the first answer."""
        self.subscriptions.append(subscription)
        if self.dialect is not None:
            self._attach_subscription(subscription)

    def unsubscribe(
        self, subscription: Subscription, *, forget: bool, on_ended: Callable[[Exception | None], None] | None
    ) -> None:
        """Stop listening. ``forget`` False leaves the destination to its time to live (wire contract 1.9), True ends
        it, over the next connection if there is none.
        """
        known = subscription in self.subscriptions  # it is not when the server ended it
        if known:
            self.subscriptions.remove(subscription)
        subscription._on_ended = on_ended
        subscription.forget = forget and subscription.ttl > 0  # without a time to live the server does so by itself
        link = subscription.link
        if subscription in self._declaring:
            self._ending.append(subscription)
        elif link is not None and not link.closed:
            self._ending.append(subscription)
            link.detach(closed=forget)
        elif known and subscription.forget and not self.connected:
            self._ending.append(subscription)
        else:
            self._ended(subscription, None)

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
        if self._only_accepts and outcome is not None and outcome is not Outcome.ACCEPTED:
            if outcome is not Outcome.REJECTED:
                link.detach(closed=False)  # what is not accepted goes back with its link, which is attached again
                return True
            outcome, condition = Outcome.ACCEPTED, None
        if outcome is not None and not link.settle(handle, outcome, condition):
            return False
        subscription.held -= 1
        if subscription.granted * 2 <= subscription.credit:
            subscription.top_up()
        return True

    def resume(self) -> None:
        """Attach the subscriptions again that the server ended."""
        if self.connected:
            for subscription in list(self.subscriptions):
                if subscription.link is None and subscription not in self._declaring:
                    self._attach_subscription(subscription)

    def pause(self) -> None:
        """Take the credit of all subscriptions back: what is here is finished, nothing more is taken."""
        for subscription in self.subscriptions:
            subscription.pause()

    def release_held(self) -> int:
        """Give back what arrived and is not settled, for somebody else to do; returns how many messages that were."""
        released = 0
        for subscription in self.subscriptions:
            link = subscription.link
            if self._only_accepts:
                released += subscription.held
                subscription.held = 0
                continue  # the end of the connection gives them back
            if link is not None and not link.closed and self.engine is not None:
                for handle in list(link.held):
                    link.settle(handle, Outcome.RELEASED)
                    released += 1
                subscription.held = 0
        return released

    @property
    def holds(self) -> int:
        """Messages that arrived and are not settled, and credit that the server has not given back."""
        return sum(subscription.held + subscription.granted for subscription in self.subscriptions if subscription.link)

    @property
    def max_message_size(self) -> int:
        """The most bytes that the server takes in one message, as far as it has told where we send; 0: it has not."""
        links = [route.link for route in self._routes.values() if route.link is not None]
        return min((link.peer_max_message_size for link in links if link.peer_max_message_size), default=0)

    # The connection comes and goes

    def begin(
        self, engine: Engine, client_id: str = "", options: Mapping[str, str] | None = None, nonce: str = ""
    ) -> None:
        """A connection begins. ``options`` are those of its URL, ``nonce`` tells it from those before it."""
        self.engine = engine
        self._client_id = client_id
        self._options = options or {}
        self._nonce = nonce
        for subscription in self.subscriptions:
            subscription.paused = False
        engine.open()

    def end(self) -> None:
        """The connection is gone: what the server had not settled waits for the next one, in its old order."""
        again, self.rejected = self.rejected, []
        for route in self._routes.values():
            if route.link is not None:
                unsettled = route.link.unsettled.values()
                for outgoing in unsettled:
                    self._wait(outgoing)
                again.extend(unsettled)
                route.link.unsettled.clear()
            again.extend(route.waiting)
        self._routes.clear()
        self._early.extendleft(reversed(again))
        for subscription in self.subscriptions:
            subscription.link = None
            subscription.granted = subscription.held = 0
        self.engine = self.dialect = self._management = self._verdict = None
        self.connected = False
        self._unanswered_since = None
        self._declaring.clear()
        given_up, self._ending = self._ending, []
        for subscription in given_up:
            subscription.link = None
            if subscription.forget:
                self._ending.append(subscription)
            else:
                self._ended(subscription, None)

    def give_up(self, condition: Condition) -> None:
        """There will be no next connection: every message still here is told so."""
        self.end()
        for subscription in self._ending:
            self._ended(subscription, None)
        self._ending.clear()
        early, self._early = self._early, deque()
        self.waiting = 0
        for outgoing in early:
            self._tell(outgoing, Outcome.RELEASED, condition)
        self._on_room()

    def _attach_route(self, topic: str | None, mandatory: bool) -> Route:
        assert self.engine is not None and self.dialect is not None
        route = Route(topic, mandatory, self.dialect.stamp if self.dialect.stamps else None)
        self._links += 1
        target = self.dialect.target(topic, mandatory)
        route.link = self.engine.attach_sender(f"{topic or 'relay'}-{self._links}", target)
        route.link.context = route
        return route

    def _wanted(self, subscription: Subscription) -> Wanted:
        return Wanted(
            self._client_id,
            subscription.pattern,
            subscription.share,
            subscription.qos,
            subscription.ttl,
            subscription.max_deliveries,
            subscription.dead_letters,
            subscription.marks,
            self._nonce,
        )

    def _attach_subscription(self, subscription: Subscription) -> None:
        """Declare what it needs, then attach its link."""
        assert self.dialect is not None
        try:
            steps = self.dialect.declare(self._wanted(subscription))
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
        elif subscription not in self.subscriptions:
            pass
        elif condition is None:
            self._attach_link(subscription)
        elif condition.name in PASSING and not self.connected:
            self._begin_again(condition)
            return
        else:
            self._refused(subscription, condition)
        if not self._declaring and not self.connected:
            self._get_ready()

    def _begin_again(self, condition: Condition) -> None:
        """The broker is in no state to do what it could do before: end this connection, and ask over the next one."""
        assert self.engine is not None
        self._verdict = self._verdict or NetworkError(str(condition))
        self.engine.close(Condition("amqp:connection:forced", "the client begins again"))

    def _attach_link(self, subscription: Subscription) -> None:
        assert self.engine is not None and self.dialect is not None
        try:
            name, source = self.dialect.source(self._wanted(subscription))
        except AddressError as error:
            self._refused(subscription, error.condition)
            return
        if subscription.forget:
            source = replace(source, timeout=0)
        link = self.engine.attach_receiver(name, source, at_most_once=subscription.qos == 0)
        link.context = subscription
        subscription.link = link
        subscription.granted = subscription.held = 0
        if subscription.forget:
            link.detach()

    # What the server did (engine.Handler)

    def on_open(self, peer: Peer) -> None:
        if self.dialect is not None or self.engine is None:
            return
        self.peer = peer
        try:
            self.dialect = dialect = dialect_of(peer, self._options)
        except AddressError as error:
            self._verdict = NotPermittedError(f"this server cannot be used: {error}", condition=error.condition.name)
            self.engine.close(error.condition)
            return
        self._relay = dialect.relay
        self._drops_unrouted = dialect.releases_unrouted
        self._rejects_in_passing = dialect.rejects_in_passing
        self._only_accepts = dialect.only_accepts
        if dialect.management is not None:
            self._management = Management(self.engine, dialect.management)
        for subscription in list(self._ending):  # first: what is to be forgotten may be new again
            if self._management is not None:
                self._forget(subscription)
            else:
                self._attach_link(subscription)
        for subscription in list(self.subscriptions):
            self._attach_subscription(subscription)
        if not self._declaring:
            self._get_ready()

    def _get_ready(self) -> None:
        self.connected = True
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
        elif isinstance(subscription, Management):
            subscription.on_attach(link)
        elif isinstance(subscription, Subscription) and link.source.address is not None:
            subscription.marks_granted = marks_of(link.source.capabilities)
            subscription.top_up()  # not before: RabbitMQ counts deliveries from a number that only its answer tells
            self._subscribed(subscription, None)

    def _refused(self, subscription: Subscription, condition: Condition) -> None:
        """The server does not let us subscribe, or ended a subscription that it had confirmed."""
        if subscription.confirmed:
            if not subscription.lapsed:
                log.error("the server ended the subscription %s, trying again: %s", subscription.address, condition)
            subscription.lapsed = True
            self._on_lapse()
        else:
            if subscription in self.subscriptions:
                self.subscriptions.remove(subscription)
            self._subscribed(subscription, error_of(condition))

    def _forget(self, subscription: Subscription) -> None:
        """It was given up, and its link is gone: have its destination deleted if that is up to us."""
        steps = None
        if self._management is not None and self.dialect is not None and (subscription.forget or not subscription.ttl):
            steps = self.dialect.forget(self._wanted(subscription))

        def forgotten(condition: Condition | None) -> None:
            self._ending.remove(subscription)
            self._ended(subscription, None if condition is None else error_of(condition))
            self._on_room()

        if steps is None or self._management is None:
            forgotten(None)
        else:
            self._management.run(steps, forgotten)

    @property
    def forgets(self) -> bool:
        """Whether the server has still to be told, or to answer, that a subscription is given up."""
        return bool(self._ending)

    def _subscribed(self, subscription: Subscription, error: Exception | None) -> None:
        if error is None:
            subscription.confirmed = True
            if subscription.lapsed:
                log.info("subscribed to %s again", subscription.address)
            subscription.lapsed = False
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
                self._forget(context)
            elif context not in self.subscriptions or self._verdict is not None:
                pass  # the server ended it before, or it is attached again over the next connection
            elif condition is None:
                self._attach_subscription(context)
            else:
                self._refused(context, condition)
        elif isinstance(context, Route) and context.link is link:
            self._lost_route(context, link, condition)
        elif isinstance(context, Management) and context is self._management:
            self._lost_management(condition or Condition("amqp:internal-error", "the server ended its management link"))

    def _lost_management(self, condition: Condition) -> None:
        self._management = None
        if condition.name not in PASSING:  # RabbitMQ ends the session of who lacks a permission
            for subscription in list(self._declaring):
                self._refused(subscription, condition)
        self._begin_again(condition)

    def _lost_route(self, route: Route, link: Link, condition: Condition | None) -> None:
        """The server does not take messages here any more: it said why, or it is tried again."""
        assert self.dialect is not None
        unsettled = list(link.unsettled.values())
        link.unsettled.clear()
        self._routes.pop((route.topic, route.mandatory), None)
        self.waiting -= len(route.waiting)
        again = [*unsettled, *route.waiting]
        if condition is not None and (self._verdict is None or condition.name in REFUSALS):
            refused = [each for each in again if self.dialect.concerns(condition, each.topic)]
            again = [each for each in again if each not in refused]
            for outgoing in refused:
                self._tell(outgoing, Outcome.REJECTED, condition)
        if self._verdict is not None:  # they are sent over the next connection
            self.waiting += len(again)
            self.rejected += again
            return
        for outgoing in again:
            self.outstanding -= 1
            self.send(outgoing)
        self._on_room()

    def on_credit(self, link: Link) -> None:
        if link.context is self._management and self._management is not None:
            self._management.on_credit()
            return
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
        subscription.on_message(link, handle, data, settled)

    def on_outcome(self, link: Link, token: Any, outcome: Outcome, condition: Condition | None) -> None:
        if outcome is Outcome.RELEASED and self._drops_unrouted and not token.mandatory:
            outcome = Outcome.ACCEPTED  # MQ Light accepts and drops what nobody is subscribed to
        elif outcome is Outcome.REJECTED and self._rejects_in_passing and not (condition and condition.name):
            token.tries += 1
            if token.tries < MAX_TRIES:
                self._wait(token)
                self.rejected.append(token)
                self._on_room()
                return
            condition = Condition("amqp:resource-limit-exceeded", "the broker could not take it, again and again")
        self._tell(token, outcome, condition)
        self._on_room()

    def on_received(self, link: Link, token: Any) -> None:
        """Nothing: what matters to a sender is the outcome."""

    def look(self, now: float) -> float | None:
        """Begin again when the broker owes answers about subscriptions for too long, as RabbitMQ does where a queue has
        come back broken from a crash. Call it now and then; returns when at the latest.
        """
        owed = [
            subscription.address
            for subscription in self.subscriptions
            if subscription in self._declaring
            or subscription.link is not None
            and subscription.link.source.address is None
        ]
        if not owed or self._verdict is not None:
            self._unanswered_since = None
            return None
        if self._unanswered_since is None:
            self._unanswered_since = now
        if now >= self._unanswered_since + ANSWER_TIMEOUT:
            self._unanswered_since = None
            said = f"the broker has not answered the subscription {owed[0]} for {ANSWER_TIMEOUT:g} s"
            self._begin_again(Condition("amqp:internal-error", said))
            return None
        return self._unanswered_since + ANSWER_TIMEOUT

    def resend(self) -> None:
        """Send again what the broker could not take; call it ``RESEND`` seconds after there was something."""
        if self.connected:
            rejected, self.rejected = self.rejected, []
            self.waiting -= len(rejected)
            self.outstanding -= len(rejected)
            for outgoing in rejected:
                self.send(outgoing)

    def on_close(self, condition: Condition | None) -> None:
        error = self._verdict or error_of(condition)
        if self.engine is not None and self.engine.failed and self._verdict is None:
            error = NetworkError(str(condition))  # this end found it: the server has refused nothing
        self._on_state(False, error)
