"""The HTTP side: the page, its assets, and three REST calls. Every error is `{"error": "a sentence"}`.

    GET  /                              the page; gives the browser its session cookie
    POST /rest/words {"words": "..."}   200 {"msgCount": n}
    GET  /rest/wordsuppercase[?wait=S]  200 and the oldest reply, or 204; holds the poll up to S (at most 30) seconds
                       [&ticket=R.N]    for reader R's fetch number N, which may be repeated when its answer was lost.
                                        Where several kinds of workers answer a word, all replies to it but the first
                                        have {"again": true}
    GET  /healthz                       200 while the process serves
    GET  /readyz                        200 while words can be answered, else 503
    GET  /metrics                       Prometheus's figures, for those whom the settings let see them
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import bottle
import msgspec

from frontend import origin, words
from frontend.answer import SECURITY_HEADERS, STRICT_TRANSPORT, Problem, respond, shown
from frontend.metrics import CONTENT_TYPE, Metrics
from frontend.offload import NotConnected, Offload, TooManyPolls
from frontend.session import COMMON, Sessions
from frontend.settings import Settings
from frontend.throttle import Throttle
from frontend.words import Full

STATIC = Path(__file__).resolve().parent.parent / "static"
INDEX = "index.html"
MAX_WAIT = 30.0
BUSY_SECONDS = 5
"""What a client is told to wait where nobody knows how long it takes until there is room."""

HEALTH = ("/healthz", "/readyz")
"""Routes without a limit of their rate: whoever watches the front end must not be told to come back later."""

WAITING = "Words-Waiting"
"""Response header: how many words of the session the browser has not fetched yet, answered or not."""

CONNECTION_IS_OPEN = "frontend.connection_is_open"
"""Key of the WSGI environment: a function that tells whether the client is still there. The WSGI server sets it."""


def sentence(settings: Settings) -> list[str]:
    """Return the words of the request's body; raise Problem 400, 411, 413 or 415. Its size was bounded before."""
    environ = bottle.request.environ
    if "CONTENT_LENGTH" not in environ:
        raise Problem(411, 'The request has no body: send {"words": "some sentence"} with a Content-Length.')
    kind, _, parameters = environ.get("CONTENT_TYPE", "").partition(";")
    if kind.strip().lower() != "application/json" or parameters.strip().lower() not in ("", "charset=utf-8"):
        wrong = f"The body is {shown(kind.strip())}" if kind.strip() else "The request does not say what its body is"
        raise Problem(415, f'{wrong}: send JSON, with the header "Content-Type: application/json" (curl -H).')
    try:
        document = msgspec.json.decode(environ["wsgi.input"].read())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f'The body is not JSON ({error}): send {{"words": "some sentence"}}.') from error
    if not isinstance(document, dict) or "words" not in document:
        raise Problem(400, 'The body has no "words": send {"words": "some sentence"}.')
    text = document["words"]
    if not isinstance(text, str):
        raise Problem(400, f'"words" is {ascii(text)[:60]}: it must be a string, like {{"words": "some sentence"}}.')
    found = words.split(text)
    if not found:
        raise Problem(400, '"words" is empty: write at least one word.')
    if reason := words.check(found, settings):
        raise Problem(413, reason)
    return found


def seconds_to_wait() -> float:
    """Return the request's `wait`, 0 when it has none; raise Problem 400 unless it is from 0 to 30."""
    text = bottle.request.query.get("wait", "0")
    try:
        wait = float(text)
    except ValueError:
        wait = math.nan
    if not 0 <= wait <= MAX_WAIT:
        raise Problem(400, f"The wait {shown(text)} is not a number of seconds from 0 to {MAX_WAIT:.0f}.")
    return wait


def ticket() -> words.Ticket | None:
    """Return the request's ticket, None when it has none; raise Problem 400 for what cannot be one."""
    text = bottle.request.query.get("ticket")
    if text is None:
        return None
    found = re.fullmatch(r"([A-Za-z0-9-]{1,40})\.([0-9]{1,15})", text)
    if not found:
        raise Problem(400, f"The ticket {shown(text)} is not a reader's name, a dot and a number, like reader.1.")
    return words.Ticket(found[1], int(found[2]))


def too_often(rate: float, whose: str, wait: float) -> Problem:
    """Return Problem 429 for somebody who is over a rate, and may come back after `wait` seconds."""
    seconds = max(1, math.ceil(wait))
    again = "in a second" if seconds == 1 else f"in {seconds} seconds"
    reason = f"The limit is {rate:g} requests a second for each {whose}: try again {again}."
    return Problem(429, reason, retry_after=seconds)


def always() -> bool:
    return True


class Frontend:
    """The WSGI application, over one Offload."""

    def __init__(
        self,
        offload: Offload,
        metrics: Metrics,
        settings: Settings,
        static: Path = STATIC,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._offload = offload
        self._metrics = metrics
        self._settings = settings
        self._static = static
        self._clock = clock
        self._sessions = Sessions(settings.secret)
        self._by_session = Throttle(settings.rate_per_session)
        self._by_address = Throttle(settings.rate_per_address)
        self._bottle = bottle.Bottle()
        self._bottle.default_error_handler = self._error
        self._bottle.add_hook("before_request", self._throttle_address)
        self._route("GET", "/", self._page)
        self._route("POST", "/rest/words", self._post_words)
        self._route("GET", "/rest/wordsuppercase", self._get_word)
        self._route("GET", "/healthz", self._healthz)
        self._route("GET", "/readyz", self._readyz)
        self._route("GET", "/metrics", self._get_metrics)
        self._route("OPTIONS", "*", lambda: respond(204, Allow="GET, HEAD, OPTIONS, POST"))
        # A route for each file, and none for names that a request makes up: there is no path to climb out by.
        for path in static.iterdir():
            if path.is_file() and not path.is_symlink():
                handler = self._page if path.name == INDEX else partial(self._asset, path.name)
                self._route("GET", f"/{path.name}", handler)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        began = self._clock()
        safe = dict(SECURITY_HEADERS)
        if origin.is_https(environ, self._settings.proxies):
            safe["Strict-Transport-Security"] = STRICT_TRANSPORT

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            found = environ.get("bottle.route")
            route = found.rule if found is not None else "none"
            self._metrics.answered(route, int(status[:3]), self._clock() - began)
            return start_response(status, [*headers, *safe.items()], exc_info)

        body: Iterable[bytes] = self._bottle(environ, start)
        return body

    def _route(self, method: str, path: str, handler: Callable[[], bottle.HTTPResponse]) -> None:
        def with_problems() -> bottle.HTTPResponse:
            try:
                return handler()
            except Problem as problem:
                return problem.response()

        self._bottle.route(path, method, with_problems)

    # Who may ask, and how often

    def _throttle_address(self) -> None:
        if bottle.request.path not in HEALTH:
            wait = self._by_address.take(self._address, self._clock())
            if wait:
                raise too_often(self._by_address.rate, "address (FRONTEND_RATE_PER_ADDRESS)", wait).response()

    def _throttle_session(self, session: str) -> None:
        wait = self._by_session.take(session, self._clock()) if session != COMMON else 0.0
        if wait:
            raise too_often(self._by_session.rate, "browser (FRONTEND_RATE_PER_SESSION)", wait)

    @property
    def _address(self) -> str:
        return origin.address(bottle.request.environ, self._settings.proxies)

    @property
    def _cookie(self) -> str:
        environ = bottle.request.environ
        # No other host and no plain connection can set a cookie of the first name (RFC 6265bis, 4.1.3.2).
        name = "__Host-session" if origin.is_https(environ, self._settings.proxies) else "session"
        # Cookies do not keep the ports of a host apart: two front ends would take each other's.
        port = re.search(r":([0-9]{1,5})$", environ.get("HTTP_HOST", ""))
        return f"{name}-{port[1]}" if port else name

    def _caller(self) -> str:
        """Return the session of a REST call; raise Problem 403 when it is another site's, or its cookie not ours."""
        if origin.is_foreign(bottle.request.environ, self._settings.proxies):
            raise Problem(403, "The request came from a page of another site: open this site's own page at /.")
        session: str | None = bottle.request.get_cookie(self._cookie)
        if session is None:
            session = COMMON
        elif not self._sessions.is_ours(session):
            # It does not get a new one here: two requests at once would get two, and words would go to one of them
            # while the other is asked for them.
            reason = "The session of this cookie is unknown here (was the front end restarted?): get a new one at /."
            raise Problem(403, reason, code="unknown-session")
        self._throttle_session(session)
        return session

    # The routes

    def _page(self) -> bottle.HTTPResponse:
        response = self._asset(INDEX)
        if not self._sessions.is_ours(bottle.request.get_cookie(self._cookie) or ""):
            secure = self._cookie.startswith("__Host-")
            session = self._sessions.make()
            response.set_cookie(self._cookie, session, path="/", httponly=True, samesite="lax", secure=secure)
        return response

    def _asset(self, name: str) -> bottle.HTTPResponse:
        return bottle.static_file(name, root=str(self._static), headers={"Cache-Control": "no-cache"})

    def _post_words(self) -> bottle.HTTPResponse:
        session = self._caller()
        found = sentence(self._settings)
        try:
            self._offload.submit(session, found)
        except NotConnected as error:
            raise Problem(503, str(error)) from error
        except Full as error:
            if error.mine:
                raise Problem(429, str(error)) from error
            raise Problem(503, str(error), retry_after=BUSY_SECONDS) from error
        return respond(200, {"msgCount": len(found)})

    def _get_word(self) -> bottle.HTTPResponse:
        session = self._caller()
        wait = seconds_to_wait()
        if bottle.request.method == "HEAD":  # it may look, but a word without its body would be lost
            reply = self._offload.peek(session)
        else:
            reply = self._next(session, wait)
        waiting = {WAITING: str(self._offload.waiting(session))}
        return respond(204 if reply is None else 200, reply, **waiting)

    def _next(self, session: str, wait: float) -> words.Reply | None:
        alive = bottle.request.environ.get(CONNECTION_IS_OPEN, always)
        address, mine = self._address, ticket()
        again = mine is not None and self._offload.was_given(session, mine)
        try:
            reply = self._offload.next(session, session or address, wait, alive, mine)
        except TooManyPolls as error:
            raise Problem(429 if error.mine else 503, str(error), retry_after=BUSY_SECONDS) from error
        if reply is not None and not again:
            self._by_address.give_back(address)
            self._by_session.give_back(session)
        return reply

    def _healthz(self) -> bottle.HTTPResponse:
        return respond(200, {"status": "alive"})

    def _readyz(self) -> bottle.HTTPResponse:
        if not self._offload.connected:
            raise Problem(503, "The front end is not connected to the messaging server.")
        if not self._offload.ready:
            raise Problem(503, "The messaging server has not confirmed yet where replies to the front end go.")
        return respond(200, {"status": "ready"})

    def _get_metrics(self) -> bottle.HTTPResponse:
        who = self._settings.metrics
        local = who == "loopback" and origin.is_local(bottle.request.environ, self._settings.proxies)
        if who != "all" and not local:
            raise Problem(404, "There is nothing here for you: FRONTEND_METRICS says who may see the metrics.")
        headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"}
        return bottle.HTTPResponse(self._metrics.text(), 200, headers)

    def _error(self, error: bottle.HTTPError) -> bottle.HTTPResponse:
        """Turn the errors of Bottle itself into JSON."""
        path, method = shown(bottle.request.path), shown(bottle.request.method)
        allow = {}
        match error.status_code:
            case 404:
                reason = f"There is nothing at {path}: the page is at /, the words at /rest/words."
            case 405:
                methods = {*error.get_header("Allow").split(","), "OPTIONS"}
                allow = {"Allow": ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))}
                if bottle.request.method == "OPTIONS":
                    return respond(204, **allow)
                reason = f"{path} does not take {method}, but {allow['Allow']}."
            case 416:
                reason = "The range is not within the file."
            case 500:
                reason = "The front end failed; its log says why."
            case _:
                reason = f"The request cannot be served ({error.status_line})."
        return respond(error.status_code, {"error": reason}, **allow)
