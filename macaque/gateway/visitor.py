"""The facts of a request that tell where it comes from: its address, its host, its origin and its token. Pure.

All facts come from the WSGI environment, after werkzeug's ProxyFix has added the data of the trusted proxies.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

from werkzeug.sansio.utils import host_is_trusted

from macaque.http.answer import Problem
from mqlight.amqp.text import printable

__all__ = ["LOCAL", "address", "bearer", "check_direct", "check_host", "check_path", "is_foreign", "unauthorized"]

Environ = Mapping[str, Any]

LOCAL = ("localhost", ".localhost")
"""The host names of this machine. A name with a dot before it stands for all names below it."""
_FORWARDED = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST")
"""Headers that a proxy adds."""
_ADDRESS = re.compile(r"\[[0-9a-f:.]+\]|[0-9]+(\.[0-9]+){3}", re.ASCII)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII)
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.ASCII | re.IGNORECASE)


def address(environ: Environ) -> str:
    """Return the caller's address as a key. An IPv6 caller has a network of 2^64 addresses, which counts as one."""
    try:
        found = ipaddress.ip_address(environ.get("REMOTE_ADDR", ""))
    except ValueError:
        return "unknown"
    if found.version == 6:
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def check_host(environ: Environ, names: Sequence[str]) -> None:
    """Raise Problem unless the request is for one of the names, or for an address. Without names, any host will do.

    The owner of a page may point the page's name to this machine. The page could then read everything here as its own
    ("rebinding"). An address cannot be pointed elsewhere.
    """
    host = str(environ.get("HTTP_HOST", "")).lower()
    found = _HOST.fullmatch(host)
    if found is None:
        raise Problem(400, "The request must have one Host header with a host name.")
    name = found[1].rstrip(".")
    if names and not _ADDRESS.fullmatch(name) and not host_is_trusted(name, names):
        raise Problem(421, f"This gateway is not {printable(host, 80)}: name its host with --hostname.")


def check_direct(environ: Environ) -> None:
    """Raise Problem if the request came through a proxy, which would let callers of other machines in."""
    if any(name in environ for name in _FORWARDED):
        raise Problem(403, "The request came through a proxy: give --tokens FILE, or --public if anyone may call.")


def check_path(environ: Environ) -> None:
    """Raise Problem if a proxy and the gateway may take the path for two different topics."""
    path = str(environ.get("RAW_URI") or environ.get("PATH_INFO", "")).partition("?")[0]
    if re.search("%2f|%5c|%00|\\\\", path, re.IGNORECASE):
        raise Problem(400, "The path has an escaped slash, a backslash or a NUL: write the levels of the topic with /.")
    if any(re.fullmatch(r"(\.|%2e){1,2}", level, re.IGNORECASE) for level in path.split("/")):
        raise Problem(400, "The path has a level . or ..: no topic here has one.")


def is_foreign(environ: Environ, origins: Sequence[str] = ()) -> bool:
    """Return whether a page of another site sent the request, and is none of `origins`.

    Only browsers send the headers that tell this.
    """
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and ("*" in origins or origin in origins):
        return False
    if (site := environ.get("HTTP_SEC_FETCH_SITE")) is not None:
        return site not in ("same-origin", "none")
    # The scheme is ignored: a proxy that ends TLS may use "https" to the browser without telling this end.
    return origin is not None and str(origin).partition("://")[2].lower() != str(environ.get("HTTP_HOST")).lower()


def bearer(environ: Environ) -> str | None:
    """Return the bearer token of a request (RFC 6750, section 2.1), None without one. Raises Problem 401."""
    header = environ.get("HTTP_AUTHORIZATION")
    if header is None:
        return None
    found = _BEARER.fullmatch(str(header).strip())
    if found is None:
        raise unauthorized("The header Authorization has no bearer token: write Authorization: Bearer TOKEN.")
    return found[1]


def unauthorized(detail: str, error: str = "") -> Problem:
    """Return the problem of a caller without a valid token."""
    challenge = 'Bearer realm="macaque"' + (f', error="{error}"' if error else "")
    return Problem(401, detail, headers=(("WWW-Authenticate", challenge),))
