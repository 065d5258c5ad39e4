"""A client of the server as the broker and the client's links see it: its identity, and the messages that it holds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition
from mqlight.server.broker import Broker
from mqlight.server.destination import Owner
from mqlight.server.limits import Limits
from mqlight.server.permissions import EVERYTHING, User

log = logging.getLogger(__name__)

MEASURED = 256 * 1024
"""Bytes of unread output that a client may always have, and bytes of input between two measurements."""
TOPICS = 1000
"""The most topics whose permissions a connection caches."""
UNKNOWN: Final = Condition("")


class Served:
    """A link that the broker serves, and its handler: see :mod:`mqlight.server.links`."""

    __slots__ = ("client", "link", "over")

    def __init__(self, client: Client, link: Link) -> None:
        self.client = client
        self.link = link
        self.over = False

    @property
    def sent(self) -> int:
        """The number of messages that the client sent over the link."""
        return 0

    def pause(self) -> None:
        """Give no further messages to the client."""

    def resume(self) -> None:
        """Give messages to the client again, as far as it has given credit."""

    def end(self, *, forget: bool) -> None:
        """End the link and tell the broker, once. ``forget`` says that the client will not resume the link."""
        if not self.over:
            self.over = True
            self.client.served.pop(self.link, None)
            self.leave(forget)

    def leave(self, forget: bool) -> None:
        """Take the link out of the broker."""


class Client:
    """A client.

    Args:
        broker: The server's broker.
        limits: The server's limits.
        address: The client's address and port, for the log.
        dirty: ``dirty(client)`` is called when there is output to flush.
    """

    engine: Engine
    """The engine of the connection, from the login on."""

    def __init__(
        self, broker: Broker, limits: Limits, address: str, dirty: Callable[[Client], None], now: float
    ) -> None:
        self.broker = broker
        self.limits = limits
        self.address = address
        self.dirty = dirty
        self.now = now
        """The time of the last event, in seconds of the monotonic clock."""
        self.client_id = ""
        self.user = User(None, EVERYTHING)
        self.properties: dict[str, object] = {}
        """The properties in the client's open frame."""
        self.closed = False
        self.fault: Condition | None = None
        """The reason for which the server closes the connection when it next has output."""
        self.served: dict[Link, Served] = {}
        """The links that the broker serves, and their handlers."""
        self.ended_links_sent = 0
        """The number of messages that came over links which have ended."""
        self.unsent = 0
        """Bytes that wait for the client to read, as last reported to the broker."""
        self.clogged = False
        """Whether the client gets no messages because it does not read."""
        self.refusals: dict[str, Condition | None] = {}
        """The known answers of :meth:`refusal_to_send`, by topic."""

    def __str__(self) -> str:
        return f"{self.address} {self.client_id}"

    @property
    def owner(self) -> Owner:
        """The client as the owner of the destinations that it makes."""
        return Owner(self.user.name, self.client_id)

    @property
    def messages_sent(self) -> int:
        """The number of messages that the client sent."""
        return self.ended_links_sent + sum(each.sent for each in self.served.values())

    def refusal_to_send(self, topic: str) -> Condition | None:
        """Return the reason why the user may not send to a topic, or None. Keep the answer in ``refusals``."""
        refusal = self.refusals.get(topic, UNKNOWN)
        return self._refusal_to_send(topic) if refusal is UNKNOWN else refusal

    def _refusal_to_send(self, topic: str) -> Condition | None:
        refusal = None
        try:
            self.limits.check_topic(topic)
        except ValueError as error:
            refusal = Condition("amqp:not-allowed", str(error))
        if not self.user.permissions.may_send(topic):
            refusal = self.user.refusal("send", topic)
        if refusal is not None:
            log.warning("%s: %s", self, refusal.description)
        if len(self.refusals) >= TOPICS:
            self.refusals.clear()
        self.refusals[topic] = refusal
        return refusal

    def count_unsent(self) -> None:
        """Tell the broker how much memory the client's unread output takes. Pause the client if it is too much.

        The output for all clients together may take a quarter of the memory. ``MEASURED`` bytes per client are always
        allowed.
        """
        size, capacity = self.engine.pending(), self.broker.capacity
        capacity.unsent += size - self.unsent
        self.unsent = size
        if size > self.limits.unread or (size > MEASURED and capacity.unsent > self.limits.memory // 4):
            if not self.clogged:
                self.clogged = True
                log.info("%s: does not read (%s)", self, self.limits.flag("unread"))
            for each in self.served.values():
                each.pause()

    def has_read(self) -> None:
        """Note that the client has read some output. A paused client goes on when it has read about half of it."""
        if self.unsent and not self.closed:
            self.count_unsent()
            if self.clogged and self.unsent <= min(self.limits.unread // 2, MEASURED):
                self.clogged = False
                for each in list(self.served.values()):
                    each.resume()

    def forget_output(self) -> None:
        """Stop counting the memory that the output of the ended connection took."""
        self.broker.capacity.unsent -= self.unsent
        self.unsent = 0

    def give_back(self) -> None:
        """End all links. The client's unsettled messages go back to their destinations."""
        served = list(self.served.values())
        for each in served:  # pause all first: a message of one link must not go to another link of this client
            each.pause()
        for each in served:
            try:
                each.end(forget=False)
            except Exception:
                log.exception("%s: link %.80s failed to end", self, each.link.name)
