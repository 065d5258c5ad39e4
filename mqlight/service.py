"""Where to connect and as whom: addresses, lookup URLs, and what the environment says about them.

Whatever can be wrong about an argument is an InvalidArgumentError when the value is made. Whatever can be wrong
with a lookup is a NetworkError when the addresses are asked for, so that a connection tries again. Passwords are
left out of every text that these classes produce.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from mqlight.errors import InvalidArgumentError, MQLightError, NetworkError
from mqlight.security import Security

__all__ = ["DEFAULT_BROKER", "Endpoint", "Lookup", "Security", "Service", "ServiceLike", "from_environment", "resolve"]

DEFAULT_BROKER = "amqp://127.0.0.1:5672"
LOOKUP_TIMEOUT = 5.0
"""Seconds that a lookup URL has to answer (MQ Light, Node client)."""
HEARTBEATS = (1.0, 3600.0)
"""Seconds: the least and the most that ``?heartbeat=`` of an address may say."""
LOOKUP_LIMIT = 65536
"""Bytes of a lookup answer that are read; a longer answer is refused."""
FUNCTION_TIMEOUT = 30.0
"""Seconds that a service function has to call back."""

_PORTS = {"amqp": 5672, "amqps": 5671}

Answer: TypeAlias = Callable[[object, object], None]
"""`callback(err, services)`: err None or what went wrong, services a URL or a list of them."""
ServiceFunction: TypeAlias = Callable[[Answer], object]
ServiceLike: TypeAlias = str | Sequence[str] | ServiceFunction
"""What the MQ Light API takes as `service`: a URL, a list of URLs, or a function that finds them."""


@dataclass(frozen=True)
class Endpoint:
    """One address of a server: what `amqp://user:password@host:port?name=value` says.

    `host` is a name or an IP address, an IPv6 address without its brackets. `options` are the query
    parameters: hints for this end, never sent to the server. `heartbeat` is one: seconds of silence after which the
    server counts as gone.
    """

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def url(self) -> str:
        """The address without user and password, fit for a log."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def heartbeat(self) -> float | None:
        """Its seconds, None where the address does not say."""
        return float(self.options["heartbeat"]) if "heartbeat" in self.options else None

    @classmethod
    def parse(cls, url: object, security: Security | None = None) -> Endpoint:
        """The endpoint that an amqp or amqps URL names; the user of `security`, if it has one, goes before the URL's.

        Raises:
            InvalidArgumentError: not such a URL, or a user without a password.
        """
        parts, user, password = _split(url)
        if parts.scheme not in _PORTS:
            raise InvalidArgumentError("Schema is an unsupported type", argument="service", value=_shown(url))
        if parts.path not in ("", "/"):
            raise _not_a_url(url)
        try:
            options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else ())
        except ValueError:
            raise _not_a_url(url) from None
        _check_heartbeat(options.get("heartbeat"))
        if security is not None and security.user is not None:
            user, password = security.user, security.password
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
        return cls(parts.scheme, unquote(parts.hostname or ""), port, user, password, options)


@dataclass(frozen=True)
class Lookup:
    """An http or https URL that answers `{"service": [...]}` or `{"service": "..."}` (MQ Light service lookup).

    A user in the URL is not sent to it: it is the user for the addresses in the answer.
    """

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Lookup:
        parts, user, password = _split(url)
        return cls(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), user, password)

    def fetch(self) -> object:
        """What the answer has under "service". Blocks for at most about 5 seconds.

        Raises:
            NetworkError: no answer, or none that can be used.
        """
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
        return NetworkError(f"The lookup URL {self.url} {what}.", url=self.url)


class Service:
    """The addresses of one messaging service, in the order in which they are to be tried."""

    def __init__(self, sources: Sequence[Endpoint | Lookup | ServiceFunction], security: Security) -> None:
        self._sources = tuple(sources)
        self._security = security
        self._context: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"Service({', '.join(map(repr, self._sources))})"

    @classmethod
    def of(cls, service: object, security_options: Mapping[str, object] | Security | None = None) -> Service:
        """The service that the MQ Light API's `service` argument means.

        Args:
            service: a URL (amqp, amqps, http, https), a list of them, or a function `f(callback)` that calls
                `callback(err, services)`, at once or later, from any thread.
            security_options: its user, if any, is used for every address.

        Raises:
            InvalidArgumentError: none of these.
        """
        if isinstance(service, Service):
            return service
        security = Security.of(security_options)
        if isinstance(service, str):
            return cls([_source(service, security)], security)
        if isinstance(service, Sequence) and not isinstance(service, (bytes, bytearray)):
            if not service:
                raise InvalidArgumentError("Service is an empty list, it needs at least one URL", argument="service")
            return cls([_source(each, security) for each in service], security)
        if callable(service):
            return cls([service], security)
        raise InvalidArgumentError("Service is an unsupported type", argument="service", value=service)

    def tls(self, endpoint: Endpoint) -> ssl.SSLContext | None:
        """The TLS to use for one of the addresses, None for an amqp one.

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
        """Whether TLS shows a certificate of this client, which can stand for a user."""
        return self._security.ssl_client_certificate is not None

    def urls(self) -> list[Endpoint]:
        """The addresses as of now, at least one. Blocks on a lookup URL (5 s) or a service function (30 s).

        Raises:
            NetworkError: no lookup gave an address.
            MQLightError: what a service function gave as its error.
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
            where, answer = f"The lookup URL {source.url}", source.fetch()
            if security.user is None and source.user is not None:
                security = Security(user=source.user, password=source.password)
        else:
            where, answer = "The service function", _call(source)
        urls = [answer] if isinstance(answer, str) else answer
        if not isinstance(urls, (list, tuple)) or not urls:
            kind = type(answer).__name__ if answer else repr(answer)  # there may be a password in it
            raise NetworkError(f"{where} gave {kind} as the service, which is neither a URL nor a list of URLs.")
        try:
            return [Endpoint.parse(url, security) for url in urls]
        except InvalidArgumentError as error:
            raise NetworkError(f"{where} gave an address that cannot be used: {error}.") from error


def _call(function: ServiceFunction) -> object:
    """The services that a service function calls back with."""
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
        raise NetworkError(f"The service function failed: {type(error).__name__}: {error}.") from error
    if not answered.wait(FUNCTION_TIMEOUT):
        raise NetworkError(f"The service function did not call back within {FUNCTION_TIMEOUT:g} seconds.")
    err, services = answers[0]
    if isinstance(err, MQLightError):
        raise err
    if err is not None:
        raise NetworkError(f"The service function found no service: {err}") from (
            err if isinstance(err, BaseException) else None
        )
    return services


def _source(url: object, security: Security) -> Endpoint | Lookup:
    if isinstance(url, str) and url.partition(":")[0].lower() in ("http", "https"):
        return Lookup.parse(url)
    return Endpoint.parse(url, security)


def _split(url: object) -> tuple[SplitResult, str | None, str | None]:
    """A URL with a host, its user and its password, percent decoded."""
    if not isinstance(url, str):
        raise InvalidArgumentError("Service is an unsupported type", argument="service", value=url)
    if not url.isprintable() or " " in url:
        raise _not_a_url(url)
    try:
        parts = urlsplit(url)
        valid = bool(parts.hostname) and parts.port != 0 and not parts.fragment
    except ValueError:
        raise _not_a_url(url) from None
    if not valid:
        raise _not_a_url(url)
    if not parts.username and not parts.password:
        return parts, None, None
    if not parts.username or parts.password is None:
        raise InvalidArgumentError(
            "Both user and password must be specified together", argument="service", value=_shown(url)
        )
    return parts, unquote(parts.username), unquote(parts.password)


def _check_heartbeat(text: str | None) -> None:
    least, most = HEARTBEATS
    try:
        valid = text is None or least <= float(text) <= most
    except ValueError:
        valid = False
    if not valid:
        raise InvalidArgumentError(
            f"heartbeat={text} in the service URL is not a number of seconds from {least:g} to {most:g}",
            argument="heartbeat",
            value=text,
        )


def _not_a_url(url: object) -> InvalidArgumentError:
    return InvalidArgumentError(f"Service {_shown(url)} is not a valid URL", argument="service", value=_shown(url))


def _shown(url: object) -> str:
    """A URL, valid or not, without its user and password."""
    scheme, slashes, rest = str(url).partition("//")
    return scheme + slashes + rest.rpartition("@")[2] if slashes else scheme.rpartition("@")[2]


def from_environment(environ: Mapping[str, str]) -> tuple[str, dict[str, str]] | None:
    """What the environment says about the messaging service: (service, security_options), or None if nothing.

    Looks at `VCAP_SERVICES` (Cloud Foundry) for a service whose label starts with `mqlight` or `messagehub`, or that
    a user provided, then at `mqlight_lookup_url`, `mqlight_user` and `mqlight_password`.

    Raises:
        InvalidArgumentError: `VCAP_SERVICES` is not what Cloud Foundry writes, or names an mqlight service without
            a lookup URI.
    """
    bound = _bound_service(environ.get("VCAP_SERVICES", ""))
    if bound is not None:
        return bound
    url = environ.get("mqlight_lookup_url")
    if not url:
        return None
    named = {"user": environ.get("mqlight_user"), "password": environ.get("mqlight_password")}
    return url, {name: value for name, value in named.items() if value}


def resolve(
    broker: object, security_options: Mapping[str, object] | None, environ: Mapping[str, str]
) -> tuple[Service, Security]:
    """The service to use: `broker` if given, else `MACAQUE_BROKER` (URLs with commas between them), else the service
    that the environment names (`from_environment`), else `amqp://127.0.0.1:5672`.

    Given security options go before those of the environment.

    Raises:
        TypeError, InvalidArgumentError: as `Service.of`, `Security.of` and `from_environment`.
    """
    named: dict[str, object] = {}
    if broker is None:
        broker = [url.strip() for url in environ.get("MACAQUE_BROKER", "").split(",") if url.strip()]
        if not broker:
            found = from_environment(environ)
            broker = DEFAULT_BROKER
            if found is not None:
                broker, named = found[0], {**found[1]}
    if isinstance(security_options, Mapping):
        security = Security.of({**named, **security_options})
    else:
        security = Security.of(named if security_options is None else security_options)
    return Service.of(broker, security), security


_LABELS = ("mqlight", "messagehub", "user-provided")
_URIS = ("connectionLookupURI", "mqlight_lookup_url", "nonTLSConnectionLookupURI")


def _bound_service(vcap: str) -> tuple[str, dict[str, str]] | None:
    if not vcap.strip():
        return None
    try:
        labels = json.loads(vcap)
    except ValueError as error:
        raise InvalidArgumentError(
            f"VCAP_SERVICES is not valid JSON ({error}); it must be as Cloud Foundry writes it",
            argument="VCAP_SERVICES",
        ) from error
    if not isinstance(labels, dict) or not all(isinstance(services, list) for services in labels.values()):
        raise InvalidArgumentError(
            "VCAP_SERVICES is not a JSON object that lists services by label; it must be as Cloud Foundry writes it",
            argument="VCAP_SERVICES",
        )
    for prefix in _LABELS:
        for label, services in labels.items():
            if not label.startswith(prefix):
                continue
            for service in services:
                found = _usable(service.get("credentials") if isinstance(service, dict) else None)
                if found is not None:
                    return found
                if prefix == "mqlight":
                    name = service.get("name") if isinstance(service, dict) else None
                    raise InvalidArgumentError(
                        f"The service {name or label} in VCAP_SERVICES has no connectionLookupURI in its credentials",
                        argument="VCAP_SERVICES",
                    )
    return None


def _usable(credentials: object) -> tuple[str, dict[str, str]] | None:
    """The URL and the user in the credentials of a bound service, if they are those of a messaging service."""
    if not isinstance(credentials, dict):
        return None
    texts = {name: value for name, value in credentials.items() if isinstance(value, str) and value}
    urls = [texts[name] for name in _URIS if name in texts]
    urls += [texts[name] for name in ("uri", "url") if texts.get(name, "").lower().startswith(("amqp:", "amqps:"))]
    if not urls:
        return None
    security = {"user": texts.get("user") or texts.get("username"), "password": texts.get("password")}
    return urls[0], {name: value for name, value in security.items() if value}
