"""The trace that a request belongs to, by W3C Trace Context (level 1): `traceparent` and `tracestate`.

The rules of this file:

* A request carries its trace in the envelope and in the application properties. Both say the same; the envelope counts.
* A request without a valid `traceparent` begins a trace, whose id follows from its uuid. So a plain call carries none.
* The calls that a service makes continue the trace of its request.

Pure: random bits come from the caller.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from mqlight.amqp.message import MessageError, decode
from mqlight.amqp.text import trace_id_of

__all__ = ["Trace", "checked", "incoming", "outgoing", "trace_id"]

_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
MOST_STATE = 512
"""Characters of a `tracestate` that are passed on; a longer one is dropped (section 3.3.1.5)."""


class Trace(NamedTuple):
    """The trace of one message."""

    parent: str
    """The `traceparent`: version, trace id, id of the sender's span, flags."""
    state: str | None = None
    """The `tracestate`, which belongs to tracing systems."""


class Envelope(Protocol):
    """The request, as it was decoded."""

    uuid: str
    traceparent: str | None
    tracestate: str | None


class Work(Protocol):
    """A request in work."""

    outgoing: Trace | None
    """The trace for the calls that the request makes, once one was made."""

    @property
    def request(self) -> Envelope: ...
    @property
    def message(self) -> bytes: ...


def checked(parent: object, state: object) -> Trace | None:
    """Return the trace of a `traceparent` and a `tracestate`; None if the first is invalid."""
    if not isinstance(parent, str):
        return None
    found = _FORM.fullmatch(parent)
    if found is None or found[5] and found[1] == "00":
        return None
    passed_on = isinstance(state, str) and 0 < len(state) <= MOST_STATE and state.isascii() and state.isprintable()
    return Trace(parent, str(state) if passed_on else None)


def incoming(work: Work) -> Trace | None:
    """Return the trace that came with a request, or None."""
    request, message = work.request, work.message
    found = checked(request.traceparent, request.tracestate)
    if found is None and b"traceparent" in message:
        try:
            properties: dict[Any, Any] = decode(message).properties or {}
        except MessageError:
            return None
        found = checked(properties.get("traceparent"), properties.get("tracestate"))
    return found


def trace_id(work: Work) -> str:
    """Return the id of the trace of a request: 32 hexadecimal digits."""
    found = work.outgoing or incoming(work)
    return trace_id_of(work.request.uuid) if found is None else found.parent[3:35]


def outgoing(work: Work, random_bits: Callable[[int], int]) -> Trace:
    """Return the trace for the calls that a request makes. All of them have one parent: the work on the request."""
    if work.outgoing is None:
        found = incoming(work)
        flags, state = ("00", None) if found is None else (found.parent[53:55], found.state)
        number = trace_id_of(work.request.uuid) if found is None else found.parent[3:35]
        work.outgoing = Trace(f"00-{number}-{random_bits(64) or 1:016x}-{flags}", state)
    return work.outgoing
