"""The dialect of ActiveMQ Artemis: multicast addresses, and subscriptions by capability and link name.

The rules of this file:

* A topic is an address, spelt with dots, as the wildcards of a default broker are.
* A destination that may outlive its subscribers is a durable subscription, named by its link: a private one is the
  client's, a shared one is global, so that clients of any id share it. It lives until it is unsubscribed from: Artemis
  has no time to live for it.
* Who sends is told nothing about who is subscribed.
"""

from __future__ import annotations

from mqlight.amqp.types import Terminus
from mqlight.wire.dialect import Dialect, Source, Wanted
from mqlight.wire.keys import key_of_pattern, key_of_topic, quote, topic_of_key
from mqlight.wire.stamping import stamp


class Artemis(Dialect):
    name = "artemis"
    counts_down = False
    stamps = True

    def source(self, wanted: Wanted) -> Source:
        key = key_of_pattern(wanted.pattern)
        link = f"private:{quote(wanted.pattern)}"
        capabilities: tuple[str, ...] = ("topic",)
        if wanted.share is not None:
            link = f"share:{quote(wanted.share)}:{quote(wanted.pattern)}"
            capabilities += ("shared", "global")
        return Source(link, Terminus(key, capabilities=capabilities, durable=bool(wanted.ttl)))

    def target(self, topic: str | None, mandatory: bool) -> Terminus:
        return Terminus(None) if topic is None else Terminus(key_of_topic(topic), capabilities=("topic",))

    def stamp(self, message: bytes, topic: str, settled: bool) -> bytes:
        return stamp(message, key_of_topic(topic), key_of_topic, durable=not settled)

    def topic(self, to: str) -> str:
        return topic_of_key(to)
