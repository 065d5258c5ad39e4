"""The messages of a client that have no outcome yet, and the links that carry them.

The rules of this file:

* A message given to ``send`` at least once (not ``settled``) is kept until the server has settled it. It is sent again
  over the next connection, before later messages. Its outcome is reported exactly once.
* A message that is too large for its link is rejected here. The server would end the link, and with it the other
  messages on their way.
* This code is pure: bytes and time come from outside, and one thread at a time calls it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Handle, Outcome
from mqlight.dialects.base import AddressError, Dialect
from mqlight.dialects.readdress import count_down
from mqlight.log import Log, report
from mqlight.outgoing import Outgoing
from mqlight.timers import Timers

__all__ = ["EXPIRED", "Senders"]

log = Log(__name__)

# Looking a member up in its enum class takes five times as long.
_accepted: Final = Outcome.ACCEPTED
_released: Final = Outcome.RELEASED
_rejected: Final = Outcome.REJECTED

EXPIRED = "mqlight:expired"
"""The condition, defined here, of a message whose time to live ended before it could be sent."""
RESEND = 0.2
"""Seconds after which a message is sent again that a broker rejected without giving a reason."""
MAX_TRIES = 150
REFUSALS = ("amqp:unauthorized-access", "amqp:not-allowed", "amqp:precondition-failed")
"""Conditions that end a session and that a broker would repeat over the next connection."""


class Sender:
    """A sending link, and the messages that wait for its credit. ``topic`` None is the link for every topic."""

    __slots__ = ("credit", "link", "mandatory", "readdress", "topic", "waiting")

    def __init__(
        self, topic: str | None, mandatory: bool, link: Link, readdress: Callable[[bytes, str, bool], bytes] | None
    ) -> None:
        self.readdress = readdress
        """The change that the broker needs in the address of each message."""
        self.topic = topic
        self.mandatory = mandatory
        self.link = link
        self.credit = 0
        self.waiting: deque[Outgoing] = deque()


class Senders:
    """The sending half of a client, and the handler of its links.

    Args:
        timers: Get the time to send again the messages that the broker could not take.
        clock: Returns the time in seconds by which the time to live of waiting messages decreases.
        on_room: Called when a waiting message was sent or settled.
    """

    def __init__(self, timers: Timers, clock: Callable[[], float], on_room: Callable[[], None]) -> None:
        self.outstanding = 0
        """The number of messages that were given to :meth:`send` and have no outcome yet."""
        self.waiting = 0
        """The number of those messages that wait for a connection or for credit."""
        self.rejected: list[Outgoing] = []
        """Messages that the broker could not take for the moment: see :meth:`resend`."""
        self.connected = False
        """Whether messages can be sent: there is a connection, and the client is ready on it."""
        self.leaving = False
        """Whether the client itself ends the connection. Messages then wait for the next one."""
        self._early: deque[Outgoing] = deque()
        self._links: dict[tuple[str | None, bool], Sender] = {}
        self._number = 0
        self._engine: Engine | None = None
        self._dialect: Dialect | None = None
        self._relay = self._drops_unrouted = self._rejects_in_passing = False
        self._timers = timers
        self._clock = clock
        self._on_room = on_room

    # Requests of the application

    def send(self, outgoing: Outgoing) -> None:
        """Send a message now if there is credit, otherwise as soon as there is credit."""
        self.outstanding += 1
        if not self.connected:
            self._wait(outgoing)
            self._early.append(outgoing)
            return
        key = (None if self._relay else outgoing.topic, outgoing.mandatory)
        sender = self._links.get(key)
        if sender is None:
            sender = self._links[key] = self._attach(*key)
        if sender.credit > 0:
            self._send_on(sender, outgoing)
        else:
            self._wait(outgoing)
            sender.waiting.append(outgoing)

    def _wait(self, outgoing: Outgoing) -> None:
        self.waiting += 1
        if outgoing.since is None:
            outgoing.since = self._clock()

    def _send_on(self, sender: Sender, outgoing: Outgoing) -> None:
        message = outgoing.message
        if outgoing.since is not None:
            left = count_down(message, int((self._clock() - outgoing.since) * 1000))
            if left is None:
                said = "the time to live of the message was over before it could be sent"
                self._tell(outgoing, _released, Condition(EXPIRED, said))
                return
            message = left
        if sender.readdress is not None:
            try:
                message = sender.readdress(message, outgoing.topic, outgoing.settled)
            except AddressError as error:
                self._tell(outgoing, _rejected, error.condition)
                return
        link = sender.link
        limit = link.peer_max_message_size
        if limit and len(message) > limit:
            self._tell(outgoing, _rejected, _too_large(len(message), limit))
            return
        sender.credit -= 1
        link.send(message, outgoing, outgoing.settled)
        if outgoing.settled:
            self._tell(outgoing, _accepted, None)

    def _tell(self, outgoing: Outgoing, outcome: Outcome, condition: Condition | None) -> None:
        self.outstanding -= 1
        if outgoing.on_outcome is not None:
            try:
                outgoing.on_outcome(outcome, condition)
            except BaseException:  # otherwise the outcomes of other messages are lost too
                report(log, outgoing.on_outcome)

    def _attach(self, topic: str | None, mandatory: bool) -> Sender:
        assert self._engine is not None and self._dialect is not None
        dialect = self._dialect
        self._number += 1
        link = self._engine.attach_sender(f"{topic or 'relay'}-{self._number}", dialect.target(topic, mandatory))
        sender = Sender(topic, mandatory, link, dialect.readdress if dialect.readdresses else None)
        link.handler, link.context = self, sender
        return sender

    def resend(self) -> None:
        """Send again the messages that the broker could not take, ``RESEND`` seconds after the first one."""
        if self.connected:
            rejected, self.rejected = self.rejected, []
            self.waiting -= len(rejected)
            self._send_again(rejected)

    def _send_again(self, messages: list[Outgoing] | deque[Outgoing]) -> None:
        """Send messages that count as outstanding already."""
        self.outstanding -= len(messages)
        for outgoing in messages:
            self.send(outgoing)

    @property
    def max_message_size(self) -> int:
        """The most bytes of one message that the server accepts on the open links; 0 if it has set no limit."""
        limits = [sender.link.peer_max_message_size for sender in self._links.values()]
        return min(filter(None, limits), default=0)

    # The beginning and the end of a connection

    def begin(self, engine: Engine, dialect: Dialect) -> None:
        """Begin to send over a connection that is ready: first the messages that wait."""
        self._engine, self._dialect = engine, dialect
        self._relay = dialect.relay
        self._drops_unrouted = dialect.releases_unrouted
        self._rejects_in_passing = dialect.rejects_in_passing
        self.connected = True
        early, self._early = self._early, deque()
        self.waiting -= len(early)
        self._send_again(early)

    def end(self) -> None:
        """Handle the end of the connection. Messages that are not settled wait for the next one, in their old order."""
        again, self.rejected = self.rejected, []
        for sender in self._links.values():
            unsettled = sender.link.unsettled.values()
            for outgoing in unsettled:
                self._wait(outgoing)
            again.extend(unsettled)
            sender.link.unsettled.clear()
            again.extend(sender.waiting)
        self._links.clear()
        self._early.extendleft(reversed(again))
        self.outstanding = self.waiting = len(self._early)  # an interrupted `send` may have counted wrongly
        self._engine = self._dialect = None
        self.connected = self.leaving = False

    def give_up(self, condition: Condition) -> None:
        """Release every waiting message with ``condition``: there is no next connection."""
        early, self._early = self._early, deque()
        self.waiting = 0
        for outgoing in early:
            self._tell(outgoing, _released, condition)

    # Events from the server (LinkHandler)

    def on_credit(self, link: Link) -> None:
        sender: Sender = link.context
        sender.credit = link.credit
        waiting = sender.waiting
        if waiting:
            while waiting and sender.credit > 0:
                self.waiting -= 1
                self._send_on(sender, waiting.popleft())
            self._on_room()
        link.drain_answered()
        sender.credit = link.credit

    def on_outcomes(self, link: Link, tokens: list[Any], outcome: Outcome, condition: Condition | None) -> None:
        if outcome is _accepted:
            self.outstanding -= len(tokens)
            for outgoing in tokens:
                on_outcome = outgoing.on_outcome
                if on_outcome is not None:
                    try:
                        on_outcome(outcome, None)
                    except BaseException:  # otherwise the outcomes of other messages are lost too
                        report(log, on_outcome)
        else:
            for outgoing in tokens:
                self._not_accepted(outgoing, outcome, condition)
        self._on_room()

    def _not_accepted(self, outgoing: Outgoing, outcome: Outcome, condition: Condition | None) -> None:
        if outcome is _released and self._drops_unrouted and not outgoing.mandatory:
            outcome = _accepted  # without a subscription, MQ Light accepts and drops a message
        elif outcome is _rejected and self._rejects_in_passing and not (condition and condition.name):
            outgoing.tries += 1
            if outgoing.tries < MAX_TRIES:
                self._wait(outgoing)
                self.rejected.append(outgoing)
                if len(self.rejected) == 1:
                    self._timers.set(self._clock() + RESEND, self.resend)
                return
            condition = Condition("amqp:resource-limit-exceeded", "the broker refused the message several times")
        self._tell(outgoing, outcome, condition)

    def on_received(self, link: Link, token: Any) -> None:
        """Do nothing: a sender needs only the outcome."""

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        """Do nothing: a sending link gets no messages."""

    def on_detach(self, link: Link, closed: bool, condition: Condition | None) -> None:
        """Handle the end of a sending link: reject its messages if the server gave a reason, or send them again."""
        assert self._dialect is not None
        sender: Sender = link.context
        unsettled = list(link.unsettled.values())
        link.unsettled.clear()
        self._links.pop((sender.topic, sender.mandatory), None)
        self.waiting -= len(sender.waiting)
        again = [*unsettled, *sender.waiting]
        if condition is not None and (not self.leaving or condition.name in REFUSALS):
            refused = [each for each in again if self._dialect.concerns(condition, each.topic)]
            again = [each for each in again if each not in refused]
            for outgoing in refused:
                self._tell(outgoing, _rejected, condition)
        if self.leaving:  # the messages go over the next connection
            self.waiting += len(again)
            self.rejected += again
            return
        self._send_again(again)
        self._on_room()


def _too_large(size: int, limit: int) -> Condition:
    reason = f"the message has {size} bytes, encoded; the server takes no more than {limit}"
    return Condition("amqp:link:message-size-exceeded", reason)
