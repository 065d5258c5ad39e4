"""The clients that may try to log in, and the addresses for the server to listen on. Pure: addresses are arguments."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from mqlight.server.sasl import Identity

Networks = tuple[IPv4Network | IPv6Network, ...]


@dataclass(frozen=True)
class Visitor:
    """A client as its socket shows it. ``certificate`` is the common name in its verified client certificate."""

    address: str
    tls: bool = False
    certificate: str | None = None


def ip_of(address: str) -> IPv4Address | IPv6Address | None:
    """Return an IP address; None if ``address`` is none. An IPv4 address that IPv6 carries is returned as IPv4."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def is_loopback(address: str) -> bool:
    """Return whether an IP address is a loopback address."""
    ip = ip_of(address)
    return ip is not None and ip.is_loopback


def network(text: str) -> IPv4Network | IPv6Network:
    """Return the network that ``text`` names, such as ``10.1.0.0/16``.

    Raises:
        ValueError: The text is no network. The error is a sentence for the user.
    """
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a network such as 10.1.0.0/16 or fd00:1::/64 ({error})") from None


def is_near(address: str, networks: Networks) -> bool:
    """Return whether an IP address belongs to this machine, or to a network that counts as this machine."""
    ip = ip_of(address)
    return ip is not None and (ip.is_loopback or any(ip in each for each in networks))


def refusal(
    identity: Identity, visitor: Visitor, *, users: bool, allow_anonymous: bool, networks: Networks = ()
) -> str | None:
    """Return the reason why a client may not try to log in; None if it may.

    Args:
        identity: The client's mechanism and credentials.
        visitor: The client's address and certificate.
        users: Whether there is a users file. Without one every client on this machine may log in.
        allow_anonymous: Whether clients without credentials may log in from any address.
        networks: The networks that count as this machine.
    """
    near = is_near(visitor.address, networks)
    if identity.mechanism == "PLAIN":
        if not near and not visitor.tls:
            return "this server accepts passwords over TLS only; use an amqps:// URL"
        if not near and not users and not allow_anonymous:
            return "this server has no users; start it with --users FILE"
    elif identity.mechanism == "EXTERNAL":
        if visitor.certificate is None:
            return "EXTERNAL needs a client certificate with a common name; the client showed none"
    elif visitor.certificate is None and not allow_anonymous and (users or not near):
        return "this server needs a user and a password"
    return None


def refusal_to_listen(address: str, *, users: bool, allow_anonymous: bool, networks: Networks = ()) -> str | None:
    """Return the reason why a server should not listen on an address; None if it may."""
    if is_loopback(address) or users or allow_anonymous or networks:
        return None
    return (
        f"every client that can reach {address} could use this server: set its users with --users FILE, "
        "the network of its clients with --trusted-network NETWORK, or --allow-anonymous"
    )
