"""The console's own requests, and its topic for their replies. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import count

import msgspec

from mqlight.amqp.message import Message, MessageError, decode, encode
from mqlight.server.broker import Broker
from mqlight.server.destination import Consumer, DestinationName, Owner
from mqlight.server.queued import Queued

MOST = 1000
"""The most requests that wait for replies. The oldest one is forgotten."""
CREDIT = 1000
OWNER = Owner(None, "console")

Reply = dict[str, msgspec.Raw]
"""The members of a reply's envelope."""
Tell = Callable[[Reply], object]
"""Takes a reply to a request. There may be several replies."""


class Mailbox:
    """A topic for replies: ``response/console-RUN``. It exists from the first request on."""

    def __init__(self, broker: Broker, run: str) -> None:
        self.topic = f"response/console-{run}"
        self._broker = broker
        self._number = count(1)
        self._consumer: Consumer | None = None
        self.received = 0
        """The number of messages to the topic."""
        self._waiting: OrderedDict[str, Tell] = OrderedDict()

    def request(self, topic: str, data: msgspec.Raw, ttl: int, now: float, tell: Tell) -> tuple[str, bytes]:
        """Return the key and the message of a request whose replies go to ``tell``, until :meth:`forget`.

        Args:
            topic: The topic of the service.
            data: The data, as JSON.
            ttl: The time to live in ms.
            now: The time in seconds on the broker's clock.
            tell: Called with each reply. It must not raise, nor call the broker.
        """
        if self._consumer is None or self._consumer.over:
            name = DestinationName(self.topic, None, OWNER.client_id)
            self._consumer = self._broker.subscribe(name, 0.0, self._take, at_most_once=True, owner=OWNER)
            self._consumer.client = OWNER
            self._broker.give_credit(self._consumer, CREDIT, now)
        key = f"{self.topic.rpartition('/')[2]}-{next(self._number)}"
        self._waiting[key] = tell
        if len(self._waiting) > MOST:
            self._waiting.popitem(last=False)
        body = msgspec.json.encode({"uuid": key, "data": data, "replyTo": self.topic}).decode()
        message = Message(
            body=body, to=topic, ttl=ttl, reply_to=self.topic, correlation_id=key, content_type="application/json"
        )
        return key, encode(message)

    def forget(self, key: str) -> None:
        """Take no further reply to a request."""
        self._waiting.pop(key, None)

    def _take(self, message: Queued, now: float) -> None:
        assert self._consumer is not None
        self._consumer.credit = CREDIT
        self.received += 1
        try:
            reply = msgspec.json.decode(decode(message.rest).body, type=dict[str, msgspec.Raw])
            tell = self._waiting.get(msgspec.json.decode(reply.get("uuid", b"null"), type=str))
        except (MessageError, msgspec.DecodeError, TypeError):
            return  # it is no reply
        if tell is not None:
            tell(reply)
