"""The handlers of a client's links: publishers and consumers.

Each handler belongs to one link from its attach to its end. After :meth:`end` it ignores the engine's reports about the
link: the client is leaving, and sends messages again if it was not told their outcome.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, Final

from mqlight.amqp.fast_messages import FIRST_HEADER, FIRST_TTL_HEADER_END, PLAIN_HEADER, TTL_HEADER, TTL_HEADER_END
from mqlight.amqp.link import Link
from mqlight.amqp.message import MessageError
from mqlight.amqp.sections import header
from mqlight.amqp.types import Condition, Handle, Outcome
from mqlight.server.client import UNKNOWN, Client, Served
from mqlight.server.destination import Consumer, DestinationName
from mqlight.server.limits import FULL, TOO_LARGE
from mqlight.server.publication import read_publication
from mqlight.server.queued import USUAL, Queued

log = logging.getLogger(__name__)

SENDER_CREDIT: Final = 1000
"""The most messages that a client may have under way to the server on one link; renewed at half."""
_RENEWED: Final = SENDER_CREDIT // 2
FAULT: Final = Condition("amqp:internal-error", "a fault of the server")
_MOST_UINT: Final = 2**32 - 1


class ServedLink(Served):
    """The behaviour that both kinds of links share. The methods do nothing unless a subclass overrides them."""

    __slots__ = ()

    # Events of the client (types.LinkHandler)

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> bool | None:
        """Take a message from the client."""
        return None

    def on_outcomes(self, link: Link, tokens: list[Any], outcome: Outcome, condition: Condition | None) -> None:
        """Take the client's outcome of a message."""

    def on_received(self, link: Link, token: Any) -> None:
        """Note that the client has begun a message."""

    def on_credit(self, link: Link) -> None:
        """Take credit from the client."""

    def on_detach(self, link: Link, closed: bool, condition: Condition | None) -> None:
        """End the link, because the client has detached it."""
        self.end(forget=closed)


class Publisher(ServedLink):
    """A link that a client sends on: to one topic, or (an anonymous link) to the topic in each message.

    Args:
        topic: The link's topic; None for an anonymous link.
        released: Whether the client asked that a message to a topic without subscribers be released.
        refusal: The reason why the client may not send to ``topic``, or None.
        made: The destination that ends with the link, or None.
    """

    __slots__ = ("left", "made", "refusal", "released", "renewed", "topic")

    def __init__(
        self,
        client: Client,
        link: Link,
        *,
        topic: str | None,
        released: bool,
        refusal: Condition | None,
        made: DestinationName | None,
    ) -> None:
        super().__init__(client, link)
        self.topic = topic
        self.released = released
        self.refusal = refusal
        self.made = made
        self.left = SENDER_CREDIT
        self.renewed = 0

    @property
    def sent(self) -> int:
        """The number of messages that came over the link."""
        return self.renewed + SENDER_CREDIT - self.left

    def leave(self, forget: bool) -> None:
        self.client.ended_links_sent += self.sent
        if self.made is not None:
            self.client.broker.remove(self.made)

    def on_detach(self, link: Link, closed: bool, condition: Condition | None) -> None:
        fault, observer = link.fault, self.client.broker.observer
        if fault is not None and fault.name == TOO_LARGE and observer is not None and not self.over:
            observer.refused(self.client, self.topic, b"", _rejected, fault, self.client.now)
        super().on_detach(link, closed, condition)

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> bool | None:
        if self.over:
            return None
        client, topic = self.client, self.topic
        broker = client.broker
        outcome: Outcome | None
        condition: Condition | None
        tell = None if broker.journal is None or settled else partial(self._told, handle)
        try:
            admitted = read_publication(data, topic)
            if topic is None:
                topic = admitted.topic
                refusal = client.refusals.get(topic, UNKNOWN)
                if refusal is UNKNOWN:
                    refusal = client.refusal_to_send(topic)
            else:
                refusal = self.refusal
            if refusal is not None:
                outcome, condition = _rejected, refusal
            else:
                outcome, condition = broker.publish(admitted, client.now, tell, client)
        except MessageError as error:
            outcome, condition = _rejected, Condition("amqp:decode-error", str(error))
        if outcome is _accepted:
            self.left -= 1
            if self.left <= _RENEWED:
                self._renew_credit()
            return True
        if outcome is None:
            return None  # the credit is not renewed until the message is safe: a slow disk slows its senders down
        if broker.observer is not None:
            broker.observer.refused(client, topic, data, outcome, condition, client.now)
        self._not_taken(handle, settled, outcome, condition)
        return None

    def _not_taken(self, handle: Handle, settled: bool, outcome: Outcome, condition: Condition | None) -> None:
        """Tell the client that no destination took its message."""
        client, link = self.client, self.link
        if outcome is _released and not self.released:
            outcome = _accepted  # MQ Light accepts and drops a message without subscribers
        if not settled:
            link.settle(handle, outcome, condition)
        elif condition is not None:
            log.warning("%s: a message was lost: %s", client, condition.description)
            if self.topic is None and condition.name != FULL:
                # There is no other way to tell the sender of a settled message (Anonymous Terminus 1.0, section 2.2.2).
                link.fail(condition, {"delivery-tag": link.tag(handle)})
                return
        self._take_credit()

    def _told(self, handle: Handle, condition: Condition | None) -> None:
        """Tell the client that a message is safe, or that it cannot be kept.

        This never raises, so that no single client can stop the store.
        """
        client = self.client
        if client.closed:
            return
        try:
            self.link.settle(handle, _accepted if condition is None else _rejected, condition)
            self._take_credit()
        except Exception:
            log.exception("%s: cannot be told the outcome of a message", client)
            client.fault = FAULT
        client.dirty(client)

    def _take_credit(self) -> None:
        """Count a message against the credit."""
        self.left -= 1
        if self.left <= _RENEWED:
            self._renew_credit()

    def _renew_credit(self) -> None:
        self.link.flow(SENDER_CREDIT - self.left)
        self.renewed += SENDER_CREDIT - self.left
        self.left = SENDER_CREDIT


class ConsumerLink(ServedLink):
    """A link that a client receives on, and its consumer in the broker."""

    __slots__ = ("_out", "_settled", "_short", "_step", "consumer")

    consumer: Consumer

    def __init__(self, client: Client, link: Link, step: int) -> None:
        super().__init__(client, link)
        self._out = client.engine.out
        self._settled = link.settles_at_once
        self._step = step
        """Bytes of output between two measurements of the client's unread output."""
        self._short = False
        """Whether the client gave more credit than its limit of unsettled messages allows."""

    def deliver(self, message: Queued, now: float) -> None:
        """Send a message to the client."""
        first = message.given == 1
        expires = message.expires
        ttl = None
        if expires is not None:
            ttl = int((expires - now) * 1000)
            if not 0 < ttl <= _MOST_UINT:  # too large if the clock was set back while the server was down
                ttl = 1 if ttl <= 0 else _MOST_UINT
        if message.flags != USUAL or message.count:
            head = header(ttl, message.count, message.durable, message.priority, first)
        elif ttl is None:
            head = FIRST_HEADER if first else PLAIN_HEADER
        else:
            head = TTL_HEADER + ttl.to_bytes(4, "big") + (FIRST_TTL_HEADER_END if first else TTL_HEADER_END)
        client = self.client
        if not client.engine.closed:
            self.link.send(head + message.rest, message, self._settled)
            client.dirty(client)
            if self._out.size > client.unsent + self._step:
                client.count_unsent()

    def failed(self) -> None:
        """End the link after the broker has ended its consumer, because the link failed to take a message."""
        self.over = True
        self.client.served.pop(self.link, None)
        self.client.fault = FAULT
        self.client.dirty(self.client)

    def leave(self, forget: bool) -> None:
        held = list(self.link.unsettled.values())
        self.client.broker.unsubscribe(self.consumer, held, self.client.now, forget=forget)

    def pause(self) -> None:
        self.consumer.credit = 0

    def resume(self) -> None:
        self.on_credit(self.link)

    def on_outcomes(self, link: Link, tokens: list[Any], outcome: Outcome, condition: Condition | None) -> None:
        client = self.client
        if not self.over:
            client.broker.dispatcher.settle(self.consumer, tokens, outcome, client.now)
            if self._short:
                self.on_credit(link)
        if condition is not None:
            for message in tokens:
                log.warning("%s: rejected a message: %s", client, condition)
                if message.trace is not None and not self.over:
                    message.trace.rejected(condition)

    def on_received(self, link: Link, token: Any) -> None:
        token.begun = True

    def on_credit(self, link: Link) -> None:
        if self.over:
            return
        client, consumer, credit = self.client, self.consumer, link.credit
        room = 0 if client.clogged else client.limits.unsettled - consumer.holds
        self._short = credit > room
        client.broker.give_credit(consumer, min(credit, room), client.now)
        link.drain_answered()
        # Credit that the client has drained must not be used for messages that come back.
        consumer.credit = min(consumer.credit, link.credit)


_accepted: Final = Outcome.ACCEPTED
_rejected: Final = Outcome.REJECTED
_released: Final = Outcome.RELEASED
