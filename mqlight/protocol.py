"""The client's state that outlives a connection: subscriptions, and messages that are not settled yet.

The rules of this file:

* A message given to ``send`` at least once (not ``settled``) is kept until the server has settled it. It is sent again
  over the next connection, before later messages. Its outcome is reported exactly once.
* A subscription is attached again over each connection, until it is given up. If the server ends a subscription that it
  had confirmed, ``resume`` attaches the subscription again: it must not end in silence.
* A message is held from its arrival to its settlement. The credit given to the server is the rest of the
  subscription's credit.
* Messages are sent when everything that the subscriptions need is declared. If the broker cannot do something, the
  subscription or message that needs it gets the error.
* This code is pure: bytes, time and chance come from outside, and one thread at a time calls it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from mqlight.amqp.capabilities import marks_of
from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Handle, Outcome, Peer
from mqlight.dialects import dialect_of
from mqlight.dialects.base import AddressError, Dialect, Wanted
from mqlight.dialects.management import Management
from mqlight.dialects.readdress import count_down
from mqlight.errors import MQLightError, NetworkError, NotPermittedError, error_of
from mqlight.log import Log, report
from mqlight.sender import Outgoing, Sender, too_large
from mqlight.subscription import Subscription

__all__ = ["EXPIRED", "ClientProtocol"]

log = Log(__name__)

# Looking a member up in its enum class takes five times as long.
_accepted: Final = Outcome.ACCEPTED
_released: Final = Outcome.RELEASED
_rejected: Final = Outcome.REJECTED

ANSWER_TIMEOUT = 20.0
"""Seconds within which a broker must answer a subscription."""
RESEND = 0.2
"""Seconds after which a message is sent again that a broker rejected without giving a reason."""
MAX_TRIES = 150
EXPIRED = "mqlight:expired"
"""The condition, defined here, of a message whose time to live ended before it could be sent."""
PASSING = ("amqp:internal-error", "amqp:illegal-state", "amqp:not-found")
"""Conditions of a cluster for a destination whose node is coming or going. The client then tries a new connection."""
REFUSALS = ("amqp:unauthorized-access", "amqp:not-allowed", "amqp:precondition-failed")
"""Conditions that end a session and that a broker would repeat over the next connection."""


class ClientProtocol:
    """The client's end of the contract. It is the engine's handler while there is an engine.

    ``on_state(connected, error)`` is called when the connection is ready, and when it has ended.
    ``on_room()`` is called when a waiting message was sent or settled.
    ``on_lapse()`` is called when :meth:`resume` has work to do, after a pause.
    ``clock()`` returns the time in seconds by which the time to live of waiting messages decreases.
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
        """Whether the server has sent its open frame and everything that the subscriptions need is declared."""
        self.dialect: Dialect | None = None
        """The dialect of the connected server."""
        self.rejected: list[Outgoing] = []
        """Messages that the broker could not take for the moment: see :meth:`resend`."""
        self.subscriptions: list[Subscription] = []
        self.outstanding = 0
        """The number of messages that were given to :meth:`send` and have no outcome yet."""
        self.waiting = 0
        """The number of those messages that wait for a connection or for credit."""
        self.peer: Peer | None = None
        """The properties that the last connected server sent about itself."""
        self._ending: list[Subscription] = []
        """Subscriptions that are given up. The server has not answered yet, or cannot be told without a connection."""
        self._client_id = self._nonce = ""
        self._options: Mapping[str, str] = {}
        self._relay = self._drops_unrouted = self._rejects_in_passing = self._only_accepts = False
        self._management: Management | None = None
        self._declaring: set[Subscription] = set()
        self._unanswered_since: float | None = None
        self._verdict: MQLightError | None = None
        """The error for which this client ends the connection itself."""
        self._early: deque[Outgoing] = deque()
        self._senders: dict[tuple[str | None, bool], Sender] = {}
        self._links = 0
        self._on_state = on_state
        self._on_room = on_room
        self._on_lapse = on_lapse
        self._clock = clock

    # Requests of the application

    def send(self, outgoing: Outgoing) -> None:
        """Send a message now if there is credit, otherwise as soon as there is credit."""
        self.outstanding += 1
        if not self.connected:
            self._wait(outgoing)
            self._early.append(outgoing)
            return
        key = (None if self._relay else outgoing.topic, outgoing.mandatory)
        sender = self._senders.get(key)
        if sender is None:
            sender = self._senders[key] = self._attach_sender(*key)
        if sender.credit > 0 and sender.link is not None:
            self._send_on(sender, sender.link, outgoing)
        else:
            self._wait(outgoing)
            sender.waiting.append(outgoing)

    def _wait(self, outgoing: Outgoing) -> None:
        self.waiting += 1
        if outgoing.since is None:
            outgoing.since = self._clock()

    def _send_on(self, sender: Sender, link: Link, outgoing: Outgoing) -> None:
        assert self.engine is not None
        message = outgoing.message
        if outgoing.since is not None:
            left = count_down(message, int((self._clock() - outgoing.since) * 1000))
            if left is None:
                said = "the time to live of the message was over before it could be sent"
                self._tell(outgoing, Outcome.RELEASED, Condition(EXPIRED, said))
                return
            message = left
        if sender.readdress is not None:
            try:
                message = sender.readdress(message, outgoing.topic, outgoing.settled)
            except AddressError as error:
                self._tell(outgoing, Outcome.REJECTED, error.condition)
                return
        size, limit = len(message), link.peer_max_message_size
        if limit and size > limit:  # the server would end the link, and with it the other messages on their way
            self._tell(outgoing, Outcome.REJECTED, too_large(size, limit))
            return
        sender.credit -= 1
        link.send(message, outgoing, outgoing.settled)
        if outgoing.settled:
            self._tell(outgoing, _accepted, None)

    def _tell(self, outgoing: Outgoing, outcome: Outcome, condition: Condition | None) -> None:
        self.outstanding -= 1
        if outgoing.on_outcome is not None:
            try:
                outgoing.on_outcome(outcome, condition)
            except BaseException:  # otherwise the outcomes of other messages are lost too
                report(log, outgoing.on_outcome)

    def subscribe(self, subscription: Subscription) -> None:
        """Listen, now and over each later connection. The first answer calls ``on_subscribed`` once."""
        self.subscriptions.append(subscription)
        if self.dialect is not None:
            self._attach_subscription(subscription)

    def unsubscribe(
        self, subscription: Subscription, *, forget: bool, on_ended: Callable[[Exception | None], None] | None
    ) -> None:
        """Stop listening.

        ``forget`` False leaves the destination to its time to live (MQ Light contract, 9). ``forget`` True deletes it,
        over the next connection if there is none now.
        """
        known = subscription in self.subscriptions  # False if the server ended it
        if known:
            self.subscriptions.remove(subscription)
        subscription._on_ended = on_ended
        subscription.forget = forget and subscription.ttl > 0  # with ttl 0 the server deletes it by itself
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
        """Settle a message; ``outcome`` is None if it came settled. Returns False if its connection is gone."""
        if link is not subscription.link or link.closed or self.engine is None:
            return False
        if self._only_accepts and outcome is not None and outcome is not Outcome.ACCEPTED:
            if outcome is not Outcome.REJECTED:
                link.detach(closed=False)  # messages that are not accepted go back with their link, which comes again
                return True
            outcome, condition = Outcome.ACCEPTED, None
        if outcome is not None and not link.settle(handle, outcome, condition):
            return False
        subscription.held -= 1
        if subscription.granted * 2 <= subscription.credit:
            subscription.top_up()
        return True

    def resume(self) -> None:
        """Attach again the subscriptions that the server ended."""
        if self.connected:
            for subscription in list(self.subscriptions):
                if subscription.link is None and subscription not in self._declaring:
                    self._attach_subscription(subscription)

    def pause(self) -> None:
        """Take the credit of all subscriptions back: held messages can be finished, and no more arrive."""
        for subscription in self.subscriptions:
            subscription.pause()

    def release_held(self) -> int:
        """Release the messages that arrived and are not settled. Returns their number."""
        released = 0
        for subscription in self.subscriptions:
            link = subscription.link
            if self._only_accepts:
                released += subscription.held
                subscription.held = 0
                continue  # the end of the connection gives these messages back
            if link is not None and not link.closed and self.engine is not None:
                for handle in list(link.held):
                    link.settle(handle, Outcome.RELEASED)
                    released += 1
                subscription.held = 0
        return released

    @property
    def holds(self) -> int:
        """The number of messages that are not settled, plus the credit that the server has not given back."""
        return sum(subscription.held + subscription.granted for subscription in self.subscriptions if subscription.link)

    @property
    def max_message_size(self) -> int:
        """The most bytes of one message that the server accepts on the open sending links; 0 if it has set no limit."""
        links = [sender.link for sender in self._senders.values() if sender.link is not None]
        return min((link.peer_max_message_size for link in links if link.peer_max_message_size), default=0)

    # The beginning and the end of a connection

    def begin(
        self, engine: Engine, client_id: str = "", options: Mapping[str, str] | None = None, nonce: str = ""
    ) -> None:
        """Begin a connection. ``options`` are those of its URL, ``nonce`` tells it from earlier connections."""
        self.engine = engine
        self._client_id = client_id
        self._options = options or {}
        self._nonce = nonce
        for subscription in self.subscriptions:
            subscription.paused = False
        engine.open()

    def end(self) -> None:
        """Handle the end of the connection. Messages that are not settled wait for the next one, in their old order."""
        again, self.rejected = self.rejected, []
        for sender in self._senders.values():
            if sender.link is not None:
                unsettled = sender.link.unsettled.values()
                for outgoing in unsettled:
                    self._wait(outgoing)
                again.extend(unsettled)
                sender.link.unsettled.clear()
            again.extend(sender.waiting)
        self._senders.clear()
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
        """Give up: there is no next connection, and every waiting message is released with ``condition``."""
        self.end()
        for subscription in self._ending:
            self._ended(subscription, None)
        self._ending.clear()
        early, self._early = self._early, deque()
        self.waiting = 0
        for outgoing in early:
            self._tell(outgoing, Outcome.RELEASED, condition)
        self._on_room()

    def _attach_sender(self, topic: str | None, mandatory: bool) -> Sender:
        assert self.engine is not None and self.dialect is not None
        sender = Sender(topic, mandatory, self.dialect.readdress if self.dialect.readdresses else None)
        self._links += 1
        target = self.dialect.target(topic, mandatory)
        sender.link = self.engine.attach_sender(f"{topic or 'relay'}-{self._links}", target)
        sender.link.context = sender
        return sender

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
        """Declare the destination that a subscription needs, then attach its link."""
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
        """End this connection, whose broker cannot do now what it could do before, and ask over the next one."""
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

    # Events from the server (engine.Handler)

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
        for subscription in list(self._ending):  # first, because the application may have subscribed to them again
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
            subscription.top_up()  # not earlier: RabbitMQ counts deliveries from a number in its answer
            self._subscribed(subscription, None)

    def _refused(self, subscription: Subscription, condition: Condition) -> None:
        """Handle a refused subscription, or the end of a subscription that the server had confirmed."""
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
        """Delete the destination of a subscription that is given up and has no link, if the client must do that."""
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
        """Whether a subscription is given up and the server has not been told, or has not answered."""
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
                pass  # the server ended it before, or the next connection attaches it again
            elif condition is None:
                self._attach_subscription(context)
            else:
                self._refused(context, condition)
        elif isinstance(context, Sender) and context.link is link:
            self._lost_sender(context, link, condition)
        elif isinstance(context, Management) and context is self._management:
            self._lost_management(condition or Condition("amqp:internal-error", "the server ended its management link"))

    def _lost_management(self, condition: Condition) -> None:
        self._management = None
        if condition.name not in PASSING:  # RabbitMQ ends the session of a client that lacks a permission
            for subscription in list(self._declaring):
                self._refused(subscription, condition)
        self._begin_again(condition)

    def _lost_sender(self, sender: Sender, link: Link, condition: Condition | None) -> None:
        """Handle the end of a sending link: reject its messages if the server gave a reason, or send them again."""
        assert self.dialect is not None
        unsettled = list(link.unsettled.values())
        link.unsettled.clear()
        self._senders.pop((sender.topic, sender.mandatory), None)
        self.waiting -= len(sender.waiting)
        again = [*unsettled, *sender.waiting]
        if condition is not None and (self._verdict is None or condition.name in REFUSALS):
            refused = [each for each in again if self.dialect.concerns(condition, each.topic)]
            again = [each for each in again if each not in refused]
            for outgoing in refused:
                self._tell(outgoing, Outcome.REJECTED, condition)
        if self._verdict is not None:  # the messages go over the next connection
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
            if isinstance(link.context, Subscription):
                link.context.granted = link.credit
            self._on_room()
            return
        sender: Sender = link.context
        sender.credit = link.credit
        waiting = sender.waiting
        if waiting:
            while waiting and sender.credit > 0:
                self.waiting -= 1
                self._send_on(sender, link, waiting.popleft())
            self._on_room()

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        context = link.context
        if isinstance(context, Subscription):
            context.granted -= 1
            context.held += 1
        context.on_message(link, handle, data, settled)

    def on_outcome(self, link: Link, token: Any, outcome: Outcome, condition: Condition | None) -> None:
        if outcome is _released and self._drops_unrouted and not token.mandatory:
            outcome = _accepted  # without a subscription, MQ Light accepts and drops a message
        elif outcome is _rejected and self._rejects_in_passing and not (condition and condition.name):
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
        """Do nothing: a sender needs only the outcome."""

    def look(self, now: float) -> float | None:
        """Begin again if the broker has not answered a subscription for too long, as RabbitMQ does with a queue that
        came back broken from a crash. Call it now and then. Returns when to call it again at the latest.
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
        """Send again the messages that the broker could not take. Call it ``RESEND`` seconds after the first one."""
        if self.connected:
            rejected, self.rejected = self.rejected, []
            self.waiting -= len(rejected)
            self.outstanding -= len(rejected)
            for outgoing in rejected:
                self.send(outgoing)

    def on_close(self, condition: Condition | None) -> None:
        error = self._verdict or error_of(condition)
        if self.engine is not None and self.engine.failed and self._verdict is None:
            error = NetworkError(str(condition))  # this end found the fault: the server has refused nothing
        self._on_state(False, error)
