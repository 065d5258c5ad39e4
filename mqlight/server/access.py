"""Who may come in: what is decided before a password is looked at, and what a wrong one costs.

It is pure: addresses and users come in as values, ``now`` as seconds on a clock that never goes back.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from mqlight.server.sasl import Identity

Networks = tuple[IPv4Network | IPv6Network, ...]

FIRST_DELAY = 0.25
"""Seconds that the first wrong password costs; each further one twice as much."""
LONGEST_DELAY = 5.0
FORGIVEN = 120.0
"""Seconds without a failure after which a user at an address starts anew."""
MOST_FAILURES = 10_000
MOST_AT_ONCE = 4
"""Logins of one user from one address that may be checked, or serve their delay, at the same time."""


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


def network(text: str) -> IPv4Network | IPv6Network:
    """Return the network that ``text`` names, such as ``10.1.0.0/16``. Raise ValueError with a sentence."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a network such as 10.1.0.0/16 or fd00:1::/64 ({error})") from None


def is_near(address: str, networks: Networks) -> bool:
    """Whether an IP address is of this machine, or of a network that counts as this machine."""
    ip = _ip(address)
    return ip is not None and (ip.is_loopback or any(ip in each for each in networks))


def refusal(
    identity: Identity, visitor: Visitor, *, users: bool, allow_anonymous: bool, networks: Networks = ()
) -> str | None:
    """Why a client may not even try, None if it may.

    :param users: whether there is a users file. Without one everybody on this machine may come in.
    :param networks: the networks that count as this machine.
    """
    near = is_near(visitor.address, networks)
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


def refusal_to_listen(address: str, *, users: bool, allow_anonymous: bool, networks: Networks = ()) -> str | None:
    """Why a server should not listen on an address, None if it may."""
    if is_loopback(address) or users or allow_anonymous or networks:
        return None
    return (
        f"everybody who can reach {address} could use this server; give it users with --users FILE, "
        "name the network of its clients with --trusted-network NETWORK, or say --allow-anonymous"
    )


Login = tuple[str, int]
"""An address and a user. A user's name may be long, so its hash stands for it."""


class Failures:
    """Wrong passwords by address and user. Others at the same address do not pay for them, and memory stays bounded.

    Users that exist and users that do not are counted apart: made-up names never push out the count of a real user.
    An IPv6 client has its whole /64, so that counts as one address.
    """

    def __init__(self) -> None:
        self._failed: dict[bool, OrderedDict[Login, tuple[int, float]]] = {True: OrderedDict(), False: OrderedDict()}
        self._busy: dict[Login, int] = {}

    def begin(self, address: str, user: str) -> bool:
        """A login begins; False when too many of its kind are under way, and it has to come back later."""
        login = _counted(address), hash(user)
        busy = self._busy.get(login, 0)
        if busy >= MOST_AT_ONCE:
            return False
        self._busy[login] = busy + 1
        return True

    def end(self, address: str, user: str) -> None:
        """A login that :meth:`begin` let in is over, and so is its delay."""
        login = _counted(address), hash(user)
        busy = self._busy.pop(login, 1) - 1
        if busy:
            self._busy[login] = busy

    def failed(self, address: str, user: str, now: float, *, known: bool) -> float:
        """A login failed; returns the seconds from its beginning to its answer. ``known``: there is such a user."""
        login, failed = (_counted(address), hash(user)), self._failed[known]
        count, last = failed.pop(login, (0, now))
        count = 1 if now - last > FORGIVEN else count + 1
        failed[login] = count, now
        if len(failed) > MOST_FAILURES:
            failed.popitem(last=False)
        return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(count - 1, 20))


def _counted(address: str) -> str:
    ip = _ip(address)
    return ip.exploded[:19] if isinstance(ip, IPv6Address) else str(ip or address)
