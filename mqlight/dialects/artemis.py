"""Speak the dialect of ActiveMQ Artemis: multicast addresses, and subscriptions by capability and link name.

The rules of this file:

* A topic is an address, spelt with dots like the wildcards of a default broker.
* A destination that may outlive its subscribers is a durable subscription, named by its link. A private one belongs to
  the client. A shared one is global, so that clients of any id share it. It lives until a client unsubscribes, because
  Artemis has no time to live for it.
* A sender learns nothing about the subscribers of a topic.
"""

from __future__ import annotations

from mqlight.amqp.types import Terminus
from mqlight.dialects.base import Dialect, ReceivingLink, Wanted
from mqlight.dialects.keys import key_of_pattern, key_of_topic, quote, topic_of_key
from mqlight.dialects.readdress import readdress


class Artemis(Dialect):
    """ActiveMQ Artemis's dialect."""

    name = "artemis"
    counts_down = False
    readdresses = True

    def source(self, wanted: Wanted) -> ReceivingLink:
        key = key_of_pattern(wanted.pattern)
        link = f"private:{quote(wanted.pattern)}"
        capabilities: tuple[str, ...] = ("topic",)
        if wanted.share is not None:
            link = f"share:{quote(wanted.share)}:{quote(wanted.pattern)}"
            capabilities += ("shared", "global")
        return ReceivingLink(link, Terminus(key, capabilities=capabilities, durable=bool(wanted.ttl)))

    def target(self, topic: str | None, mandatory: bool) -> Terminus:
        return Terminus(None) if topic is None else Terminus(key_of_topic(topic), capabilities=("topic",))

    def readdress(self, message: bytes, topic: str, settled: bool) -> bytes:
        return readdress(message, key_of_topic(topic), key_of_topic, durable=not settled)

    def topic(self, to: str) -> str:
        return topic_of_key(to)
