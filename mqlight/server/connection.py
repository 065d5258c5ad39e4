"""One client of the server: its SASL, its engine, and its links tied to the broker.

Like the parts it ties together it does no input or output: the listener moves the bytes and brings the time.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Handle, Outcome, Peer, Terminus
from mqlight.server import grant
from mqlight.server.broker import Broker, Consumer, Name, Owner, Queued
from mqlight.server.grant import TEMPORARY
from mqlight.server.limits import FULL, Limits
from mqlight.server.permissions import EVERYTHING, User
from mqlight.server.sasl import Identity, Sasl, Verdict
from mqlight.wire.attempts import Marks, marks_of
from mqlight.wire.message import MessageError, admit, header
from mqlight.wire.text import control_in

log = logging.getLogger(__name__)

ANONYMOUS_RELAY = "ANONYMOUS-RELAY"
RELEASE_UNROUTED = "mqlight:release-unrouted"
"""Asked for among a sender's target capabilities: a message that nobody is subscribed to is released, not accepted."""
GRANTED = frozenset(
    (RELEASE_UNROUTED, "topic", "temporary-topic", "temporary-queue", *(marks.value for marks in Marks if marks.value))
)
"""The capabilities of sources and targets that the server has."""
SENDER_CREDIT = 1000
"""How many messages a client may have on their way to us on one link; topped up at half."""
FAREWELL = 5.0
"""Seconds that a client has to answer a close."""
MEASURED = 256 * 1024
"""Bytes of input between two looks at how much of it is unfinished messages."""
TOPICS = 1000
"""How many topics' permissions are remembered of one connection."""
_MOST_UINT = 2**32 - 1
_FAULT = Condition("amqp:internal-error", "a fault of the server")
_PLAIN_HEADER = header(None, 0, False)
_FIRST_HEADER = header(first_acquirer=True)
_UNKNOWN = Condition("")


class Publisher:
    """A link that a client sends on: to one topic, or (an anonymous one) to the topic in each message.

    ``refusal`` is why nothing may be sent to that one topic, ``made`` the destination that ends with the link.
    """

    __slots__ = ("left", "made", "refusal", "released", "topic")

    def __init__(
        self, topic: str | None, released: bool, refusal: Condition | None, made: Name | None = None
    ) -> None:
        self.made = made
        self.topic = topic
        self.released = released
        self.refusal = refusal
        self.left = SENDER_CREDIT


class ClientConnection:
    """What the server knows of one socket's client. ``offered`` are the capabilities that it is told of.

    ``dirty(connection)`` is called when there is output to flush, ``named(connection)`` when the client said its id: it
    returns why the client may not have that id. ``check(identity)`` is SASL's; ``user`` is set before it lets one in.
    """

    offered: tuple[str, ...] = (ANONYMOUS_RELAY,)
    granted: frozenset[str] = GRANTED
    engine: Engine  # made when the client has logged in: one that does not costs no more than its socket

    def __init__(
        self,
        broker: Broker,
        *,
        address: str,
        check: Callable[[Identity], Verdict],
        dirty: Callable[[ClientConnection], None],
        named: Callable[[ClientConnection], Condition | None],
        heartbeat: float,
        limits: Limits,
        properties: dict[str, str],
        mechanisms: tuple[str, ...] = ("ANONYMOUS", "PLAIN"),
    ) -> None:
        self.address = address
        self.client_id = ""
        self.user = User(None, EVERYTHING)
        self.closed = False
        self.limits = limits
        self._broker = broker
        self._dirty = dirty
        self._named = named
        self._now = time.monotonic()
        self._sasl: Sasl | None = Sasl(check, mechanisms)
        """None when the client has logged in."""
        self._opened = False
        self.hurries = False
        """Call :meth:`tick` now: the client has just said how soon it wants heartbeats."""
        self._began: float | None = None
        self._heartbeat = heartbeat
        self._properties = properties
        self._early = b""
        self._leave_at: float | None = None
        self._cut_off = False
        self._faulty = False
        """A link failed to take a message: the connection is closed as soon as the broker is done with its own work."""
        self._unmeasured = 0
        self._unfinished = 0
        self.ended: str | None = None
        """Why the connection is over, as far as that was said."""
        self._unsent = 0
        """Bytes that wait for the client to read, as far as the broker has been told."""
        self._clogged = False
        self._short: set[Link] = set()
        """Sending links whose client would take more than it may hold unsettled."""
        self._topics: dict[str, Condition | None] = {}
        self._number = grant.number()
        self._made: set[str] = set()
        """Addresses that were made for this client: it may use them whatever else it may."""

    # Bytes, moved by the listener

    def receive(self, data: bytes, now: float) -> None:
        """Bytes from the client."""
        self._now = now
        if self._cut_off:
            return  # it has gone too far, and is only waited for
        if self._sasl is None:
            self.engine.receive(data)
            self._unmeasured += len(data)
            if self._unmeasured > MEASURED:
                self._measure()
        else:
            self._early += self._sasl.receive(data)
            self._log_in(self._sasl)
        self._dirty(self)

    @property
    def pending(self) -> bool:
        """Whether a login waits for :meth:`decide`. No more bytes are to be brought until then."""
        return self._sasl is not None and self._sasl.pending

    def decide(self, verdict: bool | str, now: float) -> None:
        """The verdict on a login for which ``check`` gave none."""
        self._now = now
        if self._sasl is not None and self._sasl.pending and not self.closed:
            self._early += self._sasl.decide(verdict)
            self._log_in(self._sasl)
            self._dirty(self)

    def _log_in(self, sasl: Sasl) -> None:
        if sasl.failed:
            log.warning("%s: refused: %s", self.address, sasl.failed)
            self.closed = True
        elif sasl.finished:
            self._sasl = None
            limits = self.limits
            self.engine = Engine(
                self,
                server=True,
                container_id="mqlight-server",
                heartbeat=self._heartbeat,
                max_frame_size=limits.frame_size,
                max_message_size=limits.message_size,
                max_sessions=limits.sessions,
                properties=self._properties,
                offered=self.offered,
            )
            if sasl.rest:
                self.engine.receive(sasl.rest)

    def output(self) -> bytes:
        """What the client is to be sent now; say with :meth:`sent` how much of it went."""
        if self._faulty:
            self._faulty = False
            self.close(_FAULT, self._now)
        return self._early or (self.engine.output() if self._sasl is None else b"")

    def sent(self, size: int) -> None:
        if self._early:
            self._early = self._early[size:]
            return
        self.engine.sent(size)
        if self._unsent and not self.closed:
            self._count_unsent()
            if self._clogged and self._unsent <= min(self.limits.unread // 2, MEASURED):
                self._clogged = False
                for link in self.engine.links():
                    self.on_credit(link)

    def end_of_input(self, now: float) -> None:
        """The client's socket is gone."""
        self._now = now
        self.ended = self.ended or "the client's socket was closed without a farewell"
        if self._sasl is None:
            try:
                self.engine.end_of_input()
            finally:  # whatever the engine did: what the client held goes back
                self._give_back()
                self._forget_buffers()
        self.closed = True

    def tick(self, now: float) -> float | None:
        """Let time pass: heartbeats out, and an end to a client that sends none, does not log in, or does not leave
        when told to. Returns when to call again at the latest, where that is known.
        """
        self._now = now
        self._began = self._began or now
        if self._leave_at is not None and now >= self._leave_at:
            self.closed = True
            self._forget_buffers()
        elif not self._opened and not self.closed and now >= self._began + self.limits.login_time:
            log.warning("%s: not logged in in time (%s)", self.address, self.limits.flag("login_time"))
            self.closed = True
        due = self.engine.tick(now) if self._sasl is None else None
        self._dirty(self)
        return due

    def close(self, condition: Condition, now: float) -> None:
        """Send the client away; what it held goes back."""
        self._now = now
        self.ended = self.ended or f"the server has closed it: {condition}"
        if self._sasl is None:
            self._leave_at = now + FAREWELL
            try:
                self.engine.close(condition)
            finally:
                self._give_back()
        else:
            self.closed = True
        self._dirty(self)

    def _cut(self, condition: Condition) -> None:
        """Send away a client that went too far: it is told why, and nothing that it still sends is looked at."""
        log.warning("%s %s: cut off: %s", self.address, self.client_id, condition.description)
        self._cut_off = True
        self.close(condition, self._now)

    def _measure(self) -> None:
        """Count the memory of messages that have begun and not ended, and end the connection where it is too much."""
        unfinished = self.engine.unfinished()
        self._unmeasured = 0
        self._count_unfinished(unfinished)
        most = max(4 * self.limits.message_size, 1024 * 1024)
        if unfinished > most:
            self._cut(self.limits.reached("message_size", f"there are {unfinished} bytes of unfinished messages"))
        elif unfinished > MEASURED and self._broker.memory() > self.limits.memory:
            self._cut(self.limits.reached("memory", f"there are {unfinished} bytes of unfinished messages"))

    def _count_unfinished(self, unfinished: int) -> None:
        self._broker.unfinished += unfinished - self._unfinished
        self._unfinished = unfinished

    # What the client did (engine.Handler)

    def on_open(self, peer: Peer) -> None:
        self._opened = self.hurries = True
        self.client_id = peer.container_id
        if len(self.client_id) > self.limits.name_length:
            name, self.client_id = self.client_id, ""
            refusal: Condition | None = Condition(
                "amqp:invalid-field",
                f"a client id of {len(name)} characters is too long ({self.limits.flag('name_length')})",
            )
        elif (control := control_in(self.client_id)) is not None:
            self.client_id = ""
            refusal = Condition("amqp:invalid-field", f"the client id has the control character {control}; take it out")
        else:
            self.user = self.user._replace(permissions=self.user.permissions.of_client(self.client_id))
            refusal = self._named(self)
        self.engine.open()
        if refusal is not None:
            log.warning("%s: refused: %s", self.address, refusal.description)
            self.client_id = ""
            self.close(refusal, self._now)
        else:
            log.info("%s %s: connected as %s", self.address, self.client_id, self.user)

    def on_attach(self, link: Link) -> None:
        if self._leave_at is not None:
            link.refuse(Condition("amqp:connection:forced", "this connection is closing"))
            return
        limits, count = self.limits, len(self.engine.links())
        if count > limits.links:
            excess = limits.reached("links", f"this connection has {count - 1} links already")
            link.refuse(excess)
            if count == limits.links + 1:
                log.warning("%s %s: link %.80s refused: %s", self.address, self.client_id, link.name, excess)
            elif count > 2 * limits.links:  # refused ones count until the client has detached them
                self._cut(excess)
            return
        refusal = self._attach_publisher(link) if link.receiver else self._attach_consumer(link)
        if refusal is not None:
            log.warning("%s %s: link %.80s refused: %s", self.address, self.client_id, link.name, refusal.description)
            link.refuse(refusal)

    def _attach_publisher(self, link: Link) -> Condition | None:
        target = link.target
        if target.coordinator:
            return Condition("amqp:not-implemented", "this server has no transactions")
        made: Name | None = None
        refusal = None
        if target.dynamic:
            target = replace(target, address=self._new_address())
            excess = self._broker.excess(self._owner)
            if excess is not None:
                return excess
            if "temporary-topic" not in target.capabilities:
                made = Name(target.address or "", link=TEMPORARY)
                self._broker.create(made, self._owner)
            self._made.add(target.address or "")
        elif target.address:
            # The link is accepted and each message rejected: MQ Light clients try a refused link for ever.
            refusal = self._refusal_to_send(target.address)
        released = RELEASE_UNROUTED in target.capabilities and RELEASE_UNROUTED in self.granted
        link.context = Publisher(target.address or None, released, refusal, made)
        capabilities = tuple(name for name in target.capabilities if name in self.granted)
        link.target = Terminus(target.address, dynamic=target.dynamic, capabilities=capabilities)
        link.accept()
        link.flow(SENDER_CREDIT)
        return None

    def _new_address(self) -> str:
        """A topic for replies to a client that has none: it reads its name in our attach (sections 3.5.3, 3.5.4)."""
        return f"response/{uuid.uuid4().hex}"

    def _refusal_to_send(self, topic: str) -> Condition | None:
        """Why the user may not send to a topic. It is remembered."""
        refusal = None
        try:
            self.limits.check_topic(topic)
        except ValueError as error:
            refusal = Condition("amqp:not-allowed", str(error))
        if not self.user.permissions.may_send(topic):
            refusal = self.user.refusal("send", topic)
        if refusal is not None:
            log.warning("%s %s: %s", self.address, self.client_id, refusal.description)
        if len(self._topics) >= TOPICS:
            self._topics.clear()
        self._topics[topic] = refusal
        return refusal

    def _attach_consumer(self, link: Link) -> Condition | None:
        refusal = grant.refusal(link.source)
        if refusal is not None:
            return refusal
        if link.source.dynamic:
            link.source = replace(link.source, address=self._new_address())
            self._made.add(link.source.address or "")
        source, broker = link.source, self._broker
        known = broker.lasting(self.client_id, link.name) if self.client_id else None
        if source.address is None and known is None:
            reason = f"the source has no address, and {self.client_id or 'this client'} has no subscription"
            return Condition("amqp:not-found", f"{reason} {link.name:.80}; name a topic pattern, or ask for dynamic")
        ttl: float = grant.time_to_live(source, self.client_id)
        try:
            if source.address is None and known is not None:  # it is resumed (section 2.6.3)
                source, name, ttl = replace(source, address=known.name.pattern), known.name, known.ttl
            else:
                name = grant.name_of(link, self.client_id, self._number)
            self.limits.check_pattern(name.pattern)
        except ValueError as error:
            return Condition("amqp:not-allowed", str(error))
        shared = Name(name.pattern, link=grant.TEMPORARY)
        if shared in broker.destinations:
            name, ttl = shared, 0
        refusal = self._refusal_to_subscribe(name, made_here=name.pattern in self._made)
        if refusal is not None:
            return refusal
        if isinstance(name.link, str) and known is not None:
            if known.consumers:
                return Condition("amqp:resource-locked", f"another link has the subscription {link.name:.80}")
            if known.name != name:  # to another address it is another subscription
                broker.remove(known.name)
        link.source = grant.granted(source, ttl, self.granted, durable=broker.ledger is not None)
        link.accept()
        consumer = broker.subscribe(
            name, ttl, self._deliverer(link), at_most_once=link.settles_at_once, owner=self._owner
        )
        consumer.marks = marks_of(link.source.capabilities)
        consumer.held = link.unsettled.values
        consumer.failed = partial(self._failed, link)
        link.context = consumer
        return None

    @property
    def _owner(self) -> Owner:
        return Owner(self.user.name, self.client_id)

    def _refusal_to_subscribe(self, name: Name, *, made_here: bool) -> Condition | None:
        limits, destinations = self.limits, self._broker.destinations
        if not made_here and not self.user.permissions.may_subscribe(name.pattern):
            return self.user.refusal("subscribe", name.pattern)
        if name.share is not None and (control := control_in(name.share)) is not None:
            return Condition("amqp:not-allowed", f"the share {name.share[:80]!r} has the control character {control}")
        if name.share is not None and len(name.share) > limits.name_length:
            reason = f"a share of {len(name.share)} characters is too long ({limits.flag('name_length')})"
            return Condition("amqp:not-allowed", reason)
        destination = destinations.get(name)
        if isinstance(name.link, str) and len(name.link) > limits.name_length:
            reason = f"a link name of {len(name.link)} characters is too long ({limits.flag('name_length')})"
            return Condition("amqp:not-allowed", reason)
        if destination is None:
            return self._broker.excess(self._owner)
        if len(destination.consumers) >= limits.subscribers:
            count = len(destination.consumers)
            return limits.reached("subscribers", f"the destination {name} has {count} subscribers already")
        return None

    def _deliverer(self, link: Link) -> Callable[[Queued, float], None]:
        engine, out, send, dirty = self.engine, self.engine.out, link.send, self._dirty
        step = min(MEASURED, self.limits.unread)
        settled = link.settles_at_once

        def deliver(message: Queued, now: float) -> None:
            first = message.given == 1
            if message.expires is None and not message.count and not message.durable and message.priority == 4:
                head = _FIRST_HEADER if first else _PLAIN_HEADER
            else:
                ttl = None
                if message.expires is not None:
                    ttl = int((message.expires - now) * 1000)
                    if not 0 < ttl <= _MOST_UINT:  # a clock that was set back while the server was down makes it long
                        ttl = 1 if ttl <= 0 else _MOST_UINT
                head = header(ttl, message.count, message.durable, message.priority, first)
            if not engine.closed:
                send(head + message.rest, message, settled)
                dirty(self)
                if out.size > self._unsent + step:
                    self._count_unsent()

        return deliver

    def _failed(self, link: Link) -> None:
        """The broker has ended the link's consumer, because the link failed to take a message."""
        link.context = None
        self._short.discard(link)
        self._faulty = True
        self._dirty(self)

    def _count_unsent(self) -> None:
        """Tell the broker how much memory the client's unread output takes, and stop where it is too much.

        All clients' output together may take a quarter of the memory, beside the little that each may have.
        """
        size = self.engine.pending()
        broker = self._broker
        broker.unsent += size - self._unsent
        self._unsent = size
        if size > self.limits.unread or (size > MEASURED and broker.unsent > self.limits.memory // 4):
            self._clog()

    def _forget_buffers(self) -> None:
        """The connection is over, and with it what it buffered."""
        self._count_unfinished(0)
        self._broker.unsent -= self._unsent
        self._unsent = 0

    def _clog(self) -> None:
        """The client does not read: it is given nothing more until it has read half of what waits for it."""
        if not self._clogged:
            self._clogged = True
            log.info("%s %s: does not read (%s)", self.address, self.client_id, self.limits.flag("unread"))
        for link in self.engine.links():
            if isinstance(link.context, Consumer):
                link.context.credit = 0

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        publisher = link.context
        if not isinstance(publisher, Publisher):
            return  # it is leaving; what it is not told the outcome of, it sends again
        outcome: Outcome | None
        condition: Condition | None
        tell = None if settled or self._broker.ledger is None else partial(self._told, link, publisher, handle)
        try:
            admitted = admit(data, publisher.topic)
            refusal = publisher.refusal if publisher.topic is not None else self._topics.get(admitted.topic, _UNKNOWN)
            if refusal is _UNKNOWN:
                refusal = self._refusal_to_send(admitted.topic)
            if refusal is not None:
                outcome, condition = Outcome.REJECTED, refusal
            else:
                outcome, condition = self._broker.publish(admitted, self._now, tell)
        except MessageError as error:
            outcome, condition = Outcome.REJECTED, Condition("amqp:decode-error", str(error))
        if outcome is None:
            return  # its credit is not renewed either before it is safe: a slow disk slows its senders down
        if outcome is Outcome.RELEASED and not publisher.released:
            outcome = Outcome.ACCEPTED  # MQ Light accepts and drops what nobody is subscribed to
        if not settled:
            link.settle(handle, outcome, condition)
        elif condition is not None:
            log.warning("%s %s: a message was lost: %s", self.address, self.client_id, condition.description)
            if publisher.topic is None and condition.name != FULL:
                # The only way to tell the sender of a settled message (Anonymous Terminus 1.0, section 2.2.2).
                link.fail(condition, {"delivery-tag": link.tag(handle)})
                return
        publisher.left -= 1
        if publisher.left <= SENDER_CREDIT // 2:
            self._renew_credit(link, publisher)

    def _told(self, link: Link, publisher: Publisher, handle: Handle, condition: Condition | None) -> None:
        """A message that had to be kept is safe, or cannot be. Never raises: the store waits for no single sender."""
        if self.closed:
            return
        outcome = Outcome.ACCEPTED if condition is None else Outcome.REJECTED
        try:
            link.settle(handle, outcome, condition)
            publisher.left -= 1
            if publisher.left <= SENDER_CREDIT // 2:
                self._renew_credit(link, publisher)
        except Exception:
            log.exception("%s %s: cannot be told the outcome of a message", self.address, self.client_id)
            self._faulty = True
        self._dirty(self)

    def _renew_credit(self, link: Link, publisher: Publisher) -> None:
        link.flow(SENDER_CREDIT - publisher.left)
        publisher.left = SENDER_CREDIT

    def on_outcome(self, link: Link, token: Any, outcome: Outcome, condition: Condition | None) -> None:
        if condition is not None:
            log.warning("%s %s: rejected a message: %s", self.address, self.client_id, condition)
        consumer = link.context
        if isinstance(consumer, Consumer):
            self._broker.settle(consumer, token, outcome, self._now)
            if self._short and link in self._short:
                self.on_credit(link)

    def on_received(self, link: Link, token: Any) -> None:
        if isinstance(link.context, Consumer):
            token.begun = True

    def on_credit(self, link: Link) -> None:
        consumer = link.context
        if isinstance(consumer, Consumer):
            room = 0 if self._clogged else self.limits.unsettled - consumer.holds
            credit = link.credit
            if credit > room:
                self._short.add(link)
            else:
                self._short.discard(link)
            self._broker.give_credit(consumer, min(credit, room), self._now)
            link.drain_answered()
            # What was drained is nothing that what comes back could be sent on.
            consumer.credit = min(consumer.credit, link.credit)

    def on_detach(self, link: Link, closed: bool, condition: Condition | None) -> None:
        self._take_off(link, forget=closed)

    def on_close(self, condition: Condition | None) -> None:
        self.ended = self.ended or ("the client has closed it" if condition is None else str(condition))
        if condition is not None:
            log.info("%s %s: connection over: %s%s", self.address, self.client_id, condition, self._hint(condition))
        self.closed = True
        self._give_back()
        self._forget_buffers()

    def _hint(self, condition: Condition) -> str:
        """The flags of the limits that the engine checks."""
        if "channel-max" in condition.description:
            return f" ({self.limits.flag('sessions')})"
        if "max-frame-size" in condition.description:
            return f" ({self.limits.flag('frame_size')})"
        return ""

    def _give_back(self) -> None:
        links = self.engine.links()
        for link in links:  # first: what one of them held must not go to another of them
            if isinstance(link.context, Consumer):
                link.context.credit = 0
        for link in links:
            try:
                self._take_off(link, forget=False)
            except Exception:
                log.exception("%s %s: link %.80s failed to end", self.address, self.client_id, link.name)

    def _take_off(self, link: Link, *, forget: bool) -> None:
        consumer, link.context = link.context, None
        self._short.discard(link)
        if isinstance(consumer, Consumer):
            self._broker.unsubscribe(consumer, list(link.unsettled.values()), self._now, forget=forget)
        elif isinstance(consumer, Publisher) and consumer.made is not None:
            self._broker.remove(consumer.made)
