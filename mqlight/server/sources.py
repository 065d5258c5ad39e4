"""The source that a receiver asks for in its attach, and the source that the server grants (AMQP 1.0 section 3.5).

The rules of this file:

* The answer to an attach says what the server does. The server refuses a wish that it cannot leave out silently.
* ``private:PATTERN`` and ``share:SHARE:PATTERN`` are MQ Light's addresses: the client or the share, with the pattern,
  names the destination. Any other address is a plain one, and its destination belongs to the link. If that destination
  lasts, container id and link name find it again.
* A subscription lasts if it has a timeout, is durable, or never expires. The latter two last for ``MAX_TTL``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import count

from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Terminus
from mqlight.server.destination import DestinationName

MAX_TTL = 30 * 24 * 3600
"""The most seconds that a destination may outlive its subscribers (MQ Light: 30 days)."""
TEMPORARY = 0
"""The link in the name of the queue behind a dynamic target: all its receivers share it."""
OUTCOMES = ("amqp:accepted:list", "amqp:rejected:list", "amqp:released:list", "amqp:modified:list")
TOPICS = {"topic", "temporary-topic"}
_numbers = count(1)


def number() -> int:
    """Return a number that no other connection or link of this process has."""
    return next(_numbers)


def refusal(source: Terminus) -> Condition | None:
    """Return the reason why a source cannot be granted; None if it can."""
    if source.copy and not TOPICS & set(source.capabilities):  # JMS asks for it on topics, where all get a copy
        return Condition("amqp:not-implemented", "this server has no distribution mode copy; ask for move")
    if source.filters:
        names = ", ".join(source.filters)
        return Condition("amqp:not-implemented", f"this server has no filters; attach without the filter {names:.200}")
    if source.timeout > MAX_TTL:
        return Condition(
            "amqp:not-allowed",
            f"ServerContext_InvalidSourceTimeout: a time to live of {source.timeout} s is above {MAX_TTL} s",
        )
    return None


def time_to_live(source: Terminus, client_id: str) -> int:
    """Return the seconds that the destination outlives its last receiver.

    A client without an id cannot return to a destination of its own, so that destination ends with its link.
    """
    if source.dynamic or (not client_id and not (source.address or "").startswith("share:")):
        return 0
    return MAX_TTL if source.never or source.durable and not source.timeout else source.timeout


def name_of(link: Link, client_id: str, connection: int) -> DestinationName:
    """Return the name of the destination that a link receives from.

    Args:
        link: The link.
        client_id: The client's id; may be empty.
        connection: A number that stands for an empty client id.

    Raises:
        ValueError: The address is invalid.
    """
    source = link.source
    address = source.address or ""
    client = client_id or connection
    kind, colon, rest = address.partition(":")
    if colon and kind == "private":
        return DestinationName(rest, client_id=client)
    if colon and kind == "share":
        share, colon, pattern = rest.partition(":")
        if not colon:
            raise ValueError(f"the address {address[:80]!r} is not share:SHARE:PATTERN")
        return DestinationName(pattern, share=share) if share else DestinationName(pattern, client_id=client)
    lasts = time_to_live(source, client_id) > 0
    return DestinationName(address, client_id=client, link=link.name if lasts else number())


def granted(source: Terminus, ttl: float, capabilities: Iterable[str], *, durable: bool) -> Terminus:
    """Return the source for the answer. Its timeout begins when the link is detached (section 3.5.3)."""
    return replace(
        source,
        timeout=int(ttl),
        never=False,
        durable=durable and source.durable and ttl > 0,
        capabilities=tuple(name for name in source.capabilities if name in capabilities),
        outcomes=tuple(name for name in OUTCOMES if name in source.outcomes),
    )
