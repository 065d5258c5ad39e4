"""The HTTP side: the page, its assets, and the REST calls of docs/web.md. Every error is `{"error": "a sentence"}`."""

from __future__ import annotations

import os
import re
import select
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import bottle
import gevent
import msgspec
from bottle import HTTPResponse, request
from gevent.monkey import get_original
from gunicorn.http.errors import ParseException
from msgspec import Meta
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from werkzeug.middleware.proxy_fix import ProxyFix

import macaque
from frontend import command, metrics, security
from frontend.inbox import Full
from frontend.offload import Offload
from frontend.reply import Reply
from frontend.security import Problem, respond, shown
from frontend.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "static"
MAX_BODY = 65_536
MAX_WORD = 1000
BODY_SECONDS = 20.0
MOST, MAX_MOST = 200, 1000  # replies in a response
GATHER_SECONDS = 0.01  # that a poll with a reply waits for more, if others are to come: one response has them all
HEARTBEAT, STREAM_SECONDS = 10.0, 60.0  # between comments in a stream of events, and until it ends
NOT_CONNECTED = (
    "The front end is not connected to the messaging server, so nothing was sent. "
    "Is the server running (python -m mqlight.server), and is MACAQUE_BROKER its address?"
)
HEALTH = ("/healthz", "/readyz")  # for every host name and without a rate: a health check must not be put off


class Sentence(msgspec.Struct):
    """The body of POST /rest/words."""

    words: str


class Query(msgspec.Struct):
    """The query of the requests for replies."""

    after: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    most: Annotated[int, Meta(ge=1, le=MAX_MOST)] = MOST
    wait: Annotated[float, Meta(ge=0, le=30)] = 0.0


def application() -> Frontend:
    """Return the application of gunicorn's worker; its client connects to the messaging server."""
    settings = Settings.of(os.environ)
    client = macaque.Client()
    client.start()
    offload = Offload(client, settings)
    metrics.observe(offload)
    return Frontend(offload, settings)


def body() -> bytes:
    """Return the request's body; raise Problem 400, 408, 411 or 413."""
    length = request.environ.get("CONTENT_LENGTH", "")
    if not length and "HTTP_TRANSFER_ENCODING" not in request.environ:
        raise Problem(411, 'The request has no body: send {"words": "some sentence"} with a Content-Length.')
    data = bytes(MAX_BODY + 1)
    if int(length or 0) <= MAX_BODY:
        with gevent.Timeout(BODY_SECONDS, Problem(408, f"The body did not come within {BODY_SECONDS:g} seconds.")):
            try:
                data = request.environ["wsgi.input"].read(MAX_BODY + 1)
            except (OSError, ParseException) as error:
                raise Problem(400, "The chunks of the body are malformed.") from error
    if len(data) < int(length or 0) <= MAX_BODY:
        raise Problem(400, "The body ends early.")
    if len(data) > MAX_BODY:
        raise Problem(413, f"The body is larger than {MAX_BODY} bytes: send the sentence in parts.")
    return data


def sentence(max_words: int) -> list[str]:
    """Return the words of the request's body; raise Problem 400, 408, 411, 413 or 415."""
    data, kind = body(), request.get_header("Content-Type", "")
    if not re.fullmatch(r'application/json\s*(;\s*charset="?utf-?8"?\s*)?', kind, re.IGNORECASE):
        raise Problem(415, f'The body is {shown(kind)}: send JSON, with "Content-Type: application/json" (curl -H).')
    try:
        words = msgspec.json.decode(data, type=Sentence).words.split()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f'The body is not valid ({error}): send {{"words": "some sentence"}}.') from error
    if not words:
        raise Problem(400, "Write at least one word.")
    if len(words) > max_words:
        limit = f"more than {max_words:,} (FRONTEND_MAX_WORDS)"
        raise Problem(413, f"The sentence has {len(words):,} words, {limit}: send it in parts.")
    if (longest := max(map(len, words))) > MAX_WORD:
        raise Problem(413, f"A word has {longest:,} characters, more than {MAX_WORD:,}: send shorter ones.")
    return words


def query() -> Query:
    """Return the request's query; raise Problem 400."""
    try:
        return msgspec.convert(dict(request.query), Query, strict=False)
    except msgspec.ValidationError as error:
        raise Problem(400, f"The query {shown(request.query_string)} is not valid: {error}.") from error


def is_open(environ: dict[str, Any]) -> bool:
    """Return whether the client is still there, as far as this end can know without waiting."""
    connection, waiting = environ["gunicorn.socket"], get_original("select", "poll")()
    waiting.register(connection, select.POLLIN)
    try:
        return not waiting.poll(0) or connection.recv(1, socket.MSG_PEEK) != b""
    except OSError:
        return False


class Frontend:
    """The WSGI application, over one Offload."""

    def __init__(self, offload: Offload, settings: Settings, static: Path = STATIC) -> None:
        self.offload = offload
        self.settings = settings
        self._hosts = security.known_hosts(settings.hosts, os.environ)
        self._sessions = security.Sessions(settings.secret)
        self._by_session = security.Rate(settings.rate_per_session, "browser (FRONTEND_RATE_PER_SESSION)")
        self._by_address = security.Rate(settings.rate_per_address, "address (FRONTEND_RATE_PER_ADDRESS)")
        trusted = min(settings.proxies, 1)
        self._proxied = ProxyFix(self._serve, x_for=settings.proxies, x_proto=trusted, x_host=trusted)
        self._bottle = bottle.Bottle()
        self._bottle.default_error_handler = self._error
        self._bottle.add_hook("before_request", self._check)
        # A route for each file, and none for names that a request makes up: there is no path to climb out by.
        files = [path for path in static.iterdir() if path.is_file() and not path.is_symlink()]
        for path, handler in {
            **{f"/{file.name}": partial(self._asset, file) for file in files},
            "/": partial(self._page, static / "index.html"),
            "/rest/wordsuppercase": self._get_words,
            "/rest/words/events": self._events,
            "/rest/worker": self._worker,
            "/healthz": lambda: respond(200, {"status": "alive"}),
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }.items():
            self._bottle.route(path, "GET", handler)
        self._bottle.route("/rest/words", "POST", self._post_words)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self._proxied(environ, start_response)

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        began, safe = time.monotonic(), security.headers(environ)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            found = environ.get("bottle.route")
            metrics.answered(found.rule if found else "none", status[:3], time.monotonic() - began)
            return start_response(status, [*headers, *safe], exc_info)

        answer: Iterable[bytes] = self._bottle(environ, start)
        return answer

    def _check(self) -> None:
        """Refuse a request that no route should see."""
        path = request.environ["bottle.raw_path"]
        if path not in HEALTH:
            self._by_address.hit(security.address(request.environ))
            security.check_host(request.environ, self._hosts)
        try:
            path.encode("latin-1").decode()
        except UnicodeDecodeError:
            raise Problem(400, f"The path {shown(path)} is not UTF-8: escape its bytes as in %C3%A9.") from None

    def _caller(self, hit: bool = True) -> str:
        """Return the session of a REST call, counted if `hit`; raise Problem 403 or 429."""
        if security.is_foreign(request.environ):
            raise Problem(403, "The request came from a page of another site: open this site's own page at /.")
        session = self._sessions.of(request.environ, security.cookie_name(request.environ))
        if session is None:  # it gets no new one here, for two requests at once would get two
            reason = "The session of this cookie is unknown here (was the front end restarted?): get a new one at /."
            raise Problem(403, reason, code="unknown-session")
        if hit and session != security.COMMON:
            self._by_session.hit(session)
        return session

    def _asset(self, file: Path) -> HTTPResponse:
        return bottle.static_file(file.name, root=str(file.parent), headers={"Cache-Control": "no-cache"})

    def _page(self, file: Path) -> HTTPResponse:
        response, name = self._asset(file), security.cookie_name(request.environ)
        if not self._sessions.of(request.environ, name):
            secure = name.startswith("__Host-")
            response.set_cookie(name, self._sessions.make(), path="/", httponly=True, samesite="lax", secure=secure)
        return response

    def _post_words(self) -> HTTPResponse:
        session = self._caller()
        words = sentence(self.settings.max_words)
        if not self.offload.client.connected:
            raise Problem(503, NOT_CONNECTED)
        try:
            self.offload.submit(session, words)
        except Full as error:
            raise Problem(429 if error.mine else 503, str(error), Retry_After="5") from error
        return respond(200, {"msgCount": len(words)})

    def _get_words(self) -> HTTPResponse:
        session, asked = self._caller(hit=False), query()
        listed, after, wait = asked.after is not None, asked.after or 0, asked.wait
        fetch = partial(self.offload.fetch, session, after, asked.most if listed else 1)
        if request.method == "HEAD":
            brings, wait = False, 0.0
        elif listed:
            brings = self.offload.forget(session, after) > 0
        else:
            brings = bool(fetch())
            fetch = partial(fetch, forget_if=partial(is_open, request.environ))
        if not brings:
            self._caller()
        found = fetch(wait=wait) or []
        if listed and wait and 0 < len(found) < asked.most and self._to_come(session, found):
            time.sleep(GATHER_SECONDS)
            found = fetch() or []
        waiting = str(self.offload.inboxes.waiting(session))
        if listed:
            return respond(200, {"replies": found, "out": self._to_come(session, found)}, Words_Waiting=waiting)
        reply = msgspec.structs.replace(found[0], id=0) if found else None
        return respond(200 if reply else 204, reply, Words_Waiting=waiting)

    def _to_come(self, session: str, found: list[Reply]) -> int:
        """Return how many words of the session are still to come after these replies."""
        return max(0, self.offload.inboxes.waiting(session) - sum(not reply.again for reply in found))

    def _events(self) -> HTTPResponse:
        session, after = self._caller(), query().after or 0
        if re.fullmatch(r"[0-9]{1,16}", last := request.get_header("Last-Event-ID", "")):
            after = int(last)
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        if request.method == "HEAD":
            return HTTPResponse(b"", 200, headers)
        self.offload.forget(session, after)
        return HTTPResponse(self._stream(session, after), 200, headers)

    def _stream(self, session: str, after: int) -> Iterator[bytes]:
        """Yield the replies after that number as events, until many are not confirmed, or it is time."""
        yield b"retry: 250\n\n"
        until, given, wait = time.monotonic() + STREAM_SECONDS, list[Reply](), 0.0
        while len(given) < MAX_MOST and (left := until - time.monotonic()) > 0:
            found = self.offload.fetch(session, after, MOST, min(wait, left))
            if found is None:
                return
            for reply in found:
                yield b"id: %d\ndata: %b\n\n" % (reply.id, msgspec.json.encode(msgspec.structs.replace(reply, id=0)))
                after = reply.id
            given += found
            yield b"event: out\ndata: %d\n\n" % self._to_come(session, given) if found or not wait else b":\n\n"
            wait = HEARTBEAT

    def _worker(self) -> HTTPResponse:
        self._caller()
        if security.is_local(request.environ, self.settings.proxies) or "VCAP_APPLICATION" in os.environ:
            return respond(200, command.worker(os.environ, sys.executable, str(ROOT)))
        return respond(200, command.ANYWHERE)

    def _readyz(self) -> HTTPResponse:
        if not self.offload.client.connected:
            raise Problem(503, NOT_CONNECTED)
        if not self.offload.client.ready:
            raise Problem(503, "The messaging server has not confirmed yet where replies to the front end go.")
        return respond(200, {"status": "ready"})

    def _metrics(self) -> HTTPResponse:
        if security.is_foreign(request.environ):
            raise Problem(403, "The request came from a page of another site, which may not read the metrics.")
        open_to, is_local = self.settings.metrics, security.is_local(request.environ, self.settings.proxies)
        if open_to == "off" or open_to == "loopback" and not is_local:
            raise Problem(404, "Metrics are not available from this address (FRONTEND_METRICS).")
        return HTTPResponse(metrics.text(), 200, {"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})

    def _error(self, error: bottle.HTTPError) -> HTTPResponse:
        """Turn the errors of Bottle itself into JSON."""
        path, status = shown(request.environ["PATH_INFO"]), error.status_code
        if status == 405:
            taken = {*error.get_header("Allow").split(","), "OPTIONS"}
            allow = ", ".join(sorted(taken | {"HEAD"} if "GET" in taken else taken))
            if request.method == "OPTIONS":
                return respond(204, Allow=allow)
            return Problem(405, f"{path} does not take {shown(request.method)}, but {allow}.", Allow=allow)
        nothing = f"There is nothing at {path}: the page is at /, the words at /rest/words."
        return Problem(status, nothing if status == 404 else f"The request cannot be served ({error.status_line}).")
