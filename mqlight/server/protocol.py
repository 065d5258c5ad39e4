"""One client of the server: its SASL exchange, its engine, and its links to the broker.

Pure, like the parts that it connects: the listener moves the bytes and passes the time.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from mqlight.amqp.capabilities import ANONYMOUS_RELAY, RELEASE_UNROUTED, Marks, marks_of
from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.text import control_in
from mqlight.amqp.types import Condition, Handle, Outcome, Peer, Terminus
from mqlight.server import sources
from mqlight.server.broker import Broker
from mqlight.server.destination import DestinationName, Owner
from mqlight.server.limits import Limits
from mqlight.server.links import SENDER_CREDIT, ConsumerLink, Publisher
from mqlight.server.permissions import EVERYTHING, User
from mqlight.server.sasl import Identity, SaslServer, Verdict
from mqlight.server.sources import TEMPORARY

log = logging.getLogger(__name__)

GRANTED = frozenset(
    (RELEASE_UNROUTED, "topic", "temporary-topic", "temporary-queue", *(marks.value for marks in Marks if marks.value))
)
"""The capabilities of sources and targets that the server grants."""
FAREWELL = 5.0
"""Seconds within which a client must answer a close frame."""
MEASURED = 256 * 1024
"""Bytes of input between two measurements of the unfinished messages."""
TOPICS = 1000
"""The most topics whose permissions a connection caches."""
_FAULT = Condition("amqp:internal-error", "a fault of the server")
_UNKNOWN = Condition("")


class ServerProtocol:
    """The server's side of one client's connection. The client is told of the capabilities ``offered``.

    Args:
        broker: The server's broker.
        address: The client's address and port, for the log.
        check: ``check(identity)`` returns the user who logs in, or the reason why the login is refused. It returns
            None if :meth:`decide` is called later with the answer.
        dirty: ``dirty(connection)`` is called when there is output to flush.
        named: ``named(connection)`` is called when the client has sent its id. It returns the reason why the client may
            not have that id, or None.
        heartbeat: Seconds of silence after which the connection counts as lost.
        limits: The server's limits.
        properties: The properties in the server's open frame.
        mechanisms: The SASL mechanisms that the client may use.
    """

    offered: ClassVar[tuple[str, ...]] = (ANONYMOUS_RELAY,)
    granted: ClassVar[frozenset[str]] = GRANTED
    publisher: ClassVar[type[Publisher]] = Publisher
    consumer: ClassVar[type[ConsumerLink]] = ConsumerLink
    engine: Engine  # made after the login: until then a client costs no more than its socket

    def __init__(
        self,
        broker: Broker,
        *,
        address: str,
        check: Callable[[Identity], User | str | None],
        dirty: Callable[[ServerProtocol], None],
        named: Callable[[ServerProtocol], Condition | None],
        heartbeat: float,
        limits: Limits,
        properties: dict[str, str],
        mechanisms: tuple[str, ...] = ("ANONYMOUS", "PLAIN"),
    ) -> None:
        self.address = address
        self.client_id = ""
        self.user = User(None, EVERYTHING)
        self.closed = False
        self.limits = limits
        self.broker = broker
        self.dirty = dirty
        self._named = named
        self._check = check
        self.now = time.monotonic()
        self._sasl: SaslServer | None = SaslServer(self._verdict, mechanisms)
        """The SASL exchange; None after the login."""
        self._opened = False
        self.hurries = False
        """Whether to call :meth:`tick` now, because the client has just sent the interval of its heartbeats."""
        self._began: float | None = None
        self._heartbeat = heartbeat
        self._properties = properties
        self._early = b""
        self._leave_at: float | None = None
        self._cut_off = False
        self.faulty = False
        """Whether a link failed to take a message. The next :meth:`output` then closes the connection."""
        self._unmeasured = 0
        self._unfinished = 0
        self.properties: dict[str, object] = {}
        """The properties in the client's open frame."""
        self.ended_links_sent = 0
        """The number of messages that came over links which have ended."""
        self.ended: str | None = None
        """The reason why the connection has ended, as far as it is known."""
        self.unsent = 0
        """Bytes that wait for the client to read, as last reported to the broker."""
        self.clogged = False
        self.served: dict[Link, Publisher | ConsumerLink] = {}
        """The links that the broker serves, and their handlers."""
        self._topics: dict[str, Condition | None] = {}
        self._number = sources.number()
        self._made: set[str] = set()
        """Addresses that the server made for this client. The client may use them whatever its permissions are."""

    # Bytes, which the listener moves

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes from the client."""
        self.now = now
        if self._cut_off:
            return  # the client went beyond a limit, and the server only waits for its close
        if self._sasl is None:
            self.engine.receive(data)
            self._unmeasured += len(data)
            if self._unmeasured > MEASURED:
                self._measure()
        else:
            self._early += self._sasl.receive(data)
            self._log_in(self._sasl)
        self.dirty(self)

    @property
    def pending(self) -> bool:
        """Whether a login waits for :meth:`decide`. Do not call :meth:`receive` until then."""
        return self._sasl is not None and self._sasl.pending

    def _verdict(self, identity: Identity) -> Verdict:
        answer = self._check(identity)
        return None if answer is None else self._let_in(answer)

    def _let_in(self, answer: User | str) -> bool | str:
        """Return SASL's verdict, and remember the user who logs in."""
        if isinstance(answer, User):
            self.user = answer
            return True
        return answer

    def decide(self, answer: User | str, now: float) -> None:
        """Finish a login for which ``check`` returned None: with the user, or with the reason for a refusal."""
        self.now = now
        if self._sasl is not None and self._sasl.pending and not self.closed:
            self._early += self._sasl.decide(self._let_in(answer))
            self._log_in(self._sasl)
            self.dirty(self)

    def _log_in(self, sasl: SaslServer) -> None:
        if sasl.failed:
            log.warning("%s: refused: %s", self.address, sasl.failed)
            self.closed = True
        elif sasl.finished:
            self._sasl = None
            limits = self.limits
            self.engine = Engine(
                self,
                server=True,
                container_id="mqlight-server",
                heartbeat=self._heartbeat,
                max_frame_size=limits.frame_size,
                max_message_size=limits.message_size,
                max_sessions=limits.sessions,
                properties=self._properties,
                offered=self.offered,
            )
            if sasl.rest:
                self.engine.receive(sasl.rest)

    def output(self) -> bytes:
        """Return the bytes to send to the client now. Report with :meth:`sent` how many of them were sent."""
        if self.faulty:
            self.faulty = False
            self.close(_FAULT, self.now)
        return self._early or (self.engine.output() if self._sasl is None else b"")

    def sent(self, size: int) -> None:
        if self._early:
            self._early = self._early[size:]
            return
        self.engine.sent(size)
        if self.unsent and not self.closed:
            self.count_unsent()
            if self.clogged and self.unsent <= min(self.limits.unread // 2, MEASURED):
                self.clogged = False
                for each in list(self.served.values()):
                    each.on_credit(each.link)

    def end_of_input(self, now: float) -> None:
        """Note that the client's socket is closed."""
        self.now = now
        self.ended = self.ended or "the client's socket was closed without a farewell"
        if self._sasl is None:
            try:
                self.engine.end_of_input()
            finally:  # the client's messages go back even if the engine fails
                self._give_back()
                self._forget_buffers()
        self.closed = True

    def tick(self, now: float) -> float | None:
        """Let time pass: send heartbeats, and end a client that is silent, does not log in or does not answer a close.

        Returns:
            The time by which to call again, if it is known.
        """
        self.now = now
        self._began = self._began or now
        if self._leave_at is not None and now >= self._leave_at:
            self.closed = True
            self._forget_buffers()
        elif not self._opened and not self.closed and now >= self._began + self.limits.login_time:
            log.warning("%s: not logged in in time (%s)", self.address, self.limits.flag("login_time"))
            self.closed = True
        due = self.engine.tick(now) if self._sasl is None else None
        self.dirty(self)
        return due

    def close(self, condition: Condition, now: float) -> None:
        """Close the connection. The client's unsettled messages go back to their destinations."""
        self.now = now
        self.ended = self.ended or f"the server has closed it: {condition}"
        if self._sasl is None:
            self._leave_at = now + FAREWELL
            try:
                self.engine.close(condition)
            finally:
                self._give_back()
        else:
            self.closed = True
        self.dirty(self)

    def _cut(self, condition: Condition) -> None:
        """Close the connection of a client that went beyond a limit, and ignore all further input."""
        log.warning("%s %s: cut off: %s", self.address, self.client_id, condition.description)
        self._cut_off = True
        self.close(condition, self.now)

    def _measure(self) -> None:
        """Measure the memory of unfinished messages, and cut the client off if it takes too much."""
        unfinished = self.engine.unfinished()
        self._unmeasured = 0
        self._count_unfinished(unfinished)
        most = max(4 * self.limits.message_size, 1024 * 1024)
        if unfinished > most:
            self._cut(self.limits.reached("message_size", f"there are {unfinished} bytes of unfinished messages"))
        elif unfinished > MEASURED and self.broker.memory() > self.limits.memory:
            self._cut(self.limits.reached("memory", f"there are {unfinished} bytes of unfinished messages"))

    def _count_unfinished(self, unfinished: int) -> None:
        self.broker.unfinished += unfinished - self._unfinished
        self._unfinished = unfinished

    # Events of the client (engine.Handler)

    def on_open(self, peer: Peer) -> None:
        self._opened = self.hurries = True
        self.client_id = peer.container_id
        self.properties = peer.properties
        if len(self.client_id) > self.limits.name_length:
            name, self.client_id = self.client_id, ""
            refusal: Condition | None = Condition(
                "amqp:invalid-field",
                f"a client id of {len(name)} characters is too long ({self.limits.flag('name_length')})",
            )
        elif (control := control_in(self.client_id)) is not None:
            self.client_id = ""
            refusal = Condition("amqp:invalid-field", f"the client id has the control character {control}; take it out")
        else:
            self.user = self.user._replace(permissions=self.user.permissions.of_client(self.client_id))
            refusal = self._named(self)
        self.engine.open()
        if refusal is not None:
            log.warning("%s: refused: %s", self.address, refusal.description)
            self.client_id = ""
            self.close(refusal, self.now)
        else:
            log.info("%s %s: connected as %s", self.address, self.client_id, self.user)

    def on_attach(self, link: Link) -> None:
        if self._leave_at is not None:
            link.refuse(Condition("amqp:connection:forced", "this connection is closing"))
            return
        limits, count = self.limits, len(self.engine.links())
        if count > limits.links:
            excess = limits.reached("links", f"this connection has {count - 1} links already")
            link.refuse(excess)
            if count == limits.links + 1:
                log.warning("%s %s: link %.80s refused: %s", self.address, self.client_id, link.name, excess)
            elif count > 2 * limits.links:  # a refused link counts until the client has detached it
                self._cut(excess)
            return
        refusal = self._attach_publisher(link) if link.receiver else self._attach_consumer(link)
        if refusal is not None:
            log.warning("%s %s: link %.80s refused: %s", self.address, self.client_id, link.name, refusal.description)
            link.refuse(refusal)

    def _attach_publisher(self, link: Link) -> Condition | None:
        target = link.target
        if target.coordinator:
            return Condition("amqp:not-implemented", "this server has no transactions")
        made: DestinationName | None = None
        refusal = None
        if target.dynamic:
            target = replace(target, address=self._new_address())
            excess = self.broker.excess(self._owner)
            if excess is not None:
                return excess
            if "temporary-topic" not in target.capabilities:
                made = DestinationName(target.address or "", link=TEMPORARY)
                self.broker.create(made, self._owner)
            self._made.add(target.address or "")
        elif target.address:
            # The server accepts the link and rejects each message: MQ Light clients retry a refused link for ever.
            refusal = self.refusal_to_send(target.address)
        released = RELEASE_UNROUTED in target.capabilities and RELEASE_UNROUTED in self.granted
        publisher = self.publisher(
            self, link, topic=target.address or None, released=released, refusal=refusal, made=made
        )
        link.handler = self.served[link] = publisher
        capabilities = tuple(name for name in target.capabilities if name in self.granted)
        link.target = Terminus(target.address, dynamic=target.dynamic, capabilities=capabilities)
        link.accept()
        link.flow(SENDER_CREDIT)
        return None

    def _new_address(self) -> str:
        """Return a new address for a dynamic terminus. The client reads it in our attach (sections 3.5.3, 3.5.4)."""
        return f"response/{uuid.uuid4().hex}"

    def refusal_to_send(self, topic: str) -> Condition | None:
        """Return the reason why the user may not send to a topic, or None. The answer is cached."""
        refusal = self._topics.get(topic, _UNKNOWN)
        return self._refusal_to_send(topic) if refusal is _UNKNOWN else refusal

    def _refusal_to_send(self, topic: str) -> Condition | None:
        refusal = None
        try:
            self.limits.check_topic(topic)
        except ValueError as error:
            refusal = Condition("amqp:not-allowed", str(error))
        if not self.user.permissions.may_send(topic):
            refusal = self.user.refusal("send", topic)
        if refusal is not None:
            log.warning("%s %s: %s", self.address, self.client_id, refusal.description)
        if len(self._topics) >= TOPICS:
            self._topics.clear()
        self._topics[topic] = refusal
        return refusal

    def _attach_consumer(self, link: Link) -> Condition | None:
        refusal = sources.refusal(link.source)
        if refusal is not None:
            return refusal
        if link.source.dynamic:
            link.source = replace(link.source, address=self._new_address())
            self._made.add(link.source.address or "")
        source, broker = link.source, self.broker
        known = broker.lasting(self.client_id, link.name) if self.client_id else None
        if source.address is None and known is None:
            reason = f"the source has no address, and {self.client_id or 'this client'} has no subscription"
            return Condition("amqp:not-found", f"{reason} {link.name:.80}; name a topic pattern, or ask for dynamic")
        ttl = float(sources.time_to_live(source, self.client_id))
        try:
            if source.address is None and known is not None:  # the link is resumed (section 2.6.3)
                source, name, ttl = replace(source, address=known.name.pattern), known.name, known.ttl
            else:
                name = sources.name_of(link, self.client_id, self._number)
            self.limits.check_pattern(name.pattern)
        except ValueError as error:
            return Condition("amqp:not-allowed", str(error))
        shared = DestinationName(name.pattern, link=sources.TEMPORARY)
        if shared in broker.destinations:
            name, ttl = shared, 0.0
        refusal = self._refusal_to_subscribe(name, made_here=name.pattern in self._made)
        if refusal is not None:
            return refusal
        if isinstance(name.link, str) and known is not None:
            if known.consumers:
                return Condition("amqp:resource-locked", f"another link has the subscription {link.name:.80}")
            if known.name != name:  # another address makes another subscription
                broker.remove(known.name)
        link.source = sources.granted(source, ttl, self.granted, durable=broker.journal is not None)
        link.accept()
        served = self.consumer(self, link, min(MEASURED, self.limits.unread))
        consumer = broker.subscribe(name, ttl, served.deliver, at_most_once=link.settles_at_once, owner=self._owner)
        consumer.marks = marks_of(link.source.capabilities)
        consumer.held = link.unsettled.values
        consumer.unsent = link.unsent
        consumer.failed = served.failed
        consumer.client = self
        served.consumer = consumer
        link.handler = self.served[link] = served
        return None

    @property
    def _owner(self) -> Owner:
        return Owner(self.user.name, self.client_id)

    def _refusal_to_subscribe(self, name: DestinationName, *, made_here: bool) -> Condition | None:
        limits, destinations = self.limits, self.broker.destinations
        if not made_here and not self.user.permissions.may_subscribe(name.pattern):
            return self.user.refusal("subscribe", name.pattern)
        if name.share is not None and (control := control_in(name.share)) is not None:
            return Condition("amqp:not-allowed", f"the share {name.share[:80]!r} has the control character {control}")
        if name.share is not None and len(name.share) > limits.name_length:
            reason = f"a share of {len(name.share)} characters is too long ({limits.flag('name_length')})"
            return Condition("amqp:not-allowed", reason)
        destination = destinations.get(name)
        if isinstance(name.link, str) and len(name.link) > limits.name_length:
            reason = f"a link name of {len(name.link)} characters is too long ({limits.flag('name_length')})"
            return Condition("amqp:not-allowed", reason)
        if destination is None:
            return self.broker.excess(self._owner)
        if len(destination.consumers) >= limits.subscribers:
            count = len(destination.consumers)
            return limits.reached("subscribers", f"the destination {name} has {count} subscribers already")
        return None

    def count_unsent(self) -> None:
        """Tell the broker how much memory the client's unread output takes. Pause the client if it is too much.

        The output for all clients together may take a quarter of the memory. ``MEASURED`` bytes per client are always
        allowed.
        """
        size = self.engine.pending()
        broker = self.broker
        broker.unsent += size - self.unsent
        self.unsent = size
        if size > self.limits.unread or (size > MEASURED and broker.unsent > self.limits.memory // 4):
            self._clog()

    def _forget_buffers(self) -> None:
        """Stop counting the memory that the ended connection took."""
        self._count_unfinished(0)
        self.broker.unsent -= self.unsent
        self.unsent = 0

    def _clog(self) -> None:
        """Pause a client that does not read, until it has read about half of its waiting output."""
        if not self.clogged:
            self.clogged = True
            log.info("%s %s: does not read (%s)", self.address, self.client_id, self.limits.flag("unread"))
        for each in self.served.values():
            each.pause()

    # Each served link has a handler of its own. These methods get the events of refused links.

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        """Ignore a message on a refused link."""

    def on_outcome(self, link: Link, token: Any, outcome: Outcome, condition: Condition | None) -> None:
        """Ignore an outcome on a refused link."""

    def on_received(self, link: Link, token: Any) -> None:
        """Ignore a received state on a refused link."""

    def on_credit(self, link: Link) -> None:
        """Ignore credit on a refused link."""

    def on_detach(self, link: Link, closed: bool, condition: Condition | None) -> None:
        """Ignore the detach of a refused link."""

    def on_close(self, condition: Condition | None) -> None:
        self.ended = self.ended or ("the client has closed it" if condition is None else str(condition))
        if condition is not None:
            log.info("%s %s: connection over: %s%s", self.address, self.client_id, condition, self._hint(condition))
        self.closed = True
        self._give_back()
        self._forget_buffers()

    def _hint(self, condition: Condition) -> str:
        """Return the flag of the limit that the engine found exceeded, in brackets; else the empty string."""
        if "channel-max" in condition.description:
            return f" ({self.limits.flag('sessions')})"
        if "max-frame-size" in condition.description:
            return f" ({self.limits.flag('frame_size')})"
        return ""

    def _give_back(self) -> None:
        served = list(self.served.values())
        for each in served:  # pause all first: a message of one link must not go to another link of this client
            each.pause()
        for each in served:
            try:
                each.end(forget=False)
            except Exception:
                log.exception("%s %s: link %.80s failed to end", self.address, self.client_id, each.link.name)

    @property
    def messages_sent(self) -> int:
        """The number of messages that the client sent."""
        return self.ended_links_sent + sum(each.sent for each in self.served.values())
