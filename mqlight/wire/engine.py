"""One AMQP 1.0 connection, either end, without any input or output of its own.

The rules of this file:

* Bytes come in by :meth:`Engine.receive` and go out by :meth:`Engine.output`; what the peer did comes up as
  calls of a :class:`Handler`, made from inside :meth:`Engine.receive`, :meth:`Engine.end_of_input` and
  :meth:`Engine.tick`.
* One thread at a time touches an engine; whoever owns it sees to that.
* Set-up and tear-down are here and in link.py, by Proton's Python classes. The path of the messages is in transit.pyx,
  which calls Proton's C functions. Nothing else knows Proton.
* A handle (the address of Proton's delivery) is worth something only while its link is open: :meth:`Engine.settle`
  asks the link first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cproton_ffi import ffi
from cproton_ffi.lib import (
    pn_condition_get_description,
    pn_condition_get_name,
    pn_condition_set_description,
    pn_condition_set_name,
    pn_delivery_local,
    pn_delivery_remote,
    pn_delivery_update,
    pn_disposition_condition,
    pn_disposition_is_failed,
    pn_disposition_set_failed,
    pn_link_session,
    pn_session_incoming_bytes,
    pn_transport_pending,
    pn_transport_tick,
)
from proton import (
    Collector,
    Connection,
    Event,
    ProtonException,
    Session,
    Transport,
    symbol,
)
from proton import Condition as ProtonCondition
from proton import Link as ProtonLink

from mqlight.wire.link import GarbledError, Link, decoded, fill, symbols
from mqlight.wire.terms import Condition, Handle, Handler, Outcome, Peer, Terminus
from mqlight.wire.transit import CHUNK, Transit, delivery_of

READ = 8192
"""Bytes to take from a socket at a time: so few that both ends and the server work at once on a stream of messages."""
AMQP_HEADER = b"AMQP\x00\x01\x00\x00"

class Engine(Transit):
    """One AMQP connection.

    ``handler`` hears of it. Sizes are in bytes, times in seconds on any clock that never goes back.
    A client authenticates with SASL PLAIN where ``user`` is given, else ANONYMOUS, or EXTERNAL where the server offers
    it and ``external`` says that a certificate was shown; the server half of SASL is not here.
    ``heartbeat`` is how long the peer may be silent before the connection counts as broken (0: for ever).
    """

    def __init__(
        self,
        handler: Handler,
        *,
        server: bool,
        container_id: str,
        hostname: str | None = None,
        user: str | None = None,
        password: str | None = None,
        heartbeat: float = 0.0,
        max_frame_size: int = CHUNK,
        max_message_size: int = 0,
        max_sessions: int = 32768,
        external: bool = False,
        properties: dict[str, str] | None = None,
        offered: Iterable[str] = (),
    ) -> None:
        self.max_message_size = max_message_size
        self._handler = handler
        self._names: set[tuple[str, bool]] = set()
        """Of the links that this end attached, and whether it receives on them."""
        self._greeting: bytes | None = b"" if server else None
        self._connection = Connection()
        self._collector = Collector()
        self._connection.collect(self._collector)
        self._connection.container = container_id
        if hostname is not None:
            self._connection.hostname = hostname
        if properties:
            self._connection.properties = {symbol(key): value for key, value in properties.items()}
        if offered := [symbol(name) for name in offered]:
            self._connection.offered_capabilities = offered
        if server:
            self._transport = Transport(Transport.SERVER)
        else:
            self._transport = Transport()
            self._log_in(user, password, external)
        self._transport.max_frame_size = max_frame_size
        self._transport.channel_max = max_sessions - 1
        if heartbeat:
            self._transport.idle_timeout = heartbeat
        self._transport.bind(self._connection)
        self._session: Any = None  # the C pointer: see Link.proton
        self._begun: set[Any] = set()
        """The sessions that the peer began and did not end."""
        self._t = self._transport._impl
        super().__init__(handler, self._t, self._collector._impl)

    def _log_in(self, user: str | None, password: str | None, external: bool) -> None:
        sasl = self._transport.sasl()
        sasl.allow_insecure_mechs = True
        if user is not None:
            self._connection.user, self._connection.password = user, password or ""
        sasl.allowed_mechs("PLAIN" if user is not None else "EXTERNAL ANONYMOUS" if external else "ANONYMOUS")

    # Bytes

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer and tell the handler what they mean.

        Bytes that are not AMQP end the connection: ``on_close`` says why and :meth:`output` has the close frame.
        """
        if self._greeting is not None:
            data = self._greet(self._greeting + data)
        if not self.closed:
            self.push(data)

    def _greet(self, seen: bytes) -> bytes:
        """A client's first bytes are the AMQP header: Proton would go on to serve SASL or TLS as well, and its SASL
        server crashes on malformed frames. Returns the bytes when the header is complete.
        """
        self._greeting = seen[:8]
        if not AMQP_HEADER.startswith(self._greeting):
            reason = f"the client began with {self._greeting!r} where the AMQP header was due"
            self._over(Condition("amqp:connection:framing-error", reason))
        if len(seen) < 8:
            return b""
        self._greeting = None
        return seen

    def end_of_input(self) -> None:
        """The peer's bytes are over (or the socket broke)."""
        if not self.closed:
            self.dispatch()  # a refused login is told by no byte of its own
        self._over(Condition("amqp:connection:forced", "the peer closed the socket"))
        try:
            self._transport.close_tail()
        except ProtonException:
            pass  # Proton's way to say that no close frame came before

    def tick(self, now: float) -> float | None:
        """Let time pass: sends a heartbeat when one is due, ends a connection whose peer is silent. Returns when to
        call again.
        """
        if self.closed:
            return None
        deadline = pn_transport_tick(self._t, int(now * 1000) + 1)
        self.dispatch()
        return deadline / 1000 if deadline > 0 else None

    # Requests

    def links(self) -> list[Link]:
        """The links that there are, in the order of their attachment."""
        return self._all()

    def unfinished(self) -> int:
        """Bytes of received messages that have begun and not ended."""
        sessions = {pn_link_session(link.c) for link in self._all()}
        return sum(int(pn_session_incoming_bytes(session)) for session in sessions)

    def open(self) -> None:
        """Send our open frame."""
        self._connection.open()

    def close(self, condition: Condition | None = None) -> None:
        """Send a close frame. The handler hears ``on_close`` when the peer answers or the socket ends."""
        if condition is not None:
            self._connection.condition = ProtonCondition(condition.name, condition.description)
        self._connection.close()

    def attach_sender(self, name: str, target: Terminus, *, at_most_once: bool | None = None) -> Link:
        """Attach a link to send on. ``target.address`` None asks for an anonymous one (the topic travels in each
        message).
        """
        link = self._attachable().sender(self._unused(name, False))
        if at_most_once is not None:
            link.snd_settle_mode = ProtonLink.SND_SETTLED if at_most_once else ProtonLink.SND_UNSETTLED
        return self._attach(link, Terminus(name), target)

    def attach_receiver(self, name: str, source: Terminus, *, at_most_once: bool) -> Link:
        """Attach a link to receive on; source and target are alike, as MQ Light clients do (wire contract 1.3)."""
        link = self._attachable().receiver(self._unused(name, True))
        link.snd_settle_mode = ProtonLink.SND_SETTLED if at_most_once else ProtonLink.SND_UNSETTLED
        return self._attach(link, source, source)

    def attach_pair(self, name: str, address: str) -> tuple[Link, Link]:
        """Attach a link to send requests on and one of the same name for their answers (Link Pair 1.0)."""
        node = Terminus(address)
        session = self._attachable()
        pair = session.sender(self._unused(name, False)), session.receiver(self._unused(name, True))
        for link in pair:
            link.snd_settle_mode = ProtonLink.SND_SETTLED
            link.properties = {symbol("paired"): True}
        return self._attach(pair[0], node, node), self._attach(pair[1], node, node)

    def _unused(self, name: str, receiver: bool) -> str:
        """``name``, or one made of it while a link of that name is there: Proton's peers close the connection for that
        (section 2.6.1).
        """
        free, number = name, 1
        while (free, receiver) in self._names:
            number += 1
            free = f"{name}~{number}"
        return free

    def _attachable(self) -> Any:
        pn_transport_pending(self._t)  # encodes what there is: Proton would send this attach before earlier detaches
        if self._session is None:
            session = self._connection.session()
            session.open()
            self._session = session._impl
        return _wrap_session(self._session)

    def _attach(self, link: ProtonLink, source: Terminus, target: Terminus) -> Link:
        fill(link.source, source)
        fill(link.target, target)
        attached = Link(self, link, local=True)
        self._add(attached)
        self._names.add((attached.name, attached.receiver))
        link.open()
        return attached

    # What the path of the messages asks for

    def _happened(self) -> None:
        event: Any = self._collector.peek()
        method = _RARE.get(event.type)
        if method is not None:
            try:
                method(self, event)
            except GarbledError as error:
                self._garbled(error)
        # The event is gone with this call: it must not outlive its pop.

    def _wrong_way(self) -> None:
        self._garbled(_WRONG_WAY)

    def _too_large(self, link: Link, handle: Handle) -> None:
        reason = f"the message is larger than the {link.max_message_size} bytes that are allowed"
        condition = Condition("amqp:link:message-size-exceeded", reason)
        self.settle(link, handle, Outcome.REJECTED, condition)
        link.detach(condition=condition)
        link.closed = True  # kept until the peer's detach: what it still sends is to be discarded
        self._handler.on_detach(link, True, None)

    def _outcome(self, handle: Handle, state: int) -> tuple[Outcome, Condition | None]:
        remote = pn_delivery_remote(delivery_of(handle))
        if state == Outcome.REJECTED:
            error = pn_disposition_condition(remote)
            name, description = _text(pn_condition_get_name(error)), _text(pn_condition_get_description(error))
            return Outcome.REJECTED, Condition(name, description)
        if state == Outcome.MODIFIED and pn_disposition_is_failed(remote):
            return Outcome.MODIFIED, None
        return Outcome.RELEASED, None

    def _explain(self, handle: Handle, outcome: Outcome, condition: Condition | None) -> None:
        disposition = pn_delivery_local(delivery_of(handle))
        if condition is not None:
            error = pn_disposition_condition(disposition)
            pn_condition_set_name(error, condition.name.encode())
            pn_condition_set_description(error, condition.description.encode())
        if outcome == Outcome.MODIFIED:
            pn_disposition_set_failed(disposition, True)

    # Rare events

    def _garbled(self, error: GarbledError) -> None:
        condition = Condition("amqp:decode-error", str(error))
        self.close(condition)
        self._over(condition)

    def _opened(self, event: Any) -> None:
        self._handler.on_open(decoded(self._peer))

    def _peer(self) -> Peer:
        connection = self._connection
        return Peer(
            container_id=connection.remote_container or "",
            hostname=connection.remote_hostname,
            properties=_plain(connection.remote_properties),
            offered=symbols(connection.remote_offered_capabilities),
            desired=symbols(connection.remote_desired_capabilities),
        )

    def _session_opened(self, event: Any) -> None:
        session = event.session
        if session._impl in self._begun or session.state & session.LOCAL_CLOSED:
            # Proton would find it by both channels, also when it has been freed, and free it twice.
            raise GarbledError("a session began twice")
        if len(self._begun) > self._transport.channel_max:  # Proton does not mind a channel that is in use
            raise GarbledError("more sessions began than there are channels")
        self._begun.add(session._impl)
        if session.state & session.LOCAL_UNINIT:
            session.open()

    def _session_closed(self, event: Any) -> None:
        session = event.session
        self._begun.discard(session._impl)
        if self._session is not None and self._session == session._impl:
            self._session = None  # first: whoever hears that a link is gone may attach it again, on a new session
        condition = decoded(lambda: _condition(session.remote_condition))
        for link in [link for link in self._all() if link.proton.session == session]:
            self._drop(link, closed=False, condition=condition)
        session.close()
        session.free()

    def _attached(self, event: Any) -> None:
        proton_link = event.link
        link = self._find(proton_link._impl)
        if link is None:
            link = Link(self, proton_link, local=False)
            self._add(link)
        link.attached()
        self._handler.on_attach(link)

    def _detached(self, event: Any) -> None:
        proton_link = event.link
        link = self._find(proton_link._impl)
        if link is None:
            return
        condition = decoded(lambda: _condition(proton_link.remote_condition))
        closed = bool(proton_link.state & proton_link.REMOTE_CLOSED) and event.type == Event.LINK_REMOTE_CLOSE
        if proton_link.state & proton_link.LOCAL_ACTIVE:
            link.detach(closed=closed)
        self._drop(link, closed, condition)

    def _drop(self, link: Link, closed: bool, condition: Condition | None) -> None:
        """The link is over: tell its owner, then let Proton free it, which voids its handles."""
        already = link.closed
        link.closed = True
        if not already:
            self._handler.on_detach(link, closed, condition)
        self._remove(link)
        if link.local:
            self._names.discard((link.name, link.receiver))
        link.unsettled.clear()
        for handle in link.held:  # Proton settles them without a state, which MQ Light peers would take for accepted
            pn_delivery_update(delivery_of(handle), Outcome.RELEASED.value)
        link.held.clear()
        link.proton.free()

    def _transport_failed(self, event: Any) -> None:
        condition = decoded(lambda: _condition(event.transport.condition))
        self._over(condition or Condition("amqp:connection:forced", "the connection broke"))

    def _closed_by_peer(self, event: Any) -> None:
        condition = decoded(lambda: _condition(self._connection.remote_condition))
        if self._connection.state & Connection.LOCAL_ACTIVE:
            self._connection.close()
        self._over(condition)

    def _over(self, condition: Condition | None) -> None:
        if not self.closed:
            self.closed = True
            for link in self._all():
                link.closed = True
            self._handler.on_close(condition)


_WRONG_WAY = GarbledError("a message came over a link that this end sends on")
_wrap_session: Any = Session.wrap
_RARE = {
    Event.CONNECTION_REMOTE_OPEN: Engine._opened,
    Event.CONNECTION_REMOTE_CLOSE: Engine._closed_by_peer,
    Event.SESSION_REMOTE_OPEN: Engine._session_opened,
    Event.SESSION_REMOTE_CLOSE: Engine._session_closed,
    Event.LINK_REMOTE_OPEN: Engine._attached,
    Event.LINK_REMOTE_DETACH: Engine._detached,
    Event.LINK_REMOTE_CLOSE: Engine._detached,
    Event.TRANSPORT_ERROR: Engine._transport_failed,
}


def _text(pointer: Any) -> str:
    return ffi.string(pointer).decode("utf-8", "replace") if pointer != ffi.NULL else ""


def _condition(error: ProtonCondition | None) -> Condition | None:
    return None if error is None else Condition(str(error.name), error.description or "")


def _plain(properties: object) -> dict[str, object]:
    if not isinstance(properties, dict):
        return {}
    return {str(key): value for key, value in properties.items()}
