"""The test of the network to a broker: the name of its host, TCP, and TLS, one after the other, without AMQP."""

from __future__ import annotations

import queue
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from ipaddress import ip_address
from time import monotonic, time
from typing import Any

from macaque.doctor.finding import Finding, Status
from mqlight.addresses import Addresses, Endpoint
from mqlight.errors import MQLightError
from mqlight.security import tls_error

__all__ = ["reach"]

EXPIRY = 30
"""Days before the end of a certificate from which on there is a warning."""


def reach(service: Addresses, endpoint: Endpoint, timeout: float) -> Iterator[Finding]:
    """Yield the findings about an address of the service. If the address cannot be used, the last finding has failed.

    Args:
        timeout: seconds for each of the three steps.
    """
    url, host = endpoint.url, endpoint.host
    try:
        addresses = _resolved(endpoint, timeout)
    except OSError as error:
        advice = "check the host in the URL, and this machine's DNS and hosts file"
        said = f"{host} has no address: {error.strerror or error}"
        yield Finding(step="name", status=Status.FAILED, said=said, advice=advice, url=url)
        return
    said = f"{host} is an IP address" if addresses == [host] else f"{host} has the address {', '.join(addresses)}"
    yield Finding(step="name", status=Status.OK, said=said, url=url)

    begin = monotonic()
    try:
        sock = socket.create_connection((host, endpoint.port), timeout / len(addresses))
    except OSError as error:
        yield _not_connected(endpoint, error)
        return
    with sock:
        said = f"port {endpoint.port} accepted the connection after {_ms(begin)}"
        yield Finding(step="tcp", status=Status.OK, said=said, url=url)
        if endpoint.scheme == "amqps":
            sock.settimeout(timeout)
            yield _tls(service, endpoint, sock)
        elif all(ip_address(address.partition("%")[0]).is_loopback for address in addresses):
            yield Finding(step="tls", status=Status.OK, said="no TLS; the broker is on this machine", url=url)
        else:
            said = "no TLS: anyone on the network path can read the password and every message"
            advice = "configure TLS at the broker, and use an amqps:// URL; its usual port is 5671"
            yield Finding(step="tls", status=Status.WARNING, said=said, advice=advice, url=url)


def _resolved(endpoint: Endpoint, timeout: float) -> list[str]:
    """Return the addresses of the host without repetitions. Raises OSError, after `timeout` seconds at the latest."""
    answers: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM))
        except OSError as error:
            answers.put(error)
        except UnicodeError as error:  # the name has a label that is empty or too long
            answers.put(OSError(str(error)))

    threading.Thread(target=ask, daemon=True).start()  # in a thread, because the call itself has no time limit
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        raise TimeoutError(f"the name service did not answer within {timeout:g} s") from None
    if isinstance(answer, OSError):
        raise answer
    return list(dict.fromkeys(str(address[0]) for *_, address in answer))


def _not_connected(endpoint: Endpoint, error: OSError) -> Finding:
    said = f"no connection to port {endpoint.port}: {error.strerror or error}"
    advice = "check the route to that host"
    if isinstance(error, ConnectionRefusedError):
        said = f"no program listens on port {endpoint.port}"
        advice = "start the broker, or correct the port; usual ports are 5672 for amqp:// and 5671 for amqps://"
    elif isinstance(error, TimeoutError):
        advice = "check that the host is up, and that no firewall blocks the port"
    return Finding(step="tcp", status=Status.FAILED, said=said, advice=advice, url=endpoint.url)


def _tls(service: Addresses, endpoint: Endpoint, sock: socket.socket) -> Finding:
    def finding(status: Status, said: str, advice: str | None = None) -> Finding:
        return Finding(step="tls", status=status, said=said, advice=advice, url=endpoint.url)

    try:
        context = service.tls(endpoint)
        assert context is not None
        with context.wrap_socket(sock, server_hostname=endpoint.host) as tls:
            version = tls.version()
            certificate: dict[str, Any] = tls.getpeercert() or {}
    except ssl.SSLError as error:
        said = str(tls_error(endpoint.url, error)).partition(": ")[2]
        return finding(Status.FAILED, said, _tls_advice(error))
    except MQLightError as error:
        return finding(Status.FAILED, str(error), "correct the files in the security options")
    except OSError as error:
        said = f"the TLS handshake failed: {error.strerror or error}"
        return finding(Status.FAILED, said, "check that this port is for TLS, and read the broker's log")
    names = ", ".join(name for _, name in certificate.get("subjectAltName", ()))
    ends = ssl.cert_time_to_seconds(certificate["notAfter"])
    days = int((ends - time()) // 86400)
    date = datetime.fromtimestamp(ends, timezone.utc).strftime("%Y-%m-%d")
    said = f"{version}; the certificate is trusted, is for {names}, and expires on {date}, in {days} days"
    if days < EXPIRY:
        return finding(Status.WARNING, said, "install a new certificate before that day")
    return finding(Status.OK, said)


def _tls_advice(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in (62, 64):
            return "use the host name in the certificate, or install a certificate for this name"
        if error.verify_code == 10:
            return "install a new certificate"
        return "set SSL_CERT_FILE to a PEM file with the authority that signed the certificate"
    if (error.reason or "").endswith(("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")):
        return "use an amqp:// URL, or the port for TLS, which is usually 5671"
    return "read the broker's log about this connection"


def _ms(begin: float) -> str:
    return f"{(monotonic() - begin) * 1000:.1f} ms"
