"""What a receiver asks for in its attach, and what it is granted (AMQP 1.0 section 3.5).

The rules of this file:

* The answer to an attach says what the server does. The server refuses a wish that it cannot leave out silently.
* ``private:PATTERN`` and ``share:SHARE:PATTERN`` are MQ Light's addresses: the client or share and the pattern name the
  destination. Any other address is a plain one: its destination is the link's own, and if it lasts, container id and
  link name find it again.
* A subscription lasts if it has a timeout, is durable, or never expires; the latter two last for ``MAX_TTL``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import count

from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Terminus
from mqlight.server.broker import Name

MAX_TTL = 30 * 24 * 3600
"""The longest a destination may outlive its subscribers, in seconds (MQ Light: 30 days)."""
TEMPORARY = 0
"""The link in the name of the queue behind a dynamic target: all its receivers share it."""
OUTCOMES = ("amqp:accepted:list", "amqp:rejected:list", "amqp:released:list", "amqp:modified:list")
TOPICS = {"topic", "temporary-topic"}
_numbers = count(1)


def number() -> int:
    """Return a number that no other connection or link of this process has."""
    return next(_numbers)


def refusal(source: Terminus) -> Condition | None:
    """Return why a source cannot be granted; None where it can."""
    if source.copy and not TOPICS & set(source.capabilities):  # each receiver of a topic has a copy anyway: JMS asks so
        return Condition("amqp:not-implemented", "this server has no distribution-mode copy: ask for move")
    if source.filters:
        names = ", ".join(f"{name:.80}" for name in source.filters)
        return Condition("amqp:not-implemented", f"this server has no filters: attach without the filter {names}")
    if source.timeout > MAX_TTL:
        return Condition(
            "amqp:not-allowed",
            f"ServerContext_InvalidSourceTimeout: a time to live of {source.timeout} s is over {MAX_TTL} s",
        )
    return None


def time_to_live(source: Terminus, client_id: str) -> int:
    """Return how many seconds the destination outlives its last receiver.

    A client without an id cannot come back to a destination of its own, so that such a one ends with its link.
    """
    if source.dynamic or (not client_id and not (source.address or "").startswith("share:")):
        return 0
    return MAX_TTL if source.never or source.durable and not source.timeout else source.timeout


def name_of(link: Link, client_id: str, connection: int) -> Name:
    """Return the name of the destination that a link receives from. Raises ValueError for no possible address.

    ``connection`` stands for the client id of a client that has none.
    """
    source = link.source
    address = source.address or ""
    client = client_id or connection
    kind, colon, rest = address.partition(":")
    if colon and kind == "private":
        return Name(rest, client_id=client)
    if colon and kind == "share":
        share, colon, pattern = rest.partition(":")
        if not colon:
            raise ValueError(f"the address {address!r} is not share:SHARE:PATTERN")
        return Name(pattern, share=share) if share else Name(pattern, client_id=client)
    lasts = time_to_live(source, client_id) > 0
    return Name(address, client_id=client, link=link.name if lasts else number())


def granted(source: Terminus, ttl: float, capabilities: Iterable[str], *, durable: bool) -> Terminus:
    """Return the source that the answer tells: its timeout begins when the link is detached (section 3.5.3)."""
    return replace(
        source,
        timeout=int(ttl),
        never=False,
        durable=durable and source.durable and ttl > 0,
        capabilities=tuple(name for name in source.capabilities if name in capabilities),
        outcomes=tuple(name for name in OUTCOMES if name in source.outcomes),
    )
