"""One AMQP 1.0 connection, either end, without any input or output of its own.

The rules of this file:

* Bytes come in by :meth:`Engine.receive` and go out by :meth:`Engine.output`; what the peer did comes up as
  calls of a :class:`Handler`, made from inside :meth:`Engine.receive`, :meth:`Engine.end_of_input` and
  :meth:`Engine.tick`.
* One thread at a time touches an engine; whoever owns it sees to that.
* Only this file and link.py import Proton. Set-up and tear-down use its Python classes; messages use its C functions
  directly, which is 12 times faster (``docs/design.md``).
* A handle (Proton's pointer to a delivery) is worth something only while its link is open: :meth:`Engine.settle` asks
  the link first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cproton_ffi import ffi
from cproton_ffi.lib import (
    PN_DELIVERY,
    PN_LINK_FLOW,
    PN_TRANSPORT,
    pn_collector_peek,
    pn_collector_pop,
    pn_condition_get_description,
    pn_condition_get_name,
    pn_condition_set_description,
    pn_condition_set_name,
    pn_delivery,
    pn_delivery_aborted,
    pn_delivery_link,
    pn_delivery_local,
    pn_delivery_partial,
    pn_delivery_pending,
    pn_delivery_readable,
    pn_delivery_remote,
    pn_delivery_remote_state,
    pn_delivery_settle,
    pn_delivery_settled,
    pn_delivery_update,
    pn_delivery_updated,
    pn_disposition_condition,
    pn_disposition_is_failed,
    pn_event_delivery,
    pn_event_link,
    pn_event_type,
    pn_link_advance,
    pn_link_recv,
    pn_link_send,
    pn_transport_capacity,
    pn_transport_peek,
    pn_transport_pending,
    pn_transport_pop,
    pn_transport_push,
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

CHUNK = 65536
"""Bytes: the most that one output() returns, and the size of our frames."""
READ = 8192
"""Bytes to take from a socket at a time: so few that both ends and the server work at once on a stream of messages."""
AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
_NULL = ffi.NULL
_new = ffi.new
_from_buffer = ffi.from_buffer
_buffer = ffi.buffer

_OUTCOMES = {outcome.value: outcome for outcome in Outcome}


class Engine:
    """One AMQP connection.

    ``handler`` hears of it. Sizes are in bytes, times in seconds on any clock that never goes back.
    A client authenticates with SASL PLAIN where ``user`` is given, else ANONYMOUS; the server half of SASL is not here.
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
        properties: dict[str, str] | None = None,
        offered: Iterable[str] = (),
    ) -> None:
        self.max_message_size = max_message_size
        self.closed = False
        self._handler = handler
        self._links: dict[Any, Link] = {}
        self._names: set[str] = set()
        """Of the links that this end attached."""
        self._number = _new("uint64_t[1]")
        self._tag = _new("pn_bytes_t *", {"size": 8, "start": ffi.cast("char *", self._number)})[0]
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
            self._log_in(user, password)
        self._transport.max_frame_size = max_frame_size
        self._transport.channel_max = 32767
        if heartbeat:
            self._transport.idle_timeout = heartbeat
        self._transport.bind(self._connection)
        self._session: Any = None  # the C pointer: see Link.proton
        self._t = self._transport._impl
        self._c = self._collector._impl
        self._chunk = _new("char[]", CHUNK)

    def _log_in(self, user: str | None, password: str | None) -> None:
        sasl = self._transport.sasl()
        sasl.allow_insecure_mechs = True
        if user is not None:
            self._connection.user, self._connection.password = user, password or ""
        sasl.allowed_mechs("ANONYMOUS" if user is None else "PLAIN")

    # Bytes

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer and tell the handler what they mean.

        Bytes that are not AMQP end the connection: ``on_close`` says why and :meth:`output` has the close frame.
        """
        if self._greeting is not None:
            data = self._greet(self._greeting + data)
        if self.closed:
            return
        transport, view, size, at = self._t, _from_buffer(data), len(data), 0
        while at < size:
            room = pn_transport_capacity(transport)
            if room <= 0:
                break
            taken = pn_transport_push(transport, view + at, min(room, size - at))
            if taken <= 0:
                break
            at += taken
            self._dispatch()
            if self.closed:
                return
        self._dispatch()

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
            self._dispatch()  # a refused login is told by no byte of its own
        self._over(Condition("amqp:connection:forced", "the peer closed the socket"))
        try:
            self._transport.close_tail()
        except ProtonException:
            pass  # Proton's way to say that no close frame came before

    def output(self) -> bytes:
        """What is to be sent now, at most ``CHUNK`` bytes; the caller says with :meth:`sent` how much it could send."""
        pending = pn_transport_pending(self._t)
        if pending <= 0:
            if pending < 0 and not self.closed:
                self._dispatch()
            return b""
        size = pn_transport_peek(self._t, self._chunk, min(pending, CHUNK))
        return _buffer(self._chunk, size)[:] if size > 0 else b""

    def sent(self, size: int) -> None:
        """``size`` bytes of the last :meth:`output` are on their way."""
        pn_transport_pop(self._t, size)

    @property
    def done(self) -> bool:
        """True when nothing will ever be there to send again."""
        return bool(pn_transport_pending(self._t) < 0)

    def tick(self, now: float) -> float | None:
        """Let time pass: sends a heartbeat when one is due, ends a connection whose peer is silent. Returns when to
        call again.
        """
        if self.closed:
            return None
        deadline = pn_transport_tick(self._t, int(now * 1000) + 1)
        self._dispatch()
        return deadline / 1000 if deadline > 0 else None

    # Requests

    def links(self) -> list[Link]:
        """The links that there are, in the order of their attachment."""
        return list(self._links.values())

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
        link = self._attachable().sender(self._unused(name))
        if at_most_once is not None:
            link.snd_settle_mode = ProtonLink.SND_SETTLED if at_most_once else ProtonLink.SND_UNSETTLED
        return self._attach(link, Terminus(name), target)

    def attach_receiver(self, name: str, source: Terminus, *, at_most_once: bool) -> Link:
        """Attach a link to receive on; source and target are alike, as MQ Light clients do (wire contract 1.3)."""
        link = self._attachable().receiver(self._unused(name))
        link.snd_settle_mode = ProtonLink.SND_SETTLED if at_most_once else ProtonLink.SND_UNSETTLED
        return self._attach(link, source, source)

    def _unused(self, name: str) -> str:
        """``name``, or one made of it while a link of that name is there: Proton's peers close the connection for that
        (section 2.6.1).
        """
        free, number = name, 1
        while free in self._names:
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
        self._links[attached.c] = attached
        self._names.add(attached.name)
        link.open()
        return attached

    def send(self, link: Link, message: bytes, token: Any = None, settled: bool = False) -> None:
        """Send an encoded message on a link with credit. ``token`` comes back with its outcome unless ``settled``."""
        c = link.c
        self._number[0] += 1  # the tag's bytes
        handle = pn_delivery(c, self._tag)
        pn_link_send(c, _from_buffer(message), len(message))
        pn_link_advance(c)
        if settled:
            pn_delivery_settle(handle)
        else:
            link.unsettled[handle] = token

    def settle(self, link: Link, handle: Handle, outcome: Outcome, condition: Condition | None = None) -> bool:
        """Settle a received delivery. False when its link is gone, and the peer will deliver it again, or when it was
        settled before.
        """
        if link.closed or handle not in link.held:
            return False
        link.held.remove(handle)
        if condition is not None:
            error = pn_disposition_condition(pn_delivery_local(handle))
            pn_condition_set_name(error, condition.name.encode())
            pn_condition_set_description(error, condition.description.encode())
        pn_delivery_update(handle, outcome)
        pn_delivery_settle(handle)
        return True

    # Events

    def _dispatch(self) -> None:
        collector, links, handler = self._c, self._links, self._handler
        while (event := pn_collector_peek(collector)) != _NULL:
            kind = pn_event_type(event)
            if kind == PN_DELIVERY:
                delivery = pn_event_delivery(event)
                link = links.get(pn_delivery_link(delivery))
                if link is None or link.closed:
                    self._discard(delivery)
                elif link.receiver:
                    if pn_delivery_readable(delivery):
                        self._received(link, delivery)
                elif pn_delivery_updated(delivery):
                    self._updated(link, delivery)
            elif kind == PN_LINK_FLOW:
                link = links.get(pn_event_link(event))
                if link is not None and not link.closed:
                    handler.on_credit(link)
            elif kind != PN_TRANSPORT:
                rare: Any = self._collector.peek()
                method = _RARE.get(rare.type)
                if method is not None:
                    try:
                        method(self, rare)
                    except GarbledError as error:
                        self._garbled(error)
                del rare  # an event must not outlive its pop
            pn_collector_pop(collector)
            if self.closed:
                return

    def _discard(self, delivery: Handle) -> None:
        """What still comes over a link that is no more: memory stays bounded however long its sender goes on."""
        c = pn_delivery_link(delivery)
        if pn_delivery_readable(delivery):
            while pn_link_recv(c, self._chunk, CHUNK) > 0:
                pass
            if not pn_delivery_partial(delivery):
                pn_link_advance(c)
                pn_delivery_settle(delivery)

    def _received(self, link: Link, delivery: Handle) -> None:
        size = pn_delivery_pending(delivery)
        limit = link.max_message_size
        if limit and size > limit:
            reason = f"the message is larger than the {limit} bytes that are allowed"
            condition = Condition("amqp:link:message-size-exceeded", reason)
            self.settle(link, delivery, Outcome.REJECTED, condition)
            link.detach(condition=condition)
            link.closed = True  # kept until the peer's detach: what it still sends is to be discarded
            self._handler.on_detach(link, True, None)
            return
        if pn_delivery_partial(delivery):
            return
        c = link.c
        chunk = self._chunk if size <= CHUNK else _new("char[]", size)
        got = pn_link_recv(c, chunk, size or 1)
        pn_link_advance(c)
        if got < 0 and pn_delivery_aborted(delivery):
            pn_delivery_settle(delivery)
            return
        data = _buffer(chunk, got)[:] if got > 0 else b""
        settled = bool(pn_delivery_settled(delivery))
        if settled:
            pn_delivery_settle(delivery)
        else:
            link.held.add(delivery)
        self._handler.on_message(link, delivery, data, settled)

    def _updated(self, link: Link, delivery: Handle) -> None:
        state = pn_delivery_remote_state(delivery)
        outcome = _OUTCOMES.get(state)
        if outcome is None:
            if not pn_delivery_settled(delivery):
                return
            outcome = Outcome.ACCEPTED  # settled without a state means accepted to MQ Light clients (wire contract 1.7)
        condition = None
        if outcome is Outcome.REJECTED:
            error = pn_disposition_condition(pn_delivery_remote(delivery))
            condition = Condition(_text(pn_condition_get_name(error)), _text(pn_condition_get_description(error)))
        elif outcome is Outcome.MODIFIED and not pn_disposition_is_failed(pn_delivery_remote(delivery)):
            outcome = Outcome.RELEASED
        missing = _MISSING
        token = link.unsettled.pop(delivery, missing)
        pn_delivery_settle(delivery)
        if token is not missing:
            self._handler.on_outcome(link, token, outcome, condition)

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
        if event.session.state & event.session.LOCAL_UNINIT:
            event.session.open()

    def _session_closed(self, event: Any) -> None:
        session = event.session
        if self._session is not None and self._session == session._impl:
            self._session = None  # first: whoever hears that a link is gone may attach it again, on a new session
        for link in [link for link in self._links.values() if link.proton.session == session]:
            self._drop(link, closed=False, condition=None)
        session.close()
        session.free()

    def _attached(self, event: Any) -> None:
        proton_link = event.link
        link = self._links.get(proton_link._impl)
        if link is None:
            link = Link(self, proton_link, local=False)
            self._links[link.c] = link
        link.attached()
        self._handler.on_attach(link)

    def _detached(self, event: Any) -> None:
        proton_link = event.link
        link = self._links.get(proton_link._impl)
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
        self._links.pop(link.c, None)
        if link.local:
            self._names.discard(link.name)
        link.unsettled.clear()
        for handle in link.held:  # Proton settles them without a state, which MQ Light peers would take for accepted
            pn_delivery_update(handle, Outcome.RELEASED.value)
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
            for link in self._links.values():
                link.closed = True
            self._handler.on_close(condition)


_MISSING = object()
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
    return ffi.string(pointer).decode("utf-8", "replace") if pointer != _NULL else ""


def _condition(error: ProtonCondition | None) -> Condition | None:
    return None if error is None else Condition(str(error.name), error.description or "")


def _plain(properties: object) -> dict[str, object]:
    if not isinstance(properties, dict):
        return {}
    return {str(key): value for key, value in properties.items()}
