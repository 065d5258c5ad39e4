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
        advice = "check the host in the URL, and that this machine's DNS or hosts file has it"
        said = f"{host} has no address: {error.strerror or error}"
        yield Finding(step="name", status=Status.FAILED, said=said, advice=advice, url=url)
        return
    said = f"{host} is an address" if addresses == [host] else f"{host} is {', '.join(addresses)}"
    yield Finding(step="name", status=Status.OK, said=said, url=url)

    begin = monotonic()
    try:
        sock = socket.create_connection((host, endpoint.port), timeout / len(addresses))
    except OSError as error:
        yield _not_connected(endpoint, error)
        return
    with sock:
        said = f"port {endpoint.port} took the connection after {_ms(begin)}"
        yield Finding(step="tcp", status=Status.OK, said=said, url=url)
        if endpoint.scheme == "amqps":
            sock.settimeout(timeout)
            yield _tls(service, endpoint, sock)
        elif all(ip_address(address.partition("%")[0]).is_loopback for address in addresses):
            yield Finding(step="tls", status=Status.OK, said="none, and the broker is on this machine", url=url)
        else:
            said = "no TLS: anyone on the network path can read the password and every message"
            advice = "let the broker speak TLS, and write amqps:// (its port is 5671, unless told otherwise)"
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
        raise TimeoutError(f"no answer from the name service within {timeout:g} s") from None
    if isinstance(answer, OSError):
        raise answer
    return list(dict.fromkeys(str(address[0]) for *_, address in answer))


def _not_connected(endpoint: Endpoint, error: OSError) -> Finding:
    said = f"no connection to port {endpoint.port}: {error.strerror or error}"
    advice = "look for a route to that host"
    if isinstance(error, ConnectionRefusedError):
        said = f"nobody listens on port {endpoint.port}"
        advice = "start the broker, or correct the port; it is 5672 for amqp:// and 5671 for amqps:// by custom"
    elif isinstance(error, TimeoutError):
        advice = "look for a firewall on the way, and whether the host is up"
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
        return finding(Status.FAILED, str(error), "correct the files of the security options")
    except OSError as error:
        said = f"the handshake came to nothing: {error.strerror or error}"
        return finding(Status.FAILED, said, "see whether this port is for TLS, and what the broker's log says")
    names = ", ".join(name for _, name in certificate.get("subjectAltName", ()))
    ends = ssl.cert_time_to_seconds(certificate["notAfter"])
    days = int((ends - time()) // 86400)
    date = datetime.fromtimestamp(ends, timezone.utc).strftime("%Y-%m-%d")
    said = f"{version}, the certificate is trusted, is for {names}, and expires on {date}, in {days} days"
    if days < EXPIRY:
        return finding(Status.WARNING, said, "put a new certificate in its place before that day")
    return finding(Status.OK, said)


def _tls_advice(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in (62, 64):
            return "write the host as the certificate names it, or have one made for this name"
        if error.verify_code == 10:
            return "put a new certificate in its place"
        return "let the environment variable SSL_CERT_FILE name a PEM file with the authority that signed it"
    if (error.reason or "").endswith(("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")):
        return "write amqp://, or the port on which the broker speaks TLS (5671 by custom)"
    return "see what the broker's log says about this connection"


def _ms(begin: float) -> str:
    return f"{(monotonic() - begin) * 1000:.1f} ms"
