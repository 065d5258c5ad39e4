"""Define the decisions of a dialect, and the dialect of MQ Light's own servers.

The contract is the same for every broker: topics, patterns, shares, times to live. A dialect turns the contract into
the addresses, capabilities and management requests of a broker. :mod:`mqlight.dialects` chooses one.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

from mqlight.amqp.capabilities import ANONYMOUS_RELAY, RELEASE_UNROUTED, Marks
from mqlight.amqp.topics import subscription_address
from mqlight.amqp.types import Condition, Peer, Terminus


class AddressError(ValueError):
    """The broker cannot do what the caller asks for. The text names the request and the fix."""

    def __init__(self, text: str, name: str = "amqp:not-allowed") -> None:
        super().__init__(text)
        self.condition = Condition(name, text)


@dataclass(frozen=True)
class Wanted:
    """The subscription that a client wants. ``ttl`` is in seconds."""

    client_id: str
    pattern: str
    share: str | None = None
    qos: int = 1
    ttl: int = 0
    max_deliveries: int = 0
    """The most delivery attempts of a message, 0 for the broker's default."""
    dead_letters: str | None = None
    """The topic for messages that used up their delivery attempts, or were rejected."""
    marks: Marks = Marks.NONE
    """The deliveries that the subscriber marks before it works on them, if the broker heeds marks."""
    nonce: str = ""
    """A text that tells this connection's destinations from those of the previous connection."""

    @property
    def address(self) -> str:
        """MQ Light's address of the subscription."""
        return subscription_address(self.pattern, self.share)


class ReceivingLink(NamedTuple):
    """A link to receive on: its name and its source."""

    link: str
    terminus: Terminus


class Request(NamedTuple):
    """A management request, in the terms of HTTP."""

    method: str
    path: str
    body: Any = None


class Answer(NamedTuple):
    """A management answer. ``status`` is an HTTP status code."""

    status: int
    body: Any


Steps = Generator[Request, Answer, None]
"""A generator of management requests, one after the other. It gets each answer. AddressError ends it."""


class Dialect:
    """MQ Light's own dialect.

    Pattern and share make the address of a subscription (MQ Light contract, 3). A sender's target is the topic.
    """

    name = "mqlight"
    management: str | None = None
    """The node that takes management requests, None for a dialect without any."""
    releases_unrouted = False
    """Whether the broker releases a message without a subscriber, even without the capability for it."""
    rejects_in_passing = False
    """Whether the broker may accept a message soon after it rejected the message without a reason."""
    only_accepts = False
    """Whether accepted is the only outcome that the broker knows."""
    readdresses = False
    """Whether each message needs :meth:`readdress`."""
    counts_down = True
    """Whether the broker reduces the time to live of a message by the time spent there (AMQP 1.0 section 3.2.1)."""

    def __init__(self, peer: Peer) -> None:
        self.relay = ANONYMOUS_RELAY in peer.offered
        """Whether one link takes messages to all topics."""

    def source(self, wanted: Wanted) -> ReceivingLink:
        """Return the link to receive on. Raises AddressError if the broker has no such subscription."""
        capabilities = wanted.marks.capabilities
        return ReceivingLink(wanted.address, Terminus(wanted.address, timeout=wanted.ttl, capabilities=capabilities))

    def declare(self, wanted: Wanted) -> Steps | None:
        """Return the steps to take before the link is attached, None for none. Raises AddressError."""
        return None

    def forget(self, wanted: Wanted) -> Steps | None:
        """Return the steps to take after an unsubscribe has closed the link, None for none."""
        return None

    def target(self, topic: str | None, mandatory: bool) -> Terminus:
        """Return the target of a sender's link to ``topic``, or to all topics for None. Raises AddressError."""
        return Terminus(topic, capabilities=(RELEASE_UNROUTED,) if mandatory else ())

    def readdress(self, message: bytes, topic: str, settled: bool) -> bytes:
        """Return an encoded message in the broker's form. Raises AddressError for a topic that the broker refuses."""
        return message

    def topic(self, to: str) -> str:
        """Return the topic in the ``to`` of a received message."""
        return to

    def concerns(self, condition: Condition, topic: str) -> bool:
        """Return whether a message to ``topic`` may be the cause of the condition that ended a link for many topics."""
        return True


class IbmMq(Dialect):
    """IBM MQ's AMQP channel: MQ Light's addresses, accepted as the only outcome, no release of unrouted messages."""

    name = "ibm-mq"
    counts_down = False
    only_accepts = True

    def source(self, wanted: Wanted) -> ReceivingLink:
        return ReceivingLink(wanted.address, Terminus(wanted.address, timeout=wanted.ttl))

    def target(self, topic: str | None, mandatory: bool) -> Terminus:
        return Terminus(topic)


class Plain(Dialect):
    """Any other AMQP 1.0 peer: a share is a queue, and a private subscription is a topic.

    Both exist already, or the broker creates them because of the capability.
    """

    name = "plain"
    counts_down = False

    def source(self, wanted: Wanted) -> ReceivingLink:
        if any(level in ("#", "+") for level in wanted.pattern.split("/")):
            raise AddressError(
                f"this broker is used with plain AMQP 1.0, which has no wildcards: subscribe to an exact topic "
                f"instead of {wanted.pattern!r}, or name its dialect with ?dialect= in the URL"
            )
        kind = "topic" if wanted.share is None else "queue"
        return ReceivingLink(wanted.address, Terminus(wanted.pattern, timeout=wanted.ttl, capabilities=(kind,)))

    def target(self, topic: str | None, mandatory: bool) -> Terminus:
        return Terminus(topic)
