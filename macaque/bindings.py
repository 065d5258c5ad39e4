"""The messaging service among the services that Cloud Foundry binds to an application (`VCAP_SERVICES`).

A binding is understood if its credentials have one of these:

* a lookup URL of MQ Light or Message Hub;
* an amqp or amqps URL, as `uri` or `url`, or a list of them as `uris` (each is an address of the service);
* `hostname` or `host` (or a list of them) and `port`, if nothing says that they belong to another protocol.

RabbitMQ's bindings repeat these members under `protocols`, by protocol. Pure: the environment is an argument.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from mqlight.amqp.text import printable
from mqlight.errors import InvalidArgumentError
from mqlight.urls import OPTIONS, PORTS, split_list

__all__ = ["Binding", "bound_service"]

_LABELS = ("mqlight", "messagehub", "user-provided")
"""Services with a label that begins with one of these come before other services, in this order."""
_LOOKUPS = ("connectionLookupURI", "mqlight_lookup_url", "nonTLSConnectionLookupURI")
_URLS = ("uris", "urls", "uri", "url", "composed")
_HOSTS = ("hostnames", "hosts", "hostname", "host")
_WORDS = ("amqp", "rabbit", "mq", "artemis", "messag")
"""One of these in a label, tag or name means that a host and a port are AMQP's."""
_DATABASE = frozenset({"database", "dbname", "db", "jdbcUrl", "jdbcurl"})


class Binding(NamedTuple):
    """The bound messaging service: one URL or a list of URLs, and user and password as security options."""

    service: str | list[str]
    security: dict[str, str]


def bound_service(vcap: str) -> tuple[Binding | None, str | None]:
    """Return the messaging service in `VCAP_SERVICES`, or None and the reason why each bound service is not one.

    Both are None if no service is bound.

    Raises:
        InvalidArgumentError: Cloud Foundry does not write such a text.
    """
    services = [
        (label, service if isinstance(service, dict) else {})
        for label, services in _parsed(vcap).items()
        for service in services
    ]
    services.sort(key=lambda each: next((at for at, begin in enumerate(_LABELS) if each[0].startswith(begin)), 9))
    lacking = []
    for sure in (True, False):
        for label, service in services:
            found, lacks = _understood(label, service, sure)
            if found is not None:
                return found, None
            if not sure:
                name = service.get("name") or service.get("instance_name")
                lacking.append(f"{printable(name or 'a service', 100)} ({printable(label, 100)}) {lacks}")
    return None, "; ".join(lacking) or None


def _parsed(vcap: str) -> Mapping[str, list[Any]]:
    if not vcap.strip():
        return {}
    reason = "a JSON object that lists services by label"
    try:
        labels = json.loads(vcap)
    except (ValueError, RecursionError) as error:
        labels, reason = None, f"valid JSON ({error})"
    if not isinstance(labels, dict) or not all(isinstance(services, list) for services in labels.values()):
        raise InvalidArgumentError(
            f"VCAP_SERVICES is not {reason}; it set it as Cloud Foundry does", argument="VCAP_SERVICES"
        )
    return labels


def _understood(label: str, service: Mapping[str, Any], sure: bool) -> tuple[Binding | None, str]:
    """Return the addresses of one bound service, or the reason why it has none.

    A user-provided service needs only a host and a port, unless the addresses must be `sure` to be those of a broker.
    """
    credentials = service.get("credentials")
    if not isinstance(credentials, dict) or not credentials:
        return None, "has no credentials"
    for name in _LOOKUPS:
        if found := _text(credentials.get(name)):
            return Binding(found, _login(credentials)), ""
    schemes: set[str] = set()
    tags = service.get("tags")
    names = [label, service.get("name"), *(tags if isinstance(tags, list) else ())]
    is_amqp = any(word in str(name).lower() for name in names for word in _WORDS)
    for _, place in _places(credentials):
        urls = list(_urls(place, schemes))
        if urls:
            return Binding(urls[0] if len(urls) == 1 else urls, _login(place, credentials, urls)), ""
    for protocol, place in _places(credentials):
        said = (protocol or str(place.get("scheme") or place.get("protocol") or "")).lower()
        other = bool(schemes - {"http", "https"} or _DATABASE & place.keys())  # http may be the URL of a dashboard
        likely = (
            said.startswith("amqp")
            or place.get("port") in (5671, 5672, "5671", "5672")
            or (is_amqp and not other)
            or (label == "user-provided" and not sure and not schemes and not said and not other)
        )
        urls = _addresses(place, said) if likely else []
        if urls:
            return Binding(urls[0] if len(urls) == 1 else urls, _login(place, credentials)), ""
    if schemes:
        return None, f"has a URL for {', '.join(sorted(schemes))} and none for amqp or amqps"
    if any(_addresses(place, "") for _, place in _places(credentials)):
        return None, "has a host and a port, but no label, name or tag says AMQP"
    return None, "has no amqp or amqps uri, url or uris, no connectionLookupURI, and no hostname with a port"


def _places(credentials: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the places of addresses: the credentials, and their part for each protocol, the one with TLS first."""
    yield "", credentials
    for name in ("protocols", "connection"):
        parts = credentials.get(name)
        if isinstance(parts, dict):
            named = [(key, part) for key, part in parts.items() if key.startswith("amqp") and isinstance(part, dict)]
            yield from sorted(named, key=lambda each: not _is_secure(each[0]))


def _urls(place: Mapping[str, Any], schemes: set[str]) -> Iterator[str]:
    """Yield the amqp and amqps URLs of the first member that has any. `schemes` collects those of other URLs."""
    for name in _URLS:
        given = place.get(name)
        texts = given if isinstance(given, list) else split_list(given) if isinstance(given, str) else []
        urls = []
        for text in texts:
            scheme, slashes, rest = str(text).strip().partition("://")
            scheme = "amqps" if scheme.lower() in ("amqp+ssl", "amqp+tls") else scheme.lower()
            if slashes and scheme in PORTS:
                urls.append(_with_vhost(f"{scheme}://{rest}"))
            elif slashes:
                schemes.add(printable(scheme, 20))
        if urls:
            yield from dict.fromkeys(urls)
            return


def _with_vhost(url: str) -> str:
    """Return a RabbitMQ URL, whose path is a virtual host, as a URL of ours, without the options of other clients."""
    try:
        parts = urlsplit(url)
        options = {name: value for name, value in parse_qsl(parts.query) if name in OPTIONS}
    except ValueError:
        return url  # the code that uses the URL reports the fault
    if parts.fragment or "@" in parts.path + parts.query:
        return url
    vhost = unquote(parts.path[1:])
    if vhost not in ("", "/"):
        options.setdefault("vhost", vhost)
    return parts._replace(path="", query=urlencode(options, quote_via=quote)).geturl()


def _addresses(place: Mapping[str, Any], protocol: str) -> list[str]:
    hosts: Any = next((place[name] for name in _HOSTS if place.get(name)), None)
    port = _text(place.get("port"))
    secure = _is_secure(protocol) or port == "5671"
    secure = secure or any(str(place.get(name)).lower() == "true" for name in ("ssl", "tls"))
    addresses = []
    for each in hosts if isinstance(hosts, list) else [hosts]:
        host, own = each, port
        if isinstance(each, dict):
            host, own = each.get("hostname") or each.get("host"), _text(each.get("port")) or port
        if isinstance(host, str) and host and own:
            vhost = _text(place.get("vhost")) or _text(place.get("virtual_host"))
            query = f"?vhost={quote(vhost, safe='')}" if vhost and vhost != "/" else ""
            shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
            addresses.append(f"{'amqps' if secure else 'amqp'}://{shown}:{own}{query}")
    return addresses


def _is_secure(protocol: str) -> bool:
    return protocol.lower() == "amqps" or any(word in protocol.lower() for word in ("ssl", "tls"))


def _login(
    place: Mapping[str, Any], outer: Mapping[str, Any] | None = None, urls: list[str] | None = None
) -> dict[str, str]:
    """Return user and password as security options; none if each URL has its own and these are incomplete."""
    logins = []
    for each in (place, outer or {}):
        user = next((text for name in ("user", "username", "user_name") if (text := _text(each.get(name)))), None)
        logins.append({"user": user, "password": _text(each.get("password"))})
    found = next((login for login in logins if all(login.values())), logins[0])
    if not all(found.values()) and urls and all("@" in url for url in urls):
        return {}
    return {name: value for name, value in found.items() if value}


def _text(value: object) -> str | None:
    """Return a text. A number becomes the text that it was before it was written without quotes."""
    if isinstance(value, str) and value:
        return value
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
