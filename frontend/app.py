"""The HTTP side: the page, its assets, and three REST calls. Every error is `{"error": "a sentence"}`.

    GET  /                              the page; gives the browser its session cookie
    POST /rest/words {"words": "..."}   200 {"msgCount": n}
    GET  /rest/wordsuppercase[?wait=S]  200 and the oldest reply, or 204; holds the poll up to S (at most 30) seconds
    GET  /healthz                       200 while the process serves
    GET  /readyz                        200 while connected to the messaging server, else 503
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable
from pathlib import Path

import bottle
import msgspec

from frontend.offload import NotConnected, Offload
from frontend.words import Full, split

STATIC = Path(__file__).resolve().parent.parent / "static"
MAX_BODY = 64 * 1024
MAX_WAIT = 30.0

COOKIE = "session"
COMMON = ""
"""The session of every client that brings no cookie."""

WAITING = "Words-Waiting"
"""Response header: how many words of the session the browser has not fetched yet, answered or not."""

CONNECTION_IS_OPEN = "frontend.connection_is_open"
"""Key of the WSGI environment: a function that tells whether the client is still there. The WSGI server sets it."""

# The page needs nothing but its own files: no inline script or style, no frame around it, no other site.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Problem(Exception):
    """The request cannot be served: an HTTP status and the sentence that says why and what would be right."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


def respond(status: int, body: object = None, **headers: str) -> bottle.HTTPResponse:
    """Return a response with a JSON body, or without a body for None. `Some_Name` stands for the header `Some-Name`."""
    response = bottle.HTTPResponse(b"" if body is None else msgspec.json.encode(body), status)
    for name, value in SECURITY_HEADERS.items():
        response.set_header(name, value)
    response.set_header("Cache-Control", "no-store")
    if body is not None:
        response.set_header("Content-Type", "application/json")
    for name, value in headers.items():
        response.set_header(name.replace("_", "-"), value)
    return response


def session() -> str:
    """Return the session of the request: its cookie when that could be one of ours, else the common session."""
    cookie = bottle.request.get_cookie(COOKIE) or ""
    return cookie if re.fullmatch(r"[A-Za-z0-9_-]{22}", cookie) else COMMON


def sentence() -> list[str]:
    """Return the words of the request's body; raise Problem 400 or 413."""
    length = bottle.request.content_length
    body = b"" if length > MAX_BODY else bottle.request.environ["wsgi.input"].read(MAX_BODY + 1)
    if max(length, len(body)) > MAX_BODY:
        raise Problem(413, f"The body is larger than {MAX_BODY} bytes: send the sentence in parts.")
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f'The body is not JSON ({error}): send {{"words": "some sentence"}}.') from error
    if not isinstance(document, dict) or "words" not in document:
        raise Problem(400, 'The body has no "words": send {"words": "some sentence"}.')
    text = document["words"]
    if not isinstance(text, str):
        raise Problem(400, f'"words" is {repr(text)[:100]}: it must be a string, like {{"words": "some sentence"}}.')
    words = split(text)
    if not words:
        raise Problem(400, '"words" is empty: write at least one word.')
    return words


def seconds_to_wait() -> float:
    """Return the request's `wait`, 0 when it has none; raise Problem 400 unless it is from 0 to 30."""
    text = bottle.request.query.get("wait", "0")
    try:
        wait = float(text)
    except ValueError:
        wait = math.nan
    if not 0 <= wait <= MAX_WAIT:
        raise Problem(400, f"wait={text[:40]} is not a number of seconds from 0 to {MAX_WAIT:.0f}.")
    return wait


def always() -> bool:
    return True


class Frontend:
    """The routes over one Offload; `application` is the WSGI application."""

    def __init__(self, offload: Offload, static: Path = STATIC) -> None:
        self._offload = offload
        self._static = static
        self.application = bottle.Bottle()
        self.application.default_error_handler = self._error
        self._route("GET", "/", self._page)
        self._route("GET", "/index.html", self._page)
        self._route("POST", "/rest/words", self._post_words)
        self._route("GET", "/rest/wordsuppercase", self._get_word)
        self._route("GET", "/healthz", self._healthz)
        self._route("GET", "/readyz", self._readyz)
        self._route("GET", "/<name>", self._asset)

    def _route(self, method: str, path: str, handler: Callable[..., bottle.HTTPResponse]) -> None:
        def with_problems(**arguments: str) -> bottle.HTTPResponse:
            try:
                return handler(**arguments)
            except Problem as problem:
                return respond(problem.status, {"error": str(problem)})

        self.application.route(path, method, with_problems)

    def _page(self) -> bottle.HTTPResponse:
        response = self._asset("index.html")
        if session() == COMMON:
            secure = "https" in (bottle.request.urlparts.scheme, bottle.request.get_header("X-Forwarded-Proto"))
            token = secrets.token_urlsafe(16)
            response.set_cookie(COOKIE, token, path="/", httponly=True, samesite="lax", secure=secure)
        return response

    def _asset(self, name: str) -> bottle.HTTPResponse:
        headers = {**SECURITY_HEADERS, "Cache-Control": "no-cache"}
        return bottle.static_file(name, root=str(self._static), headers=headers)

    def _post_words(self) -> bottle.HTTPResponse:
        words = sentence()
        try:
            self._offload.submit(session(), words)
        except NotConnected as error:
            raise Problem(503, str(error)) from error
        except Full as error:
            raise Problem(429 if error.mine else 503, str(error)) from error
        return respond(200, {"msgCount": len(words)})

    def _get_word(self) -> bottle.HTTPResponse:
        mine = session()
        alive = bottle.request.environ.get(CONNECTION_IS_OPEN, always)
        reply = self._offload.next(mine, seconds_to_wait(), alive)
        return respond(204 if reply is None else 200, reply, **{WAITING: str(self._offload.waiting(mine))})

    def _healthz(self) -> bottle.HTTPResponse:
        return respond(200, {"status": "alive"})

    def _readyz(self) -> bottle.HTTPResponse:
        if not self._offload.connected:
            raise Problem(503, "The front end is not connected to the messaging server.")
        return respond(200, {"status": "connected"})

    def _error(self, error: bottle.HTTPError) -> bottle.HTTPResponse:
        """Turn the errors of Bottle itself into JSON."""
        path, method = bottle.request.path, bottle.request.method
        match error.status_code:
            case 404:
                sentence = f"There is nothing at {path}: the page is at /, the words at /rest/words."
            case 405:
                sentence = f"{path} does not take {method}: POST goes to /rest/words, GET to /rest/wordsuppercase."
            case 500:
                sentence = "The front end failed; its log says why."
            case _:
                sentence = f"{error.body}"
        headers = {"Allow": error.get_header("Allow")} if error.get_header("Allow") else {}
        return respond(error.status_code, {"error": sentence}, **headers)
