"""A server with the limits of IBM MQ's AMQP channel, to show that clients work within them.

The rules of this file are those that IBM documents (IBM MQ itself was not run):

* All links of a connection are on one session; a second one ends the connection.
* A message is rejected if it has message-annotations, or a message-id or correlation-id that is a number or a UUID.
* A receiver accepts each message. Any other outcome ends the connection.
* A sender's link names its topic. A message without subscribers is accepted and dropped.
"""

from __future__ import annotations

from typing import Any, ClassVar

from mqlight.amqp.link import Link
from mqlight.amqp.message import MessageError, decode
from mqlight.amqp.types import Condition, Handle, Outcome
from mqlight.server.grants import Grants
from mqlight.server.links import ConsumerLink, Publisher

PRODUCT = "IBM MQ, as the mqlight server plays it"


class IbmMqPublisher(Publisher):
    """A link that a client sends on, with the limits of IBM MQ."""

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> bool | None:
        wrong = _wrong(data)
        if wrong is None or settled:
            return super().on_message(link, handle, data, settled)
        link.settle(handle, Outcome.REJECTED, Condition("amqp:not-implemented", wrong))
        return None


class IbmMqConsumerLink(ConsumerLink):
    """A link that a client receives on, with the limits of IBM MQ."""

    def on_outcomes(self, link: Link, tokens: list[Any], outcome: Outcome, condition: Condition | None) -> None:
        super().on_outcomes(link, tokens, outcome, condition)
        if outcome is not Outcome.ACCEPTED:
            name = outcome.name.lower()
            reason = f"like IBM MQ, this server takes only the outcome accepted, not {name}"
            self.client.fault = Condition("amqp:not-implemented", reason)
            self.client.dirty(self.client)


class IbmMqGrants(Grants):
    """The terms on which IBM MQ would grant links."""

    offered: ClassVar[tuple[str, ...]] = ()
    granted: ClassVar[frozenset[str]] = frozenset(("topic",))
    publisher: ClassVar[type[Publisher]] = IbmMqPublisher
    consumer: ClassVar[type[ConsumerLink]] = IbmMqConsumerLink

    def attach(self, link: Link) -> Condition | None:
        if any(other.session != link.session for other in self.client.engine.links()):
            reason = "like IBM MQ, this server allows one session on a connection"
            self.client.fault = Condition("amqp:not-allowed", reason)
            return None
        if link.receiver and not link.target.address:
            reason = "like IBM MQ, this server has no anonymous relay; name a topic in the target"
            return Condition("amqp:not-implemented", reason)
        return super().attach(link)


def _wrong(data: bytes) -> str | None:
    """Return the reason why IBM MQ would reject a message; None if it would accept it.

    Bytes that are no message also return None: another part of the server rejects them.
    """
    try:
        message = decode(data)
    except MessageError:
        return None
    if message.annotations:
        return "the message has message-annotations, which IBM MQ refuses"
    for name in "message_id", "correlation_id":
        if not isinstance(getattr(message, name), (str, bytes, type(None))):
            return f"the {name.replace('_', '-')} of the message is neither a string nor binary, as IBM MQ wants it"
    return None
