"""Speak the dialect of RabbitMQ 4: version 2 addresses, and queues declared over its management link.

The rules of this file:

* Every topic is a routing key of the exchange ``amq.topic``. Every destination is a queue bound to that exchange.
* A destination that may outlive its subscribers is a quorum queue, named after its pattern and its share or client. It
  expires by itself (``x-expires``). Any other destination is an exclusive queue of the connection.
* A topic that begins with ``/queues/`` or ``/exchanges/`` is an address of RabbitMQ and is not translated, so that
  replies reach clients that do not know topics.
"""

from __future__ import annotations

import re
from hashlib import sha256

from mqlight.amqp.types import Condition, Peer, Terminus
from mqlight.dialects.base import AddressError, Dialect, ReceivingLink, Request, Steps, Wanted
from mqlight.dialects.keys import key_of_pattern, key_of_topic, quote, topic_of_key, unquote
from mqlight.dialects.readdress import readdress

OLDEST = (4, 0)
EXCHANGE = "amq.topic"
MAX_KEY = 255
"""The most bytes of a routing key."""
MAX_NAME = 200
"""The most bytes of a queue's name. RabbitMQ's limit of 255 holds for longer names that it derives, too."""
SHARE_LINGER = 10
"""Seconds that a share without time to live is kept after a member vanished without unsubscribing."""
CACHED = 4096
QUEUES = ("quorum", "classic")

_TO = f"/exchanges/{EXCHANGE}/"
_ADDRESSES = ("/queues/", "/exchanges/")
_UNSENDABLE = re.compile(r"write access to (?:topic '(.*)' in )?exchange ")


class RabbitMq(Dialect):
    """RabbitMQ's dialect. ``queues`` (in the URL: ``?queues=``) is the type of queues that outlive a connection."""

    name = "rabbitmq"
    counts_down = False
    management = "/management"
    releases_unrouted = True
    rejects_in_passing = True  # by a queue without a leader at the moment
    readdresses = True

    def __init__(self, peer: Peer, queues: str = "quorum") -> None:
        super().__init__(peer)
        if queues not in QUEUES:
            raise AddressError(f"queues={queues} is no queue type of RabbitMQ; use one of {', '.join(QUEUES)}")
        self._queues = queues
        self.relay = True
        self._addresses: dict[str, str] = {}

    # Receiving

    def source(self, wanted: Wanted) -> ReceivingLink:
        queue = _queue(wanted)
        return ReceivingLink(queue, Terminus(f"/queues/{quote(queue)}"))

    def declare(self, wanted: Wanted) -> Steps | None:
        if wanted.pattern.startswith(_ADDRESSES):
            raise AddressError(
                f"{wanted.pattern!r} cannot be subscribed to on RabbitMQ, because topics that begin with "
                f"{' or '.join(_ADDRESSES)} are addresses of its own; take another name"
            )
        return self._declare(wanted, _checked(key_of_pattern(wanted.pattern), wanted.pattern, "topic pattern"))

    def _declare(self, wanted: Wanted, key: str) -> Steps:
        queue = _queue(wanted)
        answer = yield Request("PUT", f"/queues/{quote(queue)}", self._settings(wanted))
        if answer.status == 409:
            raise AddressError(
                f"the queue {queue!r} exists with other settings ({answer.body}): subscribe as the others do, or "
                f"delete it (rabbitmqctl delete_queue)",
                "amqp:precondition-failed",
            )
        _check(answer.status, answer.body, f"declare the queue {queue!r}")
        binding = {"source": EXCHANGE, "destination_queue": queue, "binding_key": key, "arguments": {}}
        answer = yield Request("POST", "/bindings", binding)
        _check(answer.status, answer.body, f"bind the queue {queue!r} to {EXCHANGE}")

    def _settings(self, wanted: Wanted) -> dict[str, object]:
        if wanted.share is None and not wanted.ttl:
            return {"durable": False, "exclusive": True, "arguments": {"x-queue-type": "classic"}}
        arguments: dict[str, object] = {
            "x-queue-type": self._queues,
            "x-expires": (wanted.ttl or SHARE_LINGER) * 1000,
        }
        if wanted.max_deliveries and self._queues == "quorum":
            arguments["x-delivery-limit"] = wanted.max_deliveries - 1  # RabbitMQ counts returns of a message
        if wanted.dead_letters is not None:
            arguments["x-dead-letter-exchange"] = EXCHANGE
            key = _checked(key_of_topic(wanted.dead_letters), wanted.dead_letters, "topic")
            arguments["x-dead-letter-routing-key"] = key
        return {"durable": True, "arguments": arguments}

    def forget(self, wanted: Wanted) -> Steps | None:
        return self._forget(wanted)

    def _forget(self, wanted: Wanted) -> Steps:
        queue = _queue(wanted)
        path = f"/queues/{quote(queue)}"
        answer = yield Request("GET", path)
        if answer.status == 404:
            return
        _check(answer.status, answer.body, f"look at the queue {queue!r}")
        if wanted.share is None or not answer.body.get("consumer_count"):
            answer = yield Request("DELETE", path)
            _check(answer.status, answer.body, f"delete the queue {queue!r}")

    def topic(self, to: str) -> str:
        return topic_of_key(unquote(to[len(_TO) :])) if to.startswith(_TO) else to

    # Sending

    def target(self, topic: str | None, mandatory: bool) -> Terminus:
        return Terminus(None)

    def readdress(self, message: bytes, topic: str, settled: bool) -> bytes:
        return readdress(message, self._address(topic), self._address, durable=not settled)

    def concerns(self, condition: Condition, topic: str) -> bool:
        """Return whether a message to ``topic`` may be the cause of ``condition``.

        RabbitMQ ends the whole session when one permission is missing. Its description may name the topic.
        """
        if condition.name != "amqp:unauthorized-access":
            return True
        named = _UNSENDABLE.match(condition.description)
        return named is not None and named[1] in (None, key_of_topic(topic))

    def _address(self, topic: str) -> str:
        address = self._addresses.get(topic)
        if address is None:
            address = topic
            if not topic.startswith(_ADDRESSES):
                address = _TO + quote(_checked(key_of_topic(topic), topic, "topic"))
            if len(self._addresses) >= CACHED:
                self._addresses.clear()
            self._addresses[topic] = address
        return address


def _queue(wanted: Wanted) -> str:
    """Return the name of a subscription's queue. A name that is too long is cut and ends in a hash."""
    name = wanted.address
    if wanted.share is None:
        name = f"private:{wanted.client_id}:{wanted.pattern}"
        if not wanted.ttl:
            name += f":{wanted.nonce}"
    name = name.replace("\r", "%0D").replace("\n", "%0A")
    raw = name.encode()
    if len(raw) > MAX_NAME:
        name = raw[: MAX_NAME - 33].decode("utf-8", "ignore") + "~" + sha256(raw).hexdigest()[:32]
    return name


def _checked(key: str, topic: str, what: str) -> str:
    size = len(key.encode())
    if size > MAX_KEY:
        raise AddressError(
            f"the {what} {topic[:40]!r}... makes a routing key of {size} bytes; RabbitMQ's limit is {MAX_KEY}"
        )
    return key


_CONDITIONS = {401: "amqp:unauthorized-access", 403: "amqp:unauthorized-access", 400: "amqp:not-allowed"}
_PASSING = (
    "timed out", "timeout", "down or inaccessible", "not available", "noproc", "nodedown", "internal_error", "no queue "
)  # fmt: skip
"""Words in RabbitMQ's answers with status 400 about a node or queue that is starting or stopping."""


def _check(status: int, said: object, what: str) -> None:
    """Raise AddressError unless RabbitMQ granted a request."""
    if status < 300:
        return
    name = _CONDITIONS.get(status, "amqp:internal-error")
    if status == 400 and any(words in str(said).lower() for words in _PASSING):
        name = "amqp:internal-error"
    raise AddressError(f"RabbitMQ does not let this client {what}: {said} (status {status})", name)
