"""Who may come in: what is decided before a password is looked at, and what a wrong one costs.

It is pure: addresses and users come in as values, ``now`` as seconds on a clock that never goes back.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from mqlight.server.sasl import Identity

FIRST_DELAY = 0.25
"""Seconds that the first wrong password costs; each further one twice as much."""
LONGEST_DELAY = 5.0
FORGIVEN = 120.0
"""Seconds without a failure after which an address starts anew."""
MOST_ADDRESSES = 10_000
MOST_AT_ONCE = 4
"""Logins of one address that may be checked, or serve their delay, at the same time."""


@dataclass(frozen=True)
class Visitor:
    """A client as its socket shows it. ``certificate`` is the common name in a client certificate that was verified."""

    address: str
    tls: bool = False
    certificate: str | None = None


def _ip(address: str) -> IPv4Address | IPv6Address | None:
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def is_loopback(address: str) -> bool:
    """Whether an IP address is of this machine alone."""
    ip = _ip(address)
    return ip is not None and ip.is_loopback


def refusal(identity: Identity, visitor: Visitor, *, users: bool, allow_anonymous: bool) -> str | None:
    """Why a client may not even try, None if it may.

    :param users: whether there is a users file. Without one everybody on this machine may come in.
    """
    near = is_loopback(visitor.address)
    if identity.mechanism == "PLAIN":
        if not near and not visitor.tls:
            return "a password over a connection without TLS is for everybody to read; use an amqps:// URL"
        if not near and not users and not allow_anonymous:
            return "this server has no users; it needs --users FILE"
    elif identity.mechanism == "EXTERNAL":
        if visitor.certificate is None:
            return "EXTERNAL needs a client certificate with a common name, and none was given"
    elif visitor.certificate is None and not allow_anonymous and (users or not near):
        return "this server asks for a user and a password"
    return None


def refusal_to_listen(address: str, *, users: bool, allow_anonymous: bool) -> str | None:
    """Why a server should not listen on an address, None if it may."""
    if is_loopback(address) or users or allow_anonymous:
        return None
    return (
        f"everybody who can reach {address} could use this server; give it users with --users FILE, "
        "or say --allow-anonymous"
    )


class Failures:
    """Wrong passwords by address. An address pays for its own alone, and memory stays bounded.

    An IPv6 client has its whole /64, so that counts as one address.
    """

    def __init__(self) -> None:
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._busy: dict[str, int] = {}

    def begin(self, address: str) -> bool:
        """A login begins; False when too many of its address are under way, and it has to come back later."""
        address = _counted(address)
        busy = self._busy.get(address, 0)
        if busy >= MOST_AT_ONCE:
            return False
        self._busy[address] = busy + 1
        return True

    def end(self, address: str) -> None:
        """A login that :meth:`begin` let in is over, and so is its delay."""
        address = _counted(address)
        busy = self._busy.pop(address, 1) - 1
        if busy:
            self._busy[address] = busy

    def failed(self, address: str, now: float) -> float:
        """A login failed; returns the seconds to wait before saying so."""
        address = _counted(address)
        count, last = self._failed.pop(address, (0, now))
        count = 1 if now - last > FORGIVEN else count + 1
        self._failed[address] = count, now
        if len(self._failed) > MOST_ADDRESSES:
            self._failed.popitem(last=False)
        return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(count - 1, 20))


def _counted(address: str) -> str:
    ip = _ip(address)
    return ip.exploded[:19] if isinstance(ip, IPv6Address) else str(ip or address)
