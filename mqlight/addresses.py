"""The addresses of a messaging service: server URLs, lookup URLs, and the settings of the environment.

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

from mqlight.amqp.text import nearest, printable
from mqlight.bindings import bound_service
from mqlight.environment import is_service_link
from mqlight.errors import InvalidArgumentError, MQLightError, NetworkError
from mqlight.security import Security
from mqlight.urls import PORTS, invalid, options_of, shown, split, split_list, without_passwords

__all__ = [
    "DEFAULT_BROKER",
    "Addresses",
    "Endpoint",
    "Lookup",
    "Security",
    "ServiceLike",
    "from_environment",
    "resolve",
]

DEFAULT_BROKER = "amqp://127.0.0.1:5672"
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

    `host` is a name or an IP address; an IPv6 address has no brackets. `options` are the query parameters. This client
    uses them and never sends them to the server. The option `heartbeat` is the number of seconds of silence after which
    the server counts as gone.
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
        """Return the endpoint that an amqp or amqps URL names. A user of `security` takes precedence over the URL's.

        Raises:
            InvalidArgumentError: the URL is not an amqp or amqps URL, or it has a user without a password.
        """
        parts, user, password = split(url)
        if parts.scheme not in PORTS:
            raise InvalidArgumentError("Schema is an unsupported type", argument="service", value=shown(url))
        if parts.path not in ("", "/"):
            raise invalid(url, "it has a path; write the virtual host of RabbitMQ as ?vhost=NAME")
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
                        raise self._failed(f"gave more than {LOOKUP_LIMIT} bytes")
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
            raise self._failed("gave an answer that is not JSON") from error
        if not isinstance(answer, dict) or "service" not in answer:
            raise self._failed('gave JSON without a "service" member')
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
        return f"Service({', '.join(map(repr, self._sources))})"

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
                raise InvalidArgumentError("Service is an empty list, it needs at least one URL", argument="service")
            return cls([_source(each, security) for each in service], security)
        if callable(service):
            return cls([service], security)
        raise InvalidArgumentError("Service is an unsupported type", argument="service")

    def tls(self, endpoint: Endpoint) -> ssl.SSLContext | None:
        """Return the TLS context for an address, or None for an amqp address.

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
            raise NetworkError(f"{where} gave {kind} as the service, which is neither a URL nor a list of URLs.")
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


def from_environment(environ: Mapping[str, str]) -> tuple[str | list[str], dict[str, str]] | None:
    """Return (service, security_options) of the messaging service that the environment names, or None if it names none.

    The services that Cloud Foundry has bound (`VCAP_SERVICES`, see `mqlight.bindings`) come first, then
    `mqlight_lookup_url`, `mqlight_user` and `mqlight_password`.

    Raises:
        InvalidArgumentError: Cloud Foundry does not write such a `VCAP_SERVICES`, or none of the bound services is a
            messaging service.
    """
    bound, lacking = bound_service(environ.get("VCAP_SERVICES", ""))
    if bound is not None:
        return bound.service, bound.security
    url = environ.get("mqlight_lookup_url")
    if url:
        named = {"user": environ.get("mqlight_user"), "password": environ.get("mqlight_password")}
        return url, {name: value for name, value in named.items() if value}
    if lacking is not None:
        raise InvalidArgumentError(
            f"No service in VCAP_SERVICES is a messaging service: {lacking}; bind one, or set MACAQUE_BROKER",
            argument="VCAP_SERVICES",
        )
    return None


def resolve(
    broker: object, security_options: Mapping[str, object] | None, environ: Mapping[str, str]
) -> tuple[Addresses, Security]:
    """Return the service to use: `broker`, else `MACAQUE_BROKER` (URLs with commas between them), else the service
    that the environment names (`from_environment`), else `amqp://127.0.0.1:5672`.

    The security options that are given take precedence over those of the environment.

    Raises:
        TypeError, InvalidArgumentError: as in `Addresses.of`, `Security.of` and `from_environment`.
    """
    named: dict[str, object] = {}
    if broker is None:
        broker = split_list(environ.get("MACAQUE_BROKER", ""))
        if not broker:
            _check_spelling(environ)
            found = from_environment(environ)
            broker = DEFAULT_BROKER
            if found is not None:
                broker, named = found[0], {**found[1]}
    if isinstance(security_options, Mapping):
        security = Security.of({**named, **security_options})
    else:
        security = Security.of(named if security_options is None else security_options)
    return Addresses.of(broker, security), security


def _check_spelling(environ: Mapping[str, str]) -> None:
    """Raise InvalidArgumentError if a variable looks like a misspelt `MACAQUE_BROKER` and that variable is not set."""
    for name, value in environ.items():
        prefix, _, rest = name.partition("_")
        if value and prefix.upper() == "MACAQUE" and name != "MACAQUE_BROKER" and not is_service_link(name, value):
            if nearest(rest, ["BROKER"], 0.75):
                raise InvalidArgumentError(
                    f"There is no variable {printable(name, 80)}; did you mean MACAQUE_BROKER?", argument="broker"
                )
