"""Requests and answers of the console: the refusal of foreign requests, and the parsing of a request."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bottle
import msgspec
from bottle import HTTPResponse, request

STATIC = Path(__file__).with_name("static")
BODY = 1024 * 1024
"""The most bytes of a request."""
MOST_LETTERS = 1000
"""The most dead letters that one request may replay or drop."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; "
    "object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class Problem(Exception):
    """A refused request: an HTTP status and a sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def check_origin(hosts: AbstractSet[str]) -> None:
    """Refuse requests of other sites: from their pages, or by a foreign host name that resolves to this machine.

    Raises:
        Problem: The request is refused.
    """
    host = request.get_header("Host", "")
    if _name(host) not in hosts:
        raise Problem(403, f"the console is not at {host[:80]!r}: open 127.0.0.1, or allow it by --console-host")
    site, origin = request.get_header("Sec-Fetch-Site"), request.get_header("Origin")
    navigates = request.method == "GET" and request.get_header("Sec-Fetch-Mode") == "navigate"
    foreign = site not in (None, "same-origin", "none") or (
        origin is not None and urlsplit(origin).netloc.lower() != host.lower()
    )
    if foreign and not (navigates and not request.path.startswith("/api/")):
        raise Problem(403, "the request came from a page of another site")
    if request.method != "GET" and request.get_header("X-Console") is None:
        raise Problem(403, "the header X-Console is missing: only the console's own page may do that")


def _name(host: str) -> str:
    """Return the name in a Host header, without its port."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()


def asset(name: str) -> HTTPResponse:
    """Return a static file of the pages."""
    return bottle.static_file(name, root=str(STATIC))


def as_json(value: Any, status: int = 200) -> HTTPResponse:
    """Return a JSON answer that no cache keeps."""
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return HTTPResponse(msgspec.json.encode(value), status, headers)


def argument(name: str) -> str:
    """Return a parameter of the query as text; empty if it is missing."""
    return str(getattr(request.query, name) or "")


def query() -> str:
    """Return the filter of a request."""
    return argument("q")


def number(name: str, default: int | None) -> int | None:
    """Return a whole number of the query.

    Raises:
        Problem: The parameter is no whole number.
    """
    digits = argument(name)
    if not digits:
        return default
    if not (digits.isascii() and digits.isdigit() and len(digits) < 16):
        raise Problem(400, f"{name} is no number")
    return int(digits)


def body() -> dict[str, Any]:
    """Return the JSON object of a request.

    Raises:
        Problem: The body is too large, or is not a JSON object of type ``application/json``.
    """
    if request.content_type.partition(";")[0].strip() != "application/json":
        raise Problem(415, "send application/json")
    if not 0 <= request.content_length <= BODY:
        raise Problem(413, f"a request has at most {BODY} bytes")
    try:
        value = msgspec.json.decode(request.environ["wsgi.input"].read(request.content_length))
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem(400, f"the body is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise Problem(400, "the body is no JSON object")
    return value


def text(members: dict[str, Any], name: str) -> str:
    """Return a text of a JSON object.

    Raises:
        Problem: The member is missing or no text.
    """
    value = members.get(name)
    if not isinstance(value, str):
        raise Problem(400, f"{name} is missing, or no text")
    return value


def numbers(members: dict[str, Any]) -> list[int]:
    """Return the numbers of dead letters that a request names.

    Raises:
        Problem: The numbers are missing, invalid or too many.
    """
    found = members.get("numbers")
    if not isinstance(found, list) or not all(type(each) is int for each in found):
        raise Problem(400, "numbers is a list of whole numbers")
    if len(found) > MOST_LETTERS:
        raise Problem(400, f"at most {MOST_LETTERS} letters at a time")
    return found
