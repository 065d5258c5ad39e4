"""The links that a client attaches: which of them the server grants, and on what terms (AMQP 1.0 section 2.6.3)."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import ClassVar

from mqlight.amqp.capabilities import ANONYMOUS_RELAY, RELEASE_UNROUTED, Marks, marks_of
from mqlight.amqp.link import Link
from mqlight.amqp.text import control_in
from mqlight.amqp.types import Condition, Terminus
from mqlight.server import sources
from mqlight.server.client import MEASURED, Client
from mqlight.server.destination import DestinationName
from mqlight.server.links import SENDER_CREDIT, ConsumerLink, Publisher
from mqlight.server.sources import TEMPORARY

GRANTED = frozenset(
    (RELEASE_UNROUTED, "topic", "temporary-topic", "temporary-queue", *(marks.value for marks in Marks if marks.value))
)
"""The capabilities of sources and targets that the server grants."""


class Grants:
    """The terms for the links of one client. The client is told of the capabilities ``offered``."""

    offered: ClassVar[tuple[str, ...]] = (ANONYMOUS_RELAY,)
    granted: ClassVar[frozenset[str]] = GRANTED
    publisher: ClassVar[type[Publisher]] = Publisher
    consumer: ClassVar[type[ConsumerLink]] = ConsumerLink

    def __init__(self, client: Client) -> None:
        self.client = client
        self._number = sources.number()
        self._made: set[str] = set()
        """Addresses that the server made for this client, which needs no permission for them."""

    def attach(self, link: Link) -> Condition | None:
        """Answer the attach of a link. Return the reason if it is refused, which the caller tells the client."""
        return self._attach_publisher(link) if link.receiver else self._attach_consumer(link)

    def _attach_publisher(self, link: Link) -> Condition | None:
        client, target = self.client, link.target
        if target.coordinator:
            return Condition("amqp:not-implemented", "this server has no transactions")
        made: DestinationName | None = None
        refusal = None
        if target.dynamic:
            target = replace(target, address=self._new_address())
            excess = client.broker.directory.excess(client.owner)
            if excess is not None:
                return excess
            if "temporary-topic" not in target.capabilities:
                made = DestinationName(target.address or "", link=TEMPORARY)
                client.broker.create(made, client.owner)
            self._made.add(target.address or "")
        elif target.address:
            # The server accepts the link and rejects each message: MQ Light clients retry a refused link for ever.
            refusal = client.refusal_to_send(target.address)
        released = RELEASE_UNROUTED in target.capabilities and RELEASE_UNROUTED in self.granted
        publisher = self.publisher(
            client, link, topic=target.address or None, released=released, refusal=refusal, made=made
        )
        link.handler = client.served[link] = publisher
        capabilities = tuple(name for name in target.capabilities if name in self.granted)
        link.target = Terminus(target.address, dynamic=target.dynamic, capabilities=capabilities)
        link.accept()
        link.flow(SENDER_CREDIT)
        return None

    def _new_address(self) -> str:
        """Return a new address for a dynamic terminus. The client reads it in our attach (sections 3.5.3, 3.5.4)."""
        return f"response/{uuid.uuid4().hex}"

    def _attach_consumer(self, link: Link) -> Condition | None:
        refusal = sources.refusal(link.source)
        if refusal is not None:
            return refusal
        if link.source.dynamic:
            link.source = replace(link.source, address=self._new_address())
            self._made.add(link.source.address or "")
        client, source, broker = self.client, link.source, self.client.broker
        known = broker.directory.lasting(client.client_id, link.name) if client.client_id else None
        if source.address is None and known is None:
            reason = f"the source has no address, and {client.client_id or 'this client'} has no subscription"
            return Condition("amqp:not-found", f"{reason} {link.name:.80}; name a topic pattern, or ask for dynamic")
        ttl = float(sources.time_to_live(source, client.client_id))
        try:
            if source.address is None and known is not None:  # the link is resumed (section 2.6.3)
                source, name, ttl = replace(source, address=known.name.pattern), known.name, known.ttl
            else:
                name = sources.name_of(link, client.client_id, self._number)
            client.limits.check_pattern(name.pattern)
        except ValueError as error:
            return Condition("amqp:not-allowed", str(error))
        shared = DestinationName(name.pattern, link=TEMPORARY)
        if shared in broker.destinations:
            name, ttl = shared, 0.0
        refusal = self._refusal_to_subscribe(name)
        if refusal is not None:
            return refusal
        if isinstance(name.link, str) and known is not None:
            if known.consumers:
                return Condition("amqp:resource-locked", f"another link has the subscription {link.name:.80}")
            if known.name != name:  # another address makes another subscription
                broker.remove(known.name)
        link.source = sources.granted(source, ttl, self.granted, durable=broker.journal is not None)
        link.accept()
        served = self.consumer(client, link, min(MEASURED, client.limits.unread))
        consumer = broker.subscribe(name, ttl, served.deliver, at_most_once=link.settles_at_once, owner=client.owner)
        consumer.marks = marks_of(link.source.capabilities)
        consumer.held = link.unsettled.values
        consumer.unsent = link.unsent
        consumer.failed = served.failed
        consumer.client = client
        served.consumer = consumer
        link.handler = client.served[link] = served
        return None

    def _refusal_to_subscribe(self, name: DestinationName) -> Condition | None:
        client, limits = self.client, self.client.limits
        if name.pattern not in self._made and not client.user.permissions.may_subscribe(name.pattern):
            return client.user.refusal("subscribe", name.pattern)
        if name.share is not None and (control := control_in(name.share)) is not None:
            return Condition("amqp:not-allowed", f"the share {name.share[:80]!r} has the control character {control}")
        if name.share is not None and len(name.share) > limits.name_length:
            reason = f"a share of {len(name.share)} characters is too long ({limits.flag('name_length')})"
            return Condition("amqp:not-allowed", reason)
        if isinstance(name.link, str) and len(name.link) > limits.name_length:
            reason = f"a link name of {len(name.link)} characters is too long ({limits.flag('name_length')})"
            return Condition("amqp:not-allowed", reason)
        destination = client.broker.destinations.get(name)
        if destination is None:
            return client.broker.directory.excess(client.owner)
        if len(destination.consumers) >= limits.subscribers:
            count = len(destination.consumers)
            return limits.reached("subscribers", f"the destination {name} has {count} subscribers already")
        return None
