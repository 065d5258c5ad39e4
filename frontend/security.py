"""Clients and their rights: host names, other sites' pages, sessions, addresses, rates; and how they are refused.

Everything is read from the WSGI environment, after werkzeug's ProxyFix has put in what the known proxies say.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import os
import re
import secrets
import socket
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from bottle import HTTPResponse
from itsdangerous import Signer
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from werkzeug.http import parse_cookie
from werkzeug.sansio.utils import host_is_trusted

from frontend.settings import HOST_NAME

COMMON = ""  # the session of every client that brings no cookie
BURST = 5  # seconds' worth of requests that may come at once
# Variables in which platforms tell an application its public name.
PLATFORM_HOSTS = ["HOST", "RAILWAY_PUBLIC_DOMAIN", "RENDER_EXTERNAL_HOSTNAME", "HEROKU_APP_DEFAULT_DOMAIN_NAME"]
PLATFORM_HOSTS += ["WEBSITE_HOSTNAME"]
SECURITY_HEADERS = [
    # The page needs only its own files: no inline script or style, no frame around it, no other site.
    ("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
     "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
     "require-trusted-types-for 'script'"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]  # fmt: skip
STRICT_TRANSPORT = ("Strict-Transport-Security", "max-age=31536000")

Environ = Mapping[str, Any]


def respond(status: int, content: object = None, **headers: str) -> HTTPResponse:
    """Return a response with a JSON body, or without one for None. `Some_Name` stands for the header `Some-Name`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()} | {"Cache-Control": "no-store"}
    if content is not None:
        named["Content-Type"] = "application/json"
    return HTTPResponse(b"" if content is None else msgspec.json.encode(content), status, named)


class Problem(HTTPResponse):  # type: ignore[misc]  # Bottle publishes no type hints
    """The response to a request that cannot be served; `error` says why, and what would be right. Raise it."""

    def __init__(self, status: int, error: str, *, code: str | None = None, **headers: str) -> None:
        made = respond(status, {"error": error} | ({"code": code} if code else {}), **headers)
        super().__init__(made.body, status, dict(made.headerlist))
        self.error = error


def headers(environ: Environ) -> list[tuple[str, str]]:
    """Return the headers of every response, beside its own."""
    return [*SECURITY_HEADERS, *([STRICT_TRANSPORT] if environ.get("wsgi.url_scheme") == "https" else [])]


def shown(text: str, most: int = 60) -> str:
    """Return text from outside as a part of a sentence: quoted, plain ASCII, and not for ever."""
    return ascii(text if len(text) <= most else text[:most] + "...")


def known_hosts(hosts: str, environ: Mapping[str, str]) -> list[str]:
    """Return the names of this front end: those of `FRONTEND_HOSTS`, of this machine, and of the platform."""
    names = [*hosts.split(","), "localhost", ".localhost", socket.gethostname()]
    names += [environ.get(name, "") for name in PLATFORM_HOSTS]
    try:
        application = msgspec.json.decode(environ.get("VCAP_APPLICATION", "{}"), type=dict[str, Any])
        uris = [*application.get("application_uris", []), *application.get("uris", [])]
        names += [str(uri).partition("/")[0] for uri in uris]
    except (msgspec.DecodeError, TypeError):
        pass
    return [name.strip().lower() for name in names if re.fullmatch(HOST_NAME, name.strip())]


def check_host(environ: Environ, known: list[str]) -> None:
    """Raise Problem unless the request is for one of the known names or for an address.

    A page may let its own name point to this machine, and would then read everything here as its own ("rebinding"). An
    address cannot be made to point elsewhere.
    """
    host = str(environ.get("HTTP_HOST", "")).lower()
    if not host:
        raise Problem(400, "The request must have one Host header.")
    found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?", host)
    if "*" not in known and not host_is_trusted(host, known) and not (found and parsed(found[1] or found[2])):
        raise Problem(421, f"This front end is not {shown(host)}: name its host in FRONTEND_HOSTS.")


def parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address; None if the text is none."""
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None


def address(environ: Environ) -> str:
    """Return the client's address, as a key: an IPv6 client has a network of 2^64 of them, which counts as one."""
    found = parsed(environ.get("REMOTE_ADDR", ""))
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found or "unknown")


def is_local(environ: Environ, proxies: int) -> bool:
    """Return whether the client is on this machine, and no proxy speaks for another one."""
    forwarded = {"HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_VIA"} & environ.keys()
    found = parsed(environ.get("REMOTE_ADDR", ""))
    return not proxies and not forwarded and found is not None and found.is_loopback


def is_foreign(environ: Environ) -> bool:
    """Return whether another site's page sent the request. Programs other than browsers say nothing of it."""
    if (site := environ.get("HTTP_SEC_FETCH_SITE")) is not None:
        return site not in ("same-origin", "none")
    # The scheme is left out: a proxy that ends TLS may say "https" to the browser and nothing of it to us.
    origin = environ.get("HTTP_ORIGIN")
    return origin is not None and str(origin).partition("://")[2].lower() != str(environ.get("HTTP_HOST")).lower()


def cookie_name(environ: Environ) -> str:
    """Return the name of the session's cookie."""
    # No other host and no plain connection can set a cookie of the first name (RFC 6265bis, 4.1.3.2).
    name = "__Host-session" if environ.get("wsgi.url_scheme") == "https" else "session"
    # Cookies do not keep the ports of a host apart: two front ends would take each other's.
    port = re.search(r":([0-9]{1,5})$", environ.get("HTTP_HOST", ""))
    return f"{name}-{port[1]}" if port else name


class Sessions:
    """Signed sessions: random numbers, in a cookie that nobody can forge. The same secret knows them again."""

    def __init__(self, secret: str = "") -> None:
        key = os.fsencode(secret) or secrets.token_bytes(32)
        self._signer = Signer(key, salt=b"frontend.session", key_derivation="hmac", digest_method=hashlib.sha256)

    def make(self) -> str:
        """Return a new session: 128 random bits in hexadecimal, a dot and their signature."""
        return self._signer.sign(secrets.token_hex(16)).decode()

    def of(self, environ: Environ, cookie: str) -> str | None:
        """Return the session of a request: COMMON without a cookie of that name, None for one that is not ours."""
        header = environ.get("HTTP_COOKIE", "").encode("ascii", "replace").decode()
        if not re.search(rf"(?:^|;)\s*{re.escape(cookie)}\s*(?:=|;|$)", header):
            return COMMON
        values = set(parse_cookie(header).getlist(cookie))
        session = values.pop() if len(values) == 1 else ""
        return session if self._signer.validate(session) else None


class Rate:
    """A limit of requests a second for each key; BURST seconds' worth of them may come at once."""

    def __init__(self, rate: int, whose: str) -> None:
        self._reason = f"The limit is {rate} requests a second for each {whose}: try again in"
        self._limit = RateLimitItemPerSecond(rate * BURST, BURST)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def hit(self, key: str) -> None:
        """Count a request; raise Problem 429 when there were too many."""
        if not self._limiter.hit(self._limit, key):
            left = self._limiter.get_window_stats(self._limit, key).reset_time - time.time()
            seconds = max(1, min(BURST, math.ceil(left)))
            raise Problem(429, f"{self._reason} {seconds} s.", Retry_After=str(seconds))
