"""Clients and their rights: host names, pages of other sites, sessions, addresses, rates, and refusals.

All facts come from the WSGI environment, after werkzeug's ProxyFix has added the data of the trusted proxies.
"""

from __future__ import annotations

import hashlib
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
from werkzeug.sansio.utils import host_is_trusted

from frontend.settings import HOST_NAME
from macaque.gateway.visitor import address

COMMON = ""  # the session of every client without a cookie
BURST = 5  # requests of this many seconds may come at once
# Variables in which platforms tell an application its public name.
PLATFORM_HOSTS = "HOST RAILWAY_PUBLIC_DOMAIN RENDER_EXTERNAL_HOSTNAME HEROKU_APP_DEFAULT_DOMAIN_NAME WEBSITE_HOSTNAME"
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
JSON_HEADERS = {"Content_Type": "application/json", "Cache_Control": "no-store"}

Environ = Mapping[str, Any]


def respond(status: int, content: object = None, **headers: str) -> HTTPResponse:
    """Return a response with a JSON body, or without one for None. `Some_Name` stands for the header `Some-Name`."""
    return HTTPResponse(b"" if content is None else msgspec.json.encode(content), status, **JSON_HEADERS, **headers)


class Problem(HTTPResponse):  # type: ignore[misc]  # Bottle publishes no type hints
    """The response to a request that cannot be served. `error` gives the reason and the remedy. Raise it."""

    def __init__(self, status: int, error: str, code: str = "", **headers: str) -> None:
        said = {"error": error} | ({"code": code} if code else {})
        super().__init__(msgspec.json.encode(said), status, **JSON_HEADERS, **headers)


def shown(text: str, most: int = 60) -> str:
    """Return text from outside for use in a sentence: quoted, plain ASCII, and cut to `most` characters."""
    return ascii(text if len(text) <= most else text[:most] + "...")


def known_hosts(hosts: str, environ: Mapping[str, str]) -> list[str]:
    """Return the names of this front end: those of `FRONTEND_HOSTS`, of this machine, and of the platform."""
    names = [*hosts.split(","), "localhost", ".localhost", socket.gethostname()]
    names += [environ.get(name, "") for name in PLATFORM_HOSTS.split()]
    try:
        routes = msgspec.json.decode(environ.get("VCAP_APPLICATION", "{}"), type=dict[str, Any])
        names += [route.partition("/")[0] for route in routes.get("application_uris", []) + routes.get("uris", [])]
    except (msgspec.DecodeError, AttributeError, TypeError):
        pass
    return [name.strip().lower() for name in names if re.fullmatch(HOST_NAME, name.strip())]


def check_host(environ: Environ, known: list[str]) -> None:
    """Raise Problem unless the request is for one of the known names or for an address.

    The owner of a page may point the page's name to this machine. The page could then read everything here as its own
    ("rebinding"). An address cannot be pointed elsewhere.
    """
    host = str(environ.get("HTTP_HOST", "")).lower()
    if not host:
        raise Problem(400, "The request must have one Host header.")
    address = re.fullmatch(r"(\[[0-9a-f:.]+\]|[0-9]+(\.[0-9]+){3})(:[0-9]{1,5})?", host)
    if "*" not in known and not address and not host_is_trusted(host, known):
        raise Problem(421, f"This front end is not {shown(host)}: name its host in FRONTEND_HOSTS.")


def is_local(environ: Environ, proxies: int) -> bool:
    """Return whether the client is on this machine and does not come through a proxy."""
    forwarded = {"HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_VIA"} & environ.keys()
    return not proxies and not forwarded and address(environ).startswith(("127.", "::/64"))


def cookie_name(environ: Environ) -> str:
    """Return the name of the session's cookie."""
    # No other host and no plain connection can set a cookie whose name has this prefix (RFC 6265bis, 4.1.3.2).
    name = "__Host-session" if environ["wsgi.url_scheme"] == "https" else "session"
    # Cookies are shared by all ports of a host: two front ends would overwrite each other's cookie.
    port = re.search(r":([0-9]{1,5})$", environ.get("HTTP_HOST", ""))
    return f"{name}-{port[1]}" if port else name


class Sessions:
    """Signed sessions: random numbers, in a cookie that cannot be forged. They stay valid with the same secret."""

    def __init__(self, secret: str = "") -> None:
        key = os.fsencode(secret) or secrets.token_bytes(32)
        self._signer = Signer(key, salt=b"frontend.session", key_derivation="hmac", digest_method=hashlib.sha256)

    def make(self) -> str:
        """Return a new session: 128 random bits in hexadecimal, a dot and their signature."""
        return self._signer.sign(secrets.token_hex(16)).decode()

    def of(self, environ: Environ, cookie: str) -> str | None:
        """Return the session of a request: COMMON without such a cookie, None if its signature is not valid."""
        found = re.findall(rf"(?:^|;)\s*{re.escape(cookie)}\s*(?:=([^;]*))?(?=;|$)", environ.get("HTTP_COOKIE", ""))
        values = {value.strip() for value in found} or {COMMON}
        session = values.pop()
        return session if not values and (not found or self._signer.validate(session)) else None


class Rates:
    """Limits of requests per second. Requests of BURST seconds may come at once."""

    def __init__(self) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def hit(self, rate: int, whose: str, key: str) -> None:
        """Count a request of one session or address. Raises Problem 429 if there were too many."""
        limit = RateLimitItemPerSecond(rate * BURST, BURST)
        if not self._limiter.hit(limit, whose, key):
            left = math.ceil(self._limiter.get_window_stats(limit, whose, key).reset_time - time.time())
            seconds = str(max(1, min(BURST, left)))
            reason = f"The limit is {rate} requests a second for each {whose}: try again in {seconds} s."
            raise Problem(429, reason, Retry_After=seconds)
