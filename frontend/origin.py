"""Where a request comes from: its address, its scheme, and the site whose page sent it. All from the WSGI environment.

Proxies are believed as far as they are known: of `X-Forwarded-For` the entry that the outermost of `proxies` proxies
has written counts, since whoever is before it can write what he likes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

Environ = Mapping[str, Any]


def entry(environ: Environ, header: str, proxies: int) -> str | None:
    """Return what the outermost of the proxies said in a header that each of them adds to; None when it did not."""
    if not proxies or header not in environ:
        return None
    entries = [each.strip() for each in environ[header].split(",")]
    return str(entries[max(0, len(entries) - proxies)])


def address(environ: Environ, proxies: int) -> str:
    """Return the client's address, as a key: an IPv6 client has a network of 2^64 of them, which counts as one."""
    text = entry(environ, "HTTP_X_FORWARDED_FOR", proxies) or environ.get("REMOTE_ADDR", "")
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return str(environ.get("REMOTE_ADDR", ""))
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def is_local(environ: Environ, proxies: int) -> bool:
    """Return whether the client is on this machine, and no proxy speaks for somebody else."""
    forwarded = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_VIA")
    if proxies or any(header in environ for header in forwarded):
        return False
    try:
        return ipaddress.ip_address(environ.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def is_https(environ: Environ, proxies: int) -> bool:
    """Return whether the browser's end of the connection is encrypted."""
    forwarded = entry(environ, "HTTP_X_FORWARDED_PROTO", min(proxies, 1))
    return (forwarded or str(environ.get("wsgi.url_scheme"))).lower() == "https"


def is_foreign(environ: Environ, proxies: int) -> bool:
    """Return whether another site's page sent the request. Programs that are no browser say nothing of it."""
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = environ.get("HTTP_ORIGIN")
    if origin is None:
        return False
    host = entry(environ, "HTTP_X_FORWARDED_HOST", min(proxies, 1)) or str(environ.get("HTTP_HOST", ""))
    # The scheme is left out: a proxy that ends TLS may say "https" to the browser and nothing of it to us.
    _, separator, origin_host = str(origin).partition("://")
    return not separator or origin_host.lower() != host.lower()
