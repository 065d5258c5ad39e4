# cython: language_level=3, boundscheck=False, wraparound=False
"""The path that every message takes through Proton's C library, compiled.

The rules of this file:

* It holds what is done for each read, message, outcome and flow, and no more. What happens a few times in the life of a
  connection is in engine.py and link.py, whose classes extend these two.
* Proton's functions are called at the addresses that ``cproton_ffi`` gives: there is one copy of the library, and
  nothing to link with. A handle is the address of a delivery, as an int.
* Its speed is the only reason why it is not Python: docs/performance.md has the figures.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t, uintptr_t

from cproton_ffi import ffi, lib

from mqlight.wire.terms import Outcome

cdef extern from "<stdbool.h>":
    ctypedef bint boolean "bool"

ctypedef struct Tag:  # pn_bytes_t
    size_t size
    const char *start

ctypedef void *(*Getter)(void *) noexcept
ctypedef boolean (*Test)(void *) noexcept
ctypedef void (*Order)(void *) noexcept
ctypedef ssize_t (*Size)(void *) noexcept
ctypedef ssize_t (*Transfer)(void *, char *, size_t) noexcept
ctypedef int (*Number)(void *) noexcept
ctypedef uint64_t (*State)(void *) noexcept
ctypedef void (*Update)(void *, uint64_t) noexcept
ctypedef void (*Credit)(void *, int) noexcept
ctypedef void (*Pop)(void *, size_t) noexcept
ctypedef void *(*Deliver)(void *, Tag) noexcept


cdef void *at(str name) except NULL:
    """Where Proton's function ``name`` is."""
    return <void *><uintptr_t>int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))


cdef Getter collector_peek = <Getter>at("pn_collector_peek")
cdef Test collector_pop = <Test>at("pn_collector_pop")
cdef Number event_type = <Number>at("pn_event_type")
cdef Getter event_delivery = <Getter>at("pn_event_delivery")
cdef Getter event_link = <Getter>at("pn_event_link")
cdef Deliver new_delivery = <Deliver>at("pn_delivery")
cdef Getter delivery_link = <Getter>at("pn_delivery_link")
cdef Test delivery_readable = <Test>at("pn_delivery_readable")
cdef Test delivery_updated = <Test>at("pn_delivery_updated")
cdef Test delivery_partial = <Test>at("pn_delivery_partial")
cdef Test delivery_aborted = <Test>at("pn_delivery_aborted")
cdef Test delivery_settled = <Test>at("pn_delivery_settled")
cdef Size delivery_pending = <Size>at("pn_delivery_pending")
cdef State remote_state = <State>at("pn_delivery_remote_state")
cdef Update delivery_update = <Update>at("pn_delivery_update")
cdef Order delivery_settle = <Order>at("pn_delivery_settle")
cdef Test link_advance = <Test>at("pn_link_advance")
cdef Getter link_current = <Getter>at("pn_link_current")
cdef Test link_is_sender = <Test>at("pn_link_is_sender")
cdef Number link_credit = <Number>at("pn_link_credit")
cdef Credit link_flow = <Credit>at("pn_link_flow")
cdef Transfer link_recv = <Transfer>at("pn_link_recv")
cdef Transfer link_send = <Transfer>at("pn_link_send")
cdef Size transport_capacity = <Size>at("pn_transport_capacity")
cdef Size transport_pending = <Size>at("pn_transport_pending")
cdef Transfer transport_peek = <Transfer>at("pn_transport_peek")
cdef Pop transport_pop = <Pop>at("pn_transport_pop")
cdef Transfer transport_push = <Transfer>at("pn_transport_push")

cdef int DELIVERY = lib.PN_DELIVERY, LINK_FLOW = lib.PN_LINK_FLOW, TRANSPORT = lib.PN_TRANSPORT
cdef uint64_t ACCEPTED = Outcome.ACCEPTED, MODIFIED = Outcome.MODIFIED
cdef object accepted = Outcome.ACCEPTED
cdef object missing = object()

CHUNK = 65536
"""Bytes: the most that one output() returns, and the size of our frames."""
cdef size_t MOST = CHUNK


cdef void *pointer(object cdata) except? NULL:
    return <void *><uintptr_t>int(ffi.cast("uintptr_t", cdata))


def delivery_of(handle: int) -> object:
    """The handle as Proton's cffi functions take it."""
    return ffi.cast("pn_delivery_t *", handle)


cdef class Way:
    """What a link is to the messages that pass over it. ``context`` is its owner's to use."""

    cdef void *link
    cdef readonly object c
    """Proton's pointer, for its cffi functions."""
    cdef readonly uintptr_t address
    cdef public bint closed
    cdef readonly bint receiver
    cdef public object context
    cdef public size_t max_message_size
    cdef readonly dict unsettled
    """Sending links: the token of each unsettled delivery, oldest first."""
    cdef readonly set held
    """Receiving links: what the engine has handed on and :meth:`Transit.settle` was not called for."""

    def __init__(self, c: object, receiver: bool, max_message_size: int) -> None:
        self.c = c
        self.link = pointer(c)
        self.address = <uintptr_t>self.link
        self.receiver = receiver
        self.closed = False
        self.context = None
        self.max_message_size = max_message_size
        self.unsettled = {}
        self.held = set()

    @property
    def credit(self) -> int:
        """How many messages the sending end may still send; 0 as well where the peer takes back what is used."""
        return 0 if self.closed else max(0, link_credit(self.link))

    def flow(self, int credit) -> None:
        """Grant ``credit`` more messages to the peer."""
        if not self.closed:
            link_flow(self.link, credit)


cdef class Transit:
    """What an engine is to the messages that pass through it. ``handler`` hears of them."""

    cdef void *transport
    cdef void *collector
    cdef object handler
    cdef uint64_t number
    cdef dict links
    cdef Way last
    """The link of the last event, which is often the next one's as well."""
    cdef public bint closed

    def __init__(self, handler: object, transport: object, collector: object) -> None:
        self.handler = handler
        self.transport = pointer(transport)
        self.collector = pointer(collector)
        self.number = 0
        self.links = {}
        self.last = None
        self.closed = False

    # The links that there are, by Proton's address

    def _add(self, Way link) -> None:
        self.links[link.address] = link

    def _remove(self, Way link) -> None:
        self.links.pop(link.address, None)
        self.last = None

    def _find(self, c: object) -> object:
        return self.links.get(<uintptr_t>pointer(c))

    def _all(self) -> list:
        return list(self.links.values())

    cdef Way _link(self, void *link):
        cdef Way last = self.last
        if last is not None and last.link == link:
            return last
        last = self.links.get(<uintptr_t>link)
        if last is not None:
            self.last = last
        return last

    # Bytes

    cdef int _push(self, const char *data, size_t size) except -1:
        cdef size_t at = 0
        cdef ssize_t room, taken
        while at < size:
            room = transport_capacity(self.transport)
            if room <= 0:
                break
            taken = transport_push(self.transport, <char *>data + at, min(<size_t>room, size - at))
            if taken <= 0:
                break
            at += taken
            self._dispatch()
            if self.closed:
                return 0
        self._dispatch()
        return 0

    def push(self, bytes data not None) -> None:
        """Give Proton what the peer sent, and the handler what it means."""
        self._push(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    def output(self) -> bytes:
        """What is to be sent now, at most ``CHUNK`` bytes; the caller says with :meth:`sent` how much it could send."""
        cdef ssize_t pending = transport_pending(self.transport)
        if pending <= 0:
            if pending < 0 and not self.closed:
                self._dispatch()
            return b""
        data = PyBytes_FromStringAndSize(NULL, min(<size_t>pending, MOST))
        cdef ssize_t size = transport_peek(self.transport, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        if size == PyBytes_GET_SIZE(data):
            return data
        return data[:size] if size > 0 else b""

    def sent(self, size_t size) -> None:
        """``size`` bytes of the last :meth:`output` are on their way."""
        transport_pop(self.transport, size)

    @property
    def done(self) -> bool:
        """True when nothing will ever be there to send again."""
        return transport_pending(self.transport) < 0

    # Messages

    def send(self, Way link not None, bytes message not None, token: object = None, bint settled = False) -> None:
        """Send an encoded message on a link with credit. ``token`` comes back with its outcome unless ``settled``."""
        self.number += 1
        cdef Tag tag
        tag.size, tag.start = sizeof(self.number), <const char *>&self.number
        cdef void *delivery = new_delivery(link.link, tag)
        if link_current(link.link) != delivery:  # see _wrong_way(): dispatch is about to find it
            if not settled:
                link.unsettled[<uintptr_t>delivery] = token
            return
        link_send(link.link, PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))
        link_advance(link.link)
        if settled:
            delivery_settle(delivery)
        else:
            link.unsettled[<uintptr_t>delivery] = token

    def settle(self, Way link not None, handle: int, outcome: object, condition: object = None) -> bool:
        """Settle a received delivery; MODIFIED says that the attempt failed. False when its link is gone, and the peer
        will deliver it again, or when it was settled before.
        """
        if link.closed or handle not in link.held:
            return False
        link.held.remove(handle)
        cdef uint64_t state = outcome
        if condition is not None or state == MODIFIED:
            self._explain(handle, outcome, condition)
        cdef void *delivery = <void *><uintptr_t>handle
        delivery_update(delivery, state)
        delivery_settle(delivery)
        return True

    # Events

    cdef int _dispatch(self) except -1:
        cdef void *event
        cdef void *delivery
        cdef int kind
        cdef Way link
        while True:
            event = collector_peek(self.collector)
            if event == NULL:
                return 0
            kind = event_type(event)
            if kind == DELIVERY:
                delivery = event_delivery(event)
                link = self._link(delivery_link(delivery))
                if link is None or link.closed:
                    self._discard(delivery)
                elif link.receiver:
                    if delivery_readable(delivery):
                        self._received(link, delivery)
                elif link_current(link.link) == delivery:
                    self._wrong_way()
                elif delivery_updated(delivery):
                    self._updated(link, delivery)
            elif kind == LINK_FLOW:
                link = self._link(event_link(event))
                if link is not None and not link.closed:
                    self.handler.on_credit(link)
            elif kind != TRANSPORT:
                self._happened()
            collector_pop(self.collector)
            if self.closed:
                return 0

    def dispatch(self) -> None:
        """Tell the handler what has happened."""
        self._dispatch()

    cdef int _discard(self, void *delivery) except -1:
        """What still comes over a link that is no more: memory stays bounded however long its sender goes on."""
        cdef char waste[4096]
        cdef void *link = delivery_link(delivery)
        if link == NULL:
            return 0
        if link_is_sender(link):
            if link_current(link) == delivery:
                self._wrong_way()
        elif delivery_readable(delivery):
            while link_recv(link, waste, sizeof(waste)) > 0:
                pass
            if not delivery_partial(delivery):
                link_advance(link)
                delivery_settle(delivery)
        return 0

    cdef int _received(self, Way link, void *delivery) except -1:
        cdef size_t size = delivery_pending(delivery)
        cdef ssize_t got
        cdef char nothing[1]
        cdef bint settled
        if link.max_message_size and size > link.max_message_size:
            self._too_large(link, <uintptr_t>delivery)
            return 0
        if delivery_partial(delivery):
            return 0
        if size:
            data = PyBytes_FromStringAndSize(NULL, size)
            got = link_recv(link.link, PyBytes_AS_STRING(data), size)
        else:
            data = b""
            got = link_recv(link.link, nothing, 1)
        link_advance(link.link)
        if got < 0 and delivery_aborted(delivery):
            delivery_settle(delivery)
            return 0
        if got != <ssize_t>size:
            data = data[:got] if got > 0 else b""
        settled = delivery_settled(delivery)
        handle = <uintptr_t>delivery
        if settled:
            delivery_settle(delivery)
        else:
            link.held.add(handle)
        self.handler.on_message(link, handle, data, settled)
        return 0

    cdef int _updated(self, Way link, void *delivery) except -1:
        cdef uint64_t state = remote_state(delivery)
        handle = <uintptr_t>delivery
        outcome, condition = accepted, None
        if state != ACCEPTED:
            if state > ACCEPTED and state <= MODIFIED:
                outcome, condition = self._outcome(handle, state)
            elif not delivery_settled(delivery):
                return 0
            # else settled without a state, which means accepted to MQ Light clients (wire contract 1.7)
        token = link.unsettled.pop(handle, missing)
        delivery_settle(delivery)
        if token is not missing:
            self.handler.on_outcome(link, token, outcome, condition)
        return 0

    # What engine.py knows how to do

    def _happened(self) -> None:
        raise NotImplementedError

    def _wrong_way(self) -> None:
        """A message came over a link that this end sends on: it is the link's current delivery, which one of ours never
        is when it is heard of. Proton takes it for ours, and corrupts its memory when it is settled, sent on, or freed
        with its link: nothing may happen on that connection any more.
        """
        raise NotImplementedError

    def _too_large(self, link: Way, handle: int) -> None:
        raise NotImplementedError

    def _outcome(self, handle: int, state: int) -> tuple:
        raise NotImplementedError

    def _explain(self, handle: int, outcome: object, condition: object) -> None:
        raise NotImplementedError
