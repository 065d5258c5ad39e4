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
from urllib.parse import unquote

from mqlight.bindings import bound_service
from mqlight.errors import InvalidArgumentError, MQLightError, NetworkError
from mqlight.security import Security
from mqlight.urls import PORTS, invalid, options_of, shown, split, split_list, without_passwords
from mqlight.wire.environment import is_service_link
from mqlight.wire.text import nearest, printable

__all__ = ["DEFAULT_BROKER", "Endpoint", "Lookup", "Security", "Service", "ServiceLike", "from_environment", "resolve"]

DEFAULT_BROKER = "amqp://127.0.0.1:5672"
LOOKUP_TIMEOUT = 5.0
"""Seconds that a lookup URL has to answer (MQ Light, Node client)."""
LOOKUP_LIMIT = 65536
"""Bytes of a lookup answer that are read; a longer answer is refused."""
FUNCTION_TIMEOUT = 30.0
"""Seconds that a service function has to call back."""

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

    A user in the URL is not sent to it: it is the user for the addresses in the answer.
    """

    url: str = field(repr=False)  # its query may hold a key
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The URL as a log or an error may have it."""
        return shown(self.url)

    @classmethod
    def parse(cls, url: str) -> Lookup:
        parts, user, password = split(url)
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
        return NetworkError(f"The lookup URL {self.shown} {what}.", url=self.shown)


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
            service: a URL (amqp, amqps, http, https), several with commas between them, a list of URLs, or a
                function `f(callback)` that calls `callback(err, services)`, at once or later, from any thread.
            security_options: its user, if any, is used for every address.

        Raises:
            InvalidArgumentError: none of these.
        """
        if isinstance(service, Service):
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
            where, answer = f"The lookup URL {source.shown}", source.fetch()
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
    """What the environment says about the messaging service: (service, security_options), or None if nothing.

    Looks for a messaging service among those that Cloud Foundry has bound (`VCAP_SERVICES`, see `mqlight.bindings`),
    then at `mqlight_lookup_url`, `mqlight_user` and `mqlight_password`.

    Raises:
        InvalidArgumentError: `VCAP_SERVICES` is not what Cloud Foundry writes, or services are bound and none is a
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
) -> tuple[Service, Security]:
    """The service to use: `broker` if given, else `MACAQUE_BROKER` (URLs with commas between them), else the service
    that the environment names (`from_environment`), else `amqp://127.0.0.1:5672`.

    Given security options go before those of the environment.

    Raises:
        TypeError, InvalidArgumentError: as `Service.of`, `Security.of` and `from_environment`.
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
    return Service.of(broker, security), security


def _check_spelling(environ: Mapping[str, str]) -> None:
    """Raise InvalidArgumentError if a variable seems to be a misspelt `MACAQUE_BROKER`, which is not set."""
    for name, value in environ.items():
        prefix, _, rest = name.partition("_")
        if value and prefix.upper() == "MACAQUE" and name != "MACAQUE_BROKER" and not is_service_link(name, value):
            if nearest(rest, ["BROKER"], 0.75):
                raise InvalidArgumentError(
                    f"There is no variable {printable(name, 80)}; did you mean MACAQUE_BROKER?", argument="broker"
                )
