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

from mqlight.server.broker import Broker, Consumer, Name, Queued
from mqlight.server.limits import Limits
from mqlight.server.permissions import EVERYTHING, User
from mqlight.server.sasl import Identity, Sasl, Verdict
from mqlight.wire.engine import Engine
from mqlight.wire.link import Link
from mqlight.wire.message import MessageError, admit, header
from mqlight.wire.terms import Condition, Handle, Outcome, Peer, Terminus

log = logging.getLogger(__name__)

ANONYMOUS_RELAY = "ANONYMOUS-RELAY"
RELEASE_UNROUTED = "mqlight:release-unrouted"
"""Asked for among a sender's target capabilities: a message that nobody is subscribed to is released, not accepted."""
MAX_TTL = 30 * 24 * 3600
"""The longest a destination may outlive its subscribers, in seconds (MQ Light: 30 days)."""
SENDER_CREDIT = 1000
"""How many messages a client may have on their way to us on one link; topped up at half."""
FAREWELL = 5.0
"""Seconds that a client has to answer a close."""
MEASURED = 256 * 1024
"""Bytes of input between two looks at how much of it is unfinished messages."""
TOPICS = 1000
"""How many topics' permissions are remembered of one connection."""
_PLAIN_HEADER = header(None, 0, False)
_UNKNOWN = Condition("")


class Publisher:
    """A link that a client sends on: to one topic, or (an anonymous one) to the topic in each message.

    ``refusal`` is why nothing may be sent to that one topic.
    """

    __slots__ = ("left", "refusal", "released", "topic")

    def __init__(self, topic: str | None, released: bool, refusal: Condition | None) -> None:
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
        self._began: float | None = None
        self._heartbeat = heartbeat
        self._properties = properties
        self._early = b""
        self._leave_at: float | None = None
        self._cut_off = False
        self._unmeasured = 0
        self._unfinished = 0
        self._unread = 0
        """Bytes of messages that wait for the client to read, about."""
        self._clogged = False
        self._short: set[Link] = set()
        """Sending links whose client would take more than it may hold unsettled."""
        self._topics: dict[str, Condition | None] = {}

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
        return self._early or (self.engine.output() if self._sasl is None else b"")

    def sent(self, size: int) -> None:
        if self._early:
            self._early = self._early[size:]
            return
        self.engine.sent(size)
        if self._unread:
            self._unread = max(0, self._unread - size)
            if self._clogged and self._unread <= self.limits.unread // 2:
                self._clogged = False
                for link in self.engine.links():
                    self.on_credit(link)

    def end_of_input(self, now: float) -> None:
        """The client's socket is gone."""
        self._now = now
        if self._sasl is None:
            self.engine.end_of_input()
        self.closed = True

    def tick(self, now: float) -> None:
        """Let time pass: heartbeats out, and an end to a client that sends none, does not log in, or does not leave
        when told to.
        """
        self._now = now
        self._began = self._began or now
        if self._leave_at is not None and now >= self._leave_at:
            self.closed = True
        elif not self._opened and not self.closed and now >= self._began + self.limits.login_time:
            log.warning("%s: not logged in in time (%s)", self.address, self.limits.flag("login_time"))
            self.closed = True
        if self._sasl is None:
            self.engine.tick(now)
        self._dirty(self)

    def close(self, condition: Condition, now: float) -> None:
        """Send the client away; what it held goes back."""
        self._now = now
        if self._sasl is None:
            self._leave_at = now + FAREWELL
            self.engine.close(condition)
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
        """Count the memory of messages that have begun and not ended, and end it where there are too many."""
        unfinished = self.engine.unfinished()
        # a look at each link: the more there are the less often
        self._unmeasured = -1024 * len(self.engine.links())
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
        self._opened = True
        self.client_id = peer.container_id
        if len(self.client_id) > self.limits.name_length:
            name, self.client_id = self.client_id, ""
            refusal: Condition | None = Condition(
                "amqp:invalid-field",
                f"a client id of {len(name)} characters is too long ({self.limits.flag('name_length')})",
            )
        else:
            self.user = self.user._replace(permissions=self.user.permissions.of_client(self.client_id))
            refusal = self._named(self)
        self.engine.open()
        if refusal is not None:
            log.warning("%s: refused: %s", self.address, refusal.description)
            self.client_id = ""
            self.close(refusal, self._now)

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
        if target.dynamic:
            return Condition("amqp:not-implemented", "this server makes no dynamic targets; name a topic")
        refusal = None
        if target.address:
            try:
                self.limits.check_topic(target.address)
            except ValueError as error:
                return Condition("amqp:not-allowed", str(error))
            # The link is accepted and each message rejected: MQ Light clients try a refused link for ever.
            refusal = self._refusal_to_send(target.address)
        link.context = Publisher(target.address or None, RELEASE_UNROUTED in target.capabilities, refusal)
        link.accept()
        link.flow(SENDER_CREDIT)
        return None

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
        if link.source.dynamic:
            # A topic for replies to a client that has none: it reads its name in our attach (section 3.5.3).
            link.source = replace(link.source, address=f"response/{uuid.uuid4().hex}")
        source = link.source
        if source.address is None:
            return Condition("amqp:not-allowed", "a source without address; name a topic pattern, or ask for dynamic")
        if source.timeout > MAX_TTL:
            return Condition(
                "amqp:not-allowed",
                f"ServerContext_InvalidSourceTimeout: a time to live of {source.timeout} s is over {MAX_TTL} s",
            )
        try:
            name = _name(source, self.client_id)
            self.limits.check_pattern(name.pattern)
        except ValueError as error:
            return Condition("amqp:not-allowed", str(error))
        refusal = self._refusal_to_subscribe(name, made_here=source.dynamic)
        if refusal is not None:
            return refusal
        link.accept()
        consumer = self._broker.subscribe(
            name, source.timeout, self._deliverer(link), at_most_once=link.settles_at_once
        )
        consumer.held = link.unsettled.values
        link.context = consumer
        return None

    def _refusal_to_subscribe(self, name: Name, *, made_here: bool) -> Condition | None:
        limits, destinations = self.limits, self._broker.destinations
        if not made_here and not self.user.permissions.may_subscribe(name.pattern):
            return self.user.refusal("subscribe", name.pattern)
        if name.share is not None and len(name.share) > limits.name_length:
            reason = f"a share of {len(name.share)} characters is too long ({limits.flag('name_length')})"
            return Condition("amqp:not-allowed", reason)
        destination = destinations.get(name)
        if destination is None and len(destinations) >= limits.destinations:
            return limits.reached("destinations", f"the server has {len(destinations)} destinations already")
        if destination is not None and len(destination.consumers) >= limits.subscribers:
            count = len(destination.consumers)
            return limits.reached("subscribers", f"the destination {name} has {count} subscribers already")
        return None

    def _deliverer(self, link: Link) -> Callable[[Queued, float], None]:
        engine, send, dirty, most = self.engine, self.engine.send, self._dirty, self.limits.unread
        settled = link.settles_at_once

        def deliver(message: Queued, now: float) -> None:
            if message.expires is None and not message.count and not message.durable and message.priority == 4:
                head = _PLAIN_HEADER
            else:
                ttl = None if message.expires is None else max(1, int((message.expires - now) * 1000))
                head = header(ttl, message.count, message.durable, message.priority)
            if not engine.closed:
                send(link, head + message.rest, message, settled)
                dirty(self)
                self._unread = unread = self._unread + len(message.rest)
                if unread > most:
                    self._clog()

        return deliver

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
            self.engine.settle(link, handle, outcome, condition)
        elif condition is not None:
            log.warning("%s %s: a message was lost: %s", self.address, self.client_id, condition.description)
        publisher.left -= 1
        if publisher.left <= SENDER_CREDIT // 2:
            self._renew_credit(link, publisher)

    def _told(self, link: Link, publisher: Publisher, handle: Handle, condition: Condition | None) -> None:
        """A message that had to be kept is safe, or cannot be."""
        if not self.closed:
            outcome = Outcome.ACCEPTED if condition is None else Outcome.REJECTED
            self.engine.settle(link, handle, outcome, condition)
            publisher.left -= 1
            if publisher.left <= SENDER_CREDIT // 2:
                self._renew_credit(link, publisher)
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
        if condition is not None:
            log.info("%s %s: connection over: %s%s", self.address, self.client_id, condition, self._hint(condition))
        self.closed = True
        self._give_back()
        self._count_unfinished(0)

    def _hint(self, condition: Condition) -> str:
        """The limits that Proton checks, and does not name."""
        if "channel_max" in condition.description:
            return f" ({self.limits.flag('sessions')})"
        if condition.name == "amqp:connection:framing-error":
            return f" (or a frame was too large: {self.limits.flag('frame_size')})"
        return ""

    def _give_back(self) -> None:
        links = self.engine.links()
        for link in links:  # first: what one of them held must not go to another of them
            if isinstance(link.context, Consumer):
                link.context.credit = 0
        for link in links:
            self._take_off(link, forget=False)

    def _take_off(self, link: Link, *, forget: bool) -> None:
        consumer, link.context = link.context, None
        self._short.discard(link)
        if isinstance(consumer, Consumer):
            self._broker.unsubscribe(consumer, list(link.unsettled.values()), self._now, forget=forget)


def _name(source: Terminus, client_id: str) -> Name:
    """``private:PATTERN``, ``share:SHARE:PATTERN``, or from a client that knows only AMQP the pattern itself."""
    address = source.address or ""
    kind, colon, rest = address.partition(":")
    if colon and kind == "private":
        return Name(rest, client_id=client_id)
    if colon and kind == "share":
        share, colon, pattern = rest.partition(":")
        if not colon:
            raise ValueError(f"the address {address!r} is not share:SHARE:PATTERN")
        return Name(pattern, share=share) if share else Name(pattern, client_id=client_id)
    return Name(address, client_id=client_id)
