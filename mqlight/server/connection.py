"""One client of the server: its SASL, its engine, and its links tied to the broker.

Like the parts it ties together it does no input or output: the listener moves the bytes and brings the time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from mqlight.server.broker import Broker, Consumer, Name, Queued
from mqlight.server.sasl import Identity, Sasl
from mqlight.wire.engine import Engine
from mqlight.wire.link import Link
from mqlight.wire.message import MessageError, admit, header
from mqlight.wire.terms import Condition, Handle, Outcome, Peer, Terminus
from mqlight.wire.topics import validate_pattern, validate_topic

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
_PLAIN_HEADER = header(None, 0, False)


class Publisher:
    """A link that a client sends on: to one topic, or (an anonymous one) to the topic in each message."""

    __slots__ = ("left", "released", "topic")

    def __init__(self, topic: str | None, released: bool) -> None:
        self.topic = topic
        self.released = released
        self.left = SENDER_CREDIT


class ClientConnection:
    """What the server knows of one socket's client.

    ``dirty(connection)`` is called when there is output to flush, ``named(connection)`` when the client said its id.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        address: str,
        check: Callable[[Identity], bool],
        dirty: Callable[[ClientConnection], None],
        named: Callable[[ClientConnection], None],
        heartbeat: float,
        max_message_size: int,
        properties: dict[str, str],
    ) -> None:
        self.address = address
        self.client_id = ""
        self.closed = False
        self._broker = broker
        self._dirty = dirty
        self._named = named
        self._now = time.monotonic()
        self._sasl = Sasl(check)
        self._early = b""
        self._leave_at: float | None = None
        self.engine = Engine(
            self,
            server=True,
            container_id="mqlight-server",
            heartbeat=heartbeat,
            max_message_size=max_message_size,
            properties=properties,
            offered=[ANONYMOUS_RELAY],
        )

    # Bytes, moved by the listener

    def receive(self, data: bytes, now: float) -> None:
        """Bytes from the client."""
        self._now = now
        if self._sasl.finished:
            self.engine.receive(data)
        else:
            self._log_in(data)
        self._dirty(self)

    def _log_in(self, data: bytes) -> None:
        self._early += self._sasl.receive(data)
        if self._sasl.failed:
            log.warning("%s: refused: %s", self.address, self._sasl.failed)
            self.closed = True
        elif self._sasl.finished and self._sasl.rest:
            self.engine.receive(self._sasl.rest)

    def output(self) -> bytes:
        """What the client is to be sent now; say with :meth:`sent` how much of it went."""
        return self._early or self.engine.output()

    def sent(self, size: int) -> None:
        if self._early:
            self._early = self._early[size:]
        else:
            self.engine.sent(size)

    def end_of_input(self, now: float) -> None:
        """The client's socket is gone."""
        self._now = now
        self.engine.end_of_input()
        self.closed = True

    def tick(self, now: float) -> None:
        """Let time pass: heartbeats out, and an end to a client that sends none or does not leave when told to."""
        self._now = now
        if self._leave_at is not None and now >= self._leave_at:
            self.closed = True
            self._dirty(self)
        if self._sasl.finished:
            self.engine.tick(now)
            self._dirty(self)

    def close(self, condition: Condition, now: float) -> None:
        """Send the client away; what it held goes back."""
        self._now = now
        self._leave_at = now + FAREWELL
        self.engine.close(condition)
        self._give_back()
        self._dirty(self)

    # What the client did (engine.Handler)

    def on_open(self, peer: Peer) -> None:
        self.client_id = peer.container_id
        if len(self.client_id) > 256:
            self.engine.open()
            self.close(Condition("amqp:invalid-field", "a client id has at most 256 characters"), self._now)
            return
        self._named(self)
        self.engine.open()

    def on_attach(self, link: Link) -> None:
        if self._leave_at is not None:
            link.refuse(Condition("amqp:connection:forced", "this connection is closing"))
            return
        refusal = self._attach_publisher(link) if link.receiver else self._attach_consumer(link)
        if refusal is not None:
            log.warning("%s %s: link %s refused: %s", self.address, self.client_id, link.name, refusal.description)
            link.refuse(refusal)

    def _attach_publisher(self, link: Link) -> Condition | None:
        target = link.target
        if target.coordinator:
            return Condition("amqp:not-implemented", "this server has no transactions")
        if target.dynamic:
            return Condition("amqp:not-implemented", "this server makes no dynamic targets; name a topic")
        if target.address:
            try:
                validate_topic(target.address)
            except ValueError as error:
                return Condition("amqp:not-allowed", str(error))
        link.context = Publisher(target.address or None, RELEASE_UNROUTED in target.capabilities)
        link.accept()
        link.flow(SENDER_CREDIT)
        return None

    def _attach_consumer(self, link: Link) -> Condition | None:
        source = link.source
        if source.address is None or source.dynamic:
            return Condition("amqp:not-implemented", "this server makes no dynamic sources; name a topic pattern")
        if source.timeout > MAX_TTL:
            return Condition(
                "amqp:not-allowed",
                f"ServerContext_InvalidSourceTimeout: a time to live of {source.timeout} s is over {MAX_TTL} s",
            )
        try:
            name = _name(source, self.client_id)
            validate_pattern(name.pattern)
        except ValueError as error:
            return Condition("amqp:not-allowed", str(error))
        link.accept()
        link.context = self._broker.subscribe(
            name, source.timeout, self._deliverer(link), at_most_once=link.settles_at_once
        )
        return None

    def _deliverer(self, link: Link) -> Callable[[Queued, float], None]:
        engine, send, dirty = self.engine, self.engine.send, self._dirty
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

        return deliver

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        publisher = link.context
        if not isinstance(publisher, Publisher):
            return  # it is leaving; what it is not told the outcome of, it sends again
        outcome: Outcome
        condition: Condition | None
        try:
            outcome, condition = self._broker.publish(admit(data, publisher.topic), self._now)
        except MessageError as error:
            outcome, condition = Outcome.REJECTED, Condition("amqp:decode-error", str(error))
        if outcome is Outcome.RELEASED and not publisher.released:
            outcome = Outcome.ACCEPTED  # MQ Light accepts and drops what nobody is subscribed to
        if not settled:
            self.engine.settle(link, handle, outcome, condition)
        elif condition is not None:
            log.warning("%s %s: a message was lost: %s", self.address, self.client_id, condition.description)
        publisher.left -= 1
        if publisher.left <= SENDER_CREDIT // 2:
            link.flow(SENDER_CREDIT - publisher.left)
            publisher.left = SENDER_CREDIT

    def on_outcome(self, link: Link, token: Any, outcome: Outcome, condition: Condition | None) -> None:
        if condition is not None:
            log.warning("%s %s: rejected a message: %s", self.address, self.client_id, condition)
        consumer = link.context
        if isinstance(consumer, Consumer):
            self._broker.settle(consumer, token, outcome, self._now)

    def on_credit(self, link: Link) -> None:
        consumer = link.context
        if isinstance(consumer, Consumer):
            self._broker.give_credit(consumer, link.credit, self._now)
            link.drain_answered()

    def on_detach(self, link: Link, closed: bool, condition: Condition | None) -> None:
        self._take_off(link, forget=closed)

    def on_close(self, condition: Condition | None) -> None:
        if condition is not None:
            log.info("%s %s: connection over: %s", self.address, self.client_id, condition)
        self.closed = True
        self._give_back()

    def _give_back(self) -> None:
        links = self.engine.links()
        for link in links:  # first: what one of them held must not go to another of them
            if isinstance(link.context, Consumer):
                link.context.credit = 0
        for link in links:
            self._take_off(link, forget=False)

    def _take_off(self, link: Link, *, forget: bool) -> None:
        consumer, link.context = link.context, None
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
