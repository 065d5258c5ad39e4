"""The addresses of a messaging service: server URLs, and URLs and functions that look them up.

An invalid argument raises InvalidArgumentError when the object is made. A lookup that fails raises NetworkError when
the addresses are read, so that a connection tries again. No text that these classes produce contains a password.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import unquote

from mqlight.errors import InvalidArgumentError, MQLightError, NetworkError
from mqlight.security import Security
from mqlight.urls import PORTS, invalid, options_of, shown, split, split_list, unusable, without_passwords

__all__ = ["Addresses", "Endpoint", "Lookup", "ServiceLike"]

LOOKUP_TIMEOUT = 5.0
"""Seconds within which a lookup URL must answer (MQ Light, Node client)."""
LOOKUP_LIMIT = 65536
"""Bytes of a lookup answer that are read. A longer answer is refused."""
FUNCTION_TIMEOUT = 30.0
"""Seconds within which a service function must call back."""

Answer: TypeAlias = Callable[[object, object], None]
"""`callback(err, services)`: `err` is None or the error, `services` is a URL or a list of URLs."""
ServiceFunction: TypeAlias = Callable[[Answer], object]
ServiceLike: TypeAlias = str | Sequence[str] | ServiceFunction
"""The values that the MQ Light API accepts as `service`: a URL, a list of URLs, or a function that finds them."""


@dataclass(frozen=True)
class Endpoint:
    """One address of a server, as in `amqp://user:password@host:port?name=value`.

    Attributes:
        scheme: amqp, or amqps for TLS.
        host: a name or an IP address; an IPv6 address has no brackets.
        port: the TCP port; a URL without one means 5672, or 5671 for amqps.
        user, password: the login, None without one.
        options: the query parameters, which are for this client and never sent to the server. `heartbeat` is the
            number of seconds of silence after which the server counts as gone.
    """

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def url(self) -> str:
        """The address without user and password, safe to log."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def heartbeat(self) -> float | None:
        """The heartbeat in seconds, or None if the address does not set it."""
        return float(self.options["heartbeat"]) if "heartbeat" in self.options else None

    @classmethod
    def parse(cls, url: object, security: Security | None = None) -> Endpoint:
        """Return the endpoint of `url`, an amqp or amqps URL. A user of `security` takes precedence over the URL's.

        Raises:
            InvalidArgumentError: the URL is not an amqp or amqps URL, or it has a user without a password.
        """
        parts, user, password = split(url)
        if parts.scheme not in PORTS:
            raise InvalidArgumentError(
                f"the service URL {shown(url)} has the scheme {parts.scheme}; use amqp or amqps",
                argument="service",
                value=shown(url),
            )
        if parts.path not in ("", "/"):
            raise invalid(url, "it has a path; write a virtual host of RabbitMQ as ?vhost=NAME")
        options = options_of(parts.geturl(), parts.query)
        if security is not None and security.user is not None:
            user, password = security.user, security.password
        port = PORTS[parts.scheme] if parts.port is None else parts.port
        return cls(parts.scheme, unquote(parts.hostname or ""), port, user, password, options)


@dataclass(frozen=True)
class Lookup:
    """An http or https URL that answers `{"service": [...]}` or `{"service": "..."}` (MQ Light service lookup).

    The user in the URL is not sent to the lookup server. It is the user for the addresses in the answer.
    """

    url: str = field(repr=False)  # the query may contain a key
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The URL in a form that is safe for a log or an error."""
        return shown(self.url)

    @classmethod
    def parse(cls, url: str) -> Lookup:
        parts, user, password = split(url)
        return cls(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), user, password)

    def fetch(self) -> object:
        """Return the value of "service" in the answer. Blocks for at most about 5 seconds.

        Raises:
            NetworkError: there is no answer, or the answer cannot be used.
        """
        # Imported here, because these modules take an eighth of the time of `import macaque`.
        import urllib.error
        import urllib.request
        from http.client import HTTPException

        try:
            with urllib.request.urlopen(self.url, timeout=LOOKUP_TIMEOUT) as response:
                body = bytearray()
                deadline = time.monotonic() + LOOKUP_TIMEOUT
                while chunk := response.read1(LOOKUP_LIMIT):
                    body += chunk
                    if len(body) > LOOKUP_LIMIT:
                        raise self._failed(f"answered with more than {LOOKUP_LIMIT} bytes")
                    if time.monotonic() > deadline:
                        raise self._failed(f"took longer than {LOOKUP_TIMEOUT:g} seconds")
        except urllib.error.HTTPError as error:
            error.close()
            raise self._failed(f"answered with status {error.code}") from error
        except urllib.error.URLError as error:
            raise self._failed(f"could not be reached: {error.reason}") from error
        except (OSError, HTTPException) as error:
            if isinstance(error, MQLightError):
                raise
            raise self._failed(f"failed: {error or type(error).__name__}") from error
        try:
            answer = json.loads(body)
        except ValueError as error:
            raise self._failed("answered with text that is not JSON") from error
        if not isinstance(answer, dict) or "service" not in answer:
            raise self._failed('answered with JSON that has no member "service"')
        return answer["service"]

    def _failed(self, what: str) -> NetworkError:
        return NetworkError(f"The lookup URL {self.shown} {what}.", url=self.shown)


class Addresses:
    """The addresses of one messaging service, in the order in which the client tries them."""

    def __init__(self, sources: Sequence[Endpoint | Lookup | ServiceFunction], security: Security) -> None:
        self._sources = tuple(sources)
        self._security = security
        self._context: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"Addresses({', '.join(map(repr, self._sources))})"

    @classmethod
    def of(cls, service: object, security_options: Mapping[str, object] | Security | None = None) -> Addresses:
        """Return the addresses that the MQ Light API's `service` argument names.

        Args:
            service: a URL (amqp, amqps, http, https), several URLs with commas between them, a list of URLs, or a
                function `f(callback)` that calls `callback(err, services)`, at once or later, from any thread.
            security_options: if they name a user, every address uses that user.

        Raises:
            InvalidArgumentError: `service` is none of these.
        """
        if isinstance(service, Addresses):
            return service
        security = Security.of(security_options)
        if isinstance(service, str):
            service = split_list(service) if "," in service else [service]
        if isinstance(service, Sequence) and not isinstance(service, (bytes, bytearray)):
            if not service:
                raise InvalidArgumentError("service is an empty list; give at least one URL", argument="service")
            return cls([_source(each, security) for each in service], security)
        if callable(service):
            return cls([service], security)
        raise unusable(service)

    def tls(self, endpoint: Endpoint) -> ssl.SSLContext | None:
        """Return the TLS context for the address `endpoint`, or None for an amqp address.

        Raises:
            SecurityError: the certificates that the security options name cannot be used.
        """
        if endpoint.scheme != "amqps":
            return None
        if self._context is None:
            self._context = self._security.context()
        return self._context

    @property
    def shows_certificate(self) -> bool:
        """Whether this client shows a TLS certificate, which can stand for a user."""
        return self._security.ssl_client_certificate is not None

    def urls(self) -> list[Endpoint]:
        """Return the current addresses, at least one. Blocks on a lookup URL (5 s) or a service function (30 s).

        Raises:
            NetworkError: no lookup gave an address.
            MQLightError: the error that a service function gave.
        """
        found: list[Endpoint] = []
        failure: MQLightError | None = None
        for source in self._sources:
            if isinstance(source, Endpoint):
                found.append(source)
                continue
            try:
                found += self._looked_up(source)
            except MQLightError as error:
                failure = error
        if found or failure is None:
            return found
        raise failure

    def _looked_up(self, source: Lookup | ServiceFunction) -> list[Endpoint]:
        security = self._security
        if isinstance(source, Lookup):
            where, answer = f"The lookup URL {source.shown}", source.fetch()
            if security.user is None and source.user is not None:
                security = Security(user=source.user, password=source.password)
        else:
            where, answer = "The service function", _call(source)
        urls = [answer] if isinstance(answer, str) else answer
        if not isinstance(urls, (list, tuple)) or not urls:
            kind = type(answer).__name__ if answer else repr(answer)  # the answer may contain a password
            raise NetworkError(f"{where} gave {kind} as the service; a URL or a list of URLs is needed.")
        try:
            return [Endpoint.parse(url, security) for url in urls]
        except InvalidArgumentError as error:
            raise NetworkError(f"{where} gave an address that cannot be used: {error}.") from error


def _call(function: ServiceFunction) -> object:
    """Return the services that a service function passes to its callback."""
    answers: list[tuple[object, object]] = []
    answered = threading.Event()

    def callback(err: object, services: object = None) -> None:
        answers.append((err, services))
        answered.set()

    try:
        function(callback)
    except MQLightError:
        raise
    except Exception as error:
        said = without_passwords(str(error))
        raise NetworkError(f"The service function failed: {type(error).__name__}: {said}.") from error
    if not answered.wait(FUNCTION_TIMEOUT):
        raise NetworkError(f"The service function did not call back within {FUNCTION_TIMEOUT:g} seconds.")
    err, services = answers[0]
    if isinstance(err, MQLightError):
        raise err
    if err is not None:
        raise NetworkError(f"The service function found no service: {without_passwords(str(err))}") from (
            err if isinstance(err, BaseException) else None
        )
    return services


def _source(url: object, security: Security) -> Endpoint | Lookup:
    if isinstance(url, str) and url.partition(":")[0].lower() in ("http", "https"):
        return Lookup.parse(url)
    return Endpoint.parse(url, security)
