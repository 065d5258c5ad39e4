"""The test of the login at a broker, which also finds out the kind of the broker."""

from __future__ import annotations

from time import monotonic

from macaque.doctor.finding import LIMITS, Finding, Status
from macaque.exchange import Exchange, words
from mqlight.addresses import Addresses, Endpoint
from mqlight.amqp.types import Peer
from mqlight.dialects import dialect_of
from mqlight.dialects.base import AddressError, Dialect
from mqlight.errors import MQLightError, NetworkError, NotPermittedError, SecurityError

__all__ = ["log_in"]


def log_in(service: Addresses, endpoint: Endpoint, timeout: float) -> tuple[list[Finding], Dialect | None]:
    """Connect to the one address of the service, in `timeout` seconds.

    Returns:
        The findings, and the dialect of the broker if the login worked.
    """
    whom = "an anonymous client" if endpoint.user is None else f"the user {endpoint.user}"
    if endpoint.user is None and endpoint.scheme == "amqps" and service.shows_certificate:
        whom = "the user of the client certificate"
    begin = monotonic()
    exchange = Exchange(service, lambda: timeout)
    try:
        with exchange:
            seconds = monotonic() - begin
            peer, dialect = exchange.connection.peer, exchange.connection.dialect
        if peer is None or dialect is None:
            raise NetworkError("the broker accepted the login, and then closed the connection")
    except MQLightError as error:
        return [_refused(endpoint, whom, error, exchange.connection.peer)], None
    said = f"the broker accepted the login of {whom} after {seconds * 1000:.0f} ms"
    findings = [Finding(step="login", status=Status.OK, said=said, url=endpoint.url), _broker(endpoint, peer, dialect)]
    findings += [
        Finding(step="limit", status=Status.WARNING, said=said, advice=advice, url=endpoint.url)
        for said, advice in LIMITS[dialect.name]
    ]
    return findings, dialect


def _refused(endpoint: Endpoint, whom: str, error: MQLightError, peer: Peer | None) -> Finding:
    said = str(error)
    if isinstance(error, NotPermittedError):
        step, advice = "broker", "follow the advice in the message"
        if peer is not None:
            said = f"{_product(peer)}: {said}"
    elif isinstance(error, SecurityError) and error.url is not None:  # an error of TLS, which is not about the user
        step, said = "tls", said.removeprefix(f"{error.url}: ")
        advice = "use an amqps:// URL"
        if endpoint.scheme == "amqps":
            advice = "correct the client certificate in the security options; the broker's log may tell more"
    elif isinstance(error, SecurityError):
        step, advice = "login", "correct the user and password in the URL; write special characters as % codes"
        if endpoint.user is None:
            advice = f"give a user and a password in the URL: {endpoint.scheme}://USER:PASSWORD@HOST"
        elif endpoint.user == "guest":
            advice += "; RabbitMQ accepts guest only from its own machine"
        said = f"the broker refused the login of {whom}: {words(error)}"
    else:
        step = "login"
        advice = (
            "read the broker's log; check that this port is for AMQP 1.0, and that the user may use the virtual host "
            "(RabbitMQ: rabbitmqctl set_permissions)"
        )
    return Finding(step=step, status=Status.FAILED, said=said, advice=advice, url=endpoint.url)


def _broker(endpoint: Endpoint, peer: Peer, dialect: Dialect) -> Finding:
    said = f"{_product(peer)}, used with the dialect {dialect.name}"
    try:
        own = dialect_of(peer, {}).name
    except AddressError:
        own = ""
    if own == dialect.name:
        return Finding(step="broker", status=Status.OK, said=said, url=endpoint.url)
    said += ", which the URL demands" + (f", instead of {own}" if own else "")
    advice = "leave ?dialect= out of the URL, unless you are sure about it"
    return Finding(step="broker", status=Status.WARNING, said=said, advice=advice, url=endpoint.url)


def _product(peer: Peer) -> str:
    """Return the product and version in the broker's open frame."""
    product, version = (str(peer.properties.get(name) or "") for name in ("product", "version"))
    return f"{product} {version}".strip() or "a broker that gives no product name"
