"""A server with the limits of IBM MQ's AMQP channel, so that clients can be shown to live with them.

The rules of this file, those that IBM documents (IBM MQ itself was not run):

* All links of a connection are on one session; a second one ends the connection.
* A message with message-annotations, or with a message-id or correlation-id that is a number or a UUID, is rejected.
* A receiver accepts what it gets. Any other outcome ends the connection.
* A sender's link names its topic, and a message that nobody is subscribed to is accepted and dropped.
"""

from __future__ import annotations

from typing import Any

from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Handle, Outcome
from mqlight.server.connection import ClientConnection
from mqlight.wire.message import MessageError, decode

PRODUCT = "IBM MQ, as the mqlight server plays it"


class IbmMqConnection(ClientConnection):
    """A client that is served as IBM MQ would serve it."""

    offered = ()
    granted = frozenset(("topic",))

    def on_attach(self, link: Link) -> None:
        if any(other.session != link.session for other in self.engine.links()):
            self.close(Condition("amqp:not-allowed", "a connection has one session here, as with IBM MQ"), self._now)
        else:
            super().on_attach(link)

    def _attach_publisher(self, link: Link) -> Condition | None:
        if not link.target.address:
            return Condition("amqp:not-implemented", "there is no anonymous relay here, as with IBM MQ; name a topic")
        return super()._attach_publisher(link)

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        wrong = _wrong(data)
        if wrong is None or settled:
            super().on_message(link, handle, data, settled)
        else:
            link.settle(handle, Outcome.REJECTED, Condition("amqp:not-implemented", wrong))

    def on_outcome(self, link: Link, token: Any, outcome: Outcome, condition: Condition | None) -> None:
        super().on_outcome(link, token, outcome, condition)
        if outcome is not Outcome.ACCEPTED:
            name = outcome.name.lower()
            reason = f"a message is accepted here, as with IBM MQ, and not {name}"
            self.close(Condition("amqp:not-implemented", reason), self._now)


def _wrong(data: bytes) -> str | None:
    """What IBM MQ would not take in a message. None also for what is no message, of which others have more to say."""
    try:
        message = decode(data)
    except MessageError:
        return None
    if message.annotations:
        return "the message has message-annotations, which IBM MQ does not take"
    for name in "message_id", "correlation_id":
        if not isinstance(getattr(message, name), (str, bytes, type(None))):
            return f"the {name.replace('_', '-')} of the message is neither a string nor binary, as IBM MQ wants it"
    return None
