"""URLs of messaging services: splitting, checking, and showing them.

The rule of this file: no text shows any part of a password, whatever the URL looks like. So a text about a URL takes it
from `shown`. Of a user or password it shows at most the one character that must be written as a percent code.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from mqlight.amqp.text import control_in, nearest, printable
from mqlight.errors import InvalidArgumentError

__all__ = ["OPTIONS", "PORTS", "options_of", "shown", "split", "split_list", "unusable", "without_passwords"]

PORTS = {"amqp": 5672, "amqps": 5671}
OPTIONS = ("dialect", "heartbeat", "queues", "vhost")
"""The options that the query of an amqp URL may have."""
HEARTBEATS = (1.0, 3600.0)
"""Seconds: the least and the most of `?heartbeat=`."""

_PREFIX = re.compile(r"((?:[a-z][a-z0-9+.-]*:)?//|(?:amqps?|https?):)(.*)", re.IGNORECASE | re.DOTALL)
_NEXT = re.compile(r",\s*(?=[a-z][a-z0-9+.-]*://|$)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:/?#]*)(?::(\d{0,5}))?((?:[/?#].*)?)", re.DOTALL)
_EMBEDDED = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)\S*@")
_BAD_ESCAPE = re.compile(r"%(?![0-9a-f]{2})", re.IGNORECASE)


def split_list(text: str) -> list[str]:
    """Return the URLs of a list with commas between them. A comma inside a URL stays: each URL begins with a scheme."""
    return [url.strip() for url in _NEXT.split(text.strip()) if url.strip()]


def shown(url: object) -> str:
    """Return a URL, valid or not, without its user and password, safe for an error or a log."""
    found = _PREFIX.fullmatch(str(url))
    prefix, rest = found.groups() if found else ("", str(url))
    rest = rest.rpartition("@")[2]
    parts = _AUTHORITY.fullmatch(rest)
    if parts is None or int(parts[2] or 0) > 65535:
        host = rest.partition(":")[0]  # the text after the colon may be a password whose "@host" was forgotten
        rest = f"{host}:***" if ":" in rest else "***"
    elif parts[3]:
        tail = re.sub(r"=[^&#]*", "=***", parts[3])
        if parts[2] is not None and not prefix.lower().startswith("http"):
            tail = tail[0] + "..."  # otherwise a password such as 12/34 would show
        rest = rest[: len(rest) - len(parts[3])] + tail
    return printable(prefix + rest)


def without_passwords(text: str) -> str:
    """Return a text from outside without the users and passwords of the URLs in it."""
    return _EMBEDDED.sub(r"\1", text)


def split(url: object) -> tuple[SplitResult, str | None, str | None]:
    """Return the parts of a URL that has a host, and its user and password, percent decoded.

    Raises:
        InvalidArgumentError: the text is no such URL. The error tells why.
    """
    if not isinstance(url, str):
        raise unusable(url)
    wrong = _wrong(url)
    if wrong is not None:
        raise invalid(url, wrong)
    parts = urlsplit(url)
    if not parts.username and not parts.password:
        return parts, None, None
    if not parts.username or parts.password is None:
        given, missing = ("user", "password") if parts.username else ("password", "user")
        raise invalid(url, f"it has a {given} without a {missing}; write both or neither")
    return parts, _decoded(url, "user", parts.username), _decoded(url, "password", parts.password)


def options_of(url: str, query: str) -> dict[str, str]:
    """Return the options that the query of an amqp URL holds.

    Raises:
        InvalidArgumentError: there is no such option, or its value is invalid.
    """
    options = {}
    for pair in query.split("&") if query else ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise invalid(url, "an option in it has no value; write name=value")
        ((name, value),) = parse_qsl(f"{name}={value}", keep_blank_values=True)
        if name not in OPTIONS:
            near = nearest(name, OPTIONS)
            advice = f"did you mean {near}?" if near else f"there are {', '.join(OPTIONS)}"
            raise InvalidArgumentError(
                f"the service URL {shown(url)} has the option {printable(name, 40)!r}, which does not exist; {advice}",
                argument="service",
                value=shown(url),
            )
        if (control := control_in(value)) is not None:
            raise invalid(url, f"its option {name} has the control character {control}")
        options[name] = value
    _check_heartbeat(options.get("heartbeat"))
    return options


def invalid(url: object, why: str) -> InvalidArgumentError:
    """Return the error for an invalid URL."""
    return InvalidArgumentError(
        f"the service URL {shown(url)} is not valid: {why}", argument="service", value=shown(url)
    )


def unusable(service: object) -> InvalidArgumentError:
    """Return the error for a service that is neither a URL, a list of URLs nor a function."""
    kind = type(service).__name__
    return InvalidArgumentError(
        f"service is of type {kind}; give a URL, a list of URLs or a function", argument="service"
    )


def _wrong(url: str) -> str | None:
    """Return why a text is not a URL with a host, or None if it is one."""
    if url != url.strip():
        return "it begins or ends with white space; remove it"
    found = _PREFIX.fullmatch(url)
    rest = found[2] if found else url
    is_web = url.lower().startswith(("http:", "https:"))
    login = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")[0] if is_web else rest.rpartition("@")[0]
    for character in login:
        if character in "/?#[] " or not character.isprintable():
            code = quote(character, safe="", errors="replace")
            return f"its user or password has the character {printable(repr(character))}; write it as {code}"
    if _BAD_ESCAPE.search(login):
        return "its user or password has the character '%'; write it as %25"
    if "://" not in url:
        return "it has no scheme; write amqp://HOST or amqps://HOST"
    if not url.isprintable() or " " in url:
        return "it has a space or a character that cannot be printed"
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = None
    if parts is None:
        return "its host is neither a name nor an IP address; write an IPv6 address in brackets"
    try:
        port_fits = parts.port != 0
    except ValueError:
        port_fits = False
    if not port_fits:
        return "its port is not a number from 1 to 65535; write @ between a password and the host"
    host = unquote(parts.hostname or "")
    if not host:
        return "it has no host; write amqp://HOST"
    if "," in host or " " in host or not host.isprintable():
        return "its host has a comma, a space or a control character; in a list, give each URL its scheme"
    return "it has a '#'; write it as %23" if "#" in url else None


def _decoded(url: str, what: str, text: str) -> str:
    try:
        decoded: str | None = unquote(text, errors="strict")
    except UnicodeDecodeError:
        decoded = None
    if decoded is None:
        raise invalid(url, f"the percent codes of its {what} are not UTF-8")
    if (control := control_in(decoded)) is not None:
        raise invalid(url, f"its {what} has the control character {control.partition(' ')[0]}")
    return decoded


def _check_heartbeat(text: str | None) -> None:
    least, most = HEARTBEATS
    try:
        fits = text is None or least <= float(text) <= most
    except ValueError:
        fits = False
    if not fits:
        raise InvalidArgumentError(
            f"the service URL has heartbeat={text}; give a number of seconds from {least:g} to {most:g}",
            argument="heartbeat",
            value=text,
        )
