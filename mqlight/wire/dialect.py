"""What a dialect decides, and the one that MQ Light's own servers speak.

The contract is the same whatever the broker: topics, patterns, shares, times to live. How a broker is asked for it, in
addresses, capabilities and management requests, is its dialect. :mod:`mqlight.wire.addressing` chooses one.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

from mqlight.amqp.types import Condition, Peer, Terminus
from mqlight.wire.attempts import Marks

RELEASE_UNROUTED = "mqlight:release-unrouted"
ANONYMOUS_RELAY = "ANONYMOUS-RELAY"


class AddressError(ValueError):
    """What is asked for cannot be had from this broker. The text says what, and what would do."""

    def __init__(self, text: str, name: str = "amqp:not-allowed") -> None:
        super().__init__(text)
        self.condition = Condition(name, text)


@dataclass(frozen=True)
class Wanted:
    """A subscription as a dialect sees it. ``ttl`` is in seconds."""

    client_id: str
    pattern: str
    share: str | None = None
    qos: int = 1
    ttl: int = 0
    max_deliveries: int = 0
    """How often a message is given out at the most; 0 leaves it to the broker."""
    dead_letters: str | None = None
    """The topic for messages that were given out so often, or rejected."""
    marks: Marks = Marks.NONE
    """Which deliveries the subscriber marks before it begins with them, where the broker heeds that."""
    nonce: str = ""
    """What tells this connection's destinations from those of the connection before it."""

    @property
    def address(self) -> str:
        return f"private:{self.pattern}" if self.share is None else f"share:{self.share}:{self.pattern}"


class Source(NamedTuple):
    """A link to receive on: its name, and where it receives from."""

    link: str
    terminus: Terminus


class Request(NamedTuple):
    """A management request, as HTTP would put it."""

    method: str
    path: str
    body: Any = None


class Answer(NamedTuple):
    """A management answer; ``status`` as in HTTP."""

    status: int
    body: Any


Steps = Generator[Request, Answer, None]
"""Management requests one after the other; each is told its answer. AddressError ends them."""


class Dialect:
    """MQ Light's own: the pattern and share are the address (wire contract 1.3), a sender's target is the topic."""

    name = "mqlight"
    management: str | None = None
    """The node that takes management requests, for dialects that make any."""
    releases_unrouted = False
    """Whether a message that nobody is subscribed to is released without being asked to."""
    rejects_in_passing = False
    """Whether a message that is rejected without a reason may be taken a moment later."""
    only_accepts = False
    """Whether the broker knows no outcome but accepted."""
    stamps = False
    """Whether messages have to be stamped."""
    counts_down = True
    """Whether the time to live of a message that arrives is what is left of it, as the specification asks (3.2.1)."""

    def __init__(self, peer: Peer) -> None:
        self.relay = ANONYMOUS_RELAY in peer.offered
        """Whether one link takes the messages to all topics."""

    def source(self, wanted: Wanted) -> Source:
        """The link to receive on. Raises AddressError for what the broker cannot do."""
        capabilities = wanted.marks.capabilities
        return Source(wanted.address, Terminus(wanted.address, timeout=wanted.ttl, capabilities=capabilities))

    def declare(self, wanted: Wanted) -> Steps | None:
        """What has to be done before the link is attached. Raises AddressError."""
        return None

    def forget(self, wanted: Wanted) -> Steps | None:
        """What has to be done when the link was detached for good."""
        return None

    def target(self, topic: str | None, mandatory: bool) -> Terminus:
        """Where a sender's link leads, for ``topic`` or, with None, for all of them. Raises AddressError."""
        return Terminus(topic, capabilities=(RELEASE_UNROUTED,) if mandatory else ())

    def stamp(self, message: bytes, topic: str, settled: bool) -> bytes:
        """An encoded message as the broker wants it. Raises AddressError for a topic that it cannot have."""
        return message

    def topic(self, to: str) -> str:
        """The topic in a ``to`` that arrived."""
        return to

    def concerns(self, condition: Condition, topic: str) -> bool:
        """Whether the condition that ended a link may be due to a message to ``topic``, among those to others."""
        return True


class IbmMq(Dialect):
    """IBM MQ's AMQP channel: the same addresses, no other outcome than accepted, no word on who is subscribed."""

    name = "ibm-mq"
    counts_down = False
    only_accepts = True

    def source(self, wanted: Wanted) -> Source:
        return Source(wanted.address, Terminus(wanted.address, timeout=wanted.ttl))

    def target(self, topic: str | None, mandatory: bool) -> Terminus:
        return Terminus(topic)


class Plain(Dialect):
    """Any other AMQP 1.0 peer: a share is a queue, a private subscription a topic, and both are there already, or are
    made by the broker from the capability.
    """

    name = "plain"
    counts_down = False

    def source(self, wanted: Wanted) -> Source:
        if any(level in ("#", "+") for level in wanted.pattern.split("/")):
            raise AddressError(
                f"this broker is spoken to in plain AMQP 1.0, which has no wildcards: subscribe to a topic that is "
                f"spelt out instead of {wanted.pattern!r}, or name its dialect with ?dialect= in the URL"
            )
        kind = "topic" if wanted.share is None else "queue"
        return Source(wanted.address, Terminus(wanted.pattern, timeout=wanted.ttl, capabilities=(kind,)))

    def target(self, topic: str | None, mandatory: bool) -> Terminus:
        return Terminus(topic)
