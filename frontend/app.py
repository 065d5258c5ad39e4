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
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import bottle
import gevent
import msgspec
from bottle import HTTPResponse, request
from gevent.monkey import get_original
from gunicorn.http.errors import ParseException
from msgspec import Meta
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from werkzeug.middleware.proxy_fix import ProxyFix

import macaque
from frontend import command, metrics, security
from frontend.inbox import Full
from frontend.offload import Offload
from frontend.security import SECURITY_HEADERS, STRICT_TRANSPORT, Problem, respond, shown
from frontend.settings import Settings
from macaque.gateway import visitor

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "static"
DESIGN = Path(str(files("mqlight.server.console") / "static" / "design.css"))
"""The style sheet that the page shares with the server's console."""
MAX_BODY = 65_536
MAX_WORD = 1000
BODY_SECONDS = 20.0
MOST, MAX_MOST = 200, 1000  # replies in a response
GATHER_SECONDS = 0.01  # a poll with a reply waits for this time while words are out, so that one response has all
HEARTBEAT, STREAM_SECONDS = 10.0, 60.0  # seconds between comments in a stream of events, and until the stream ends
NOT_CONNECTED = (
    "The front end is not connected to the broker, so nothing was sent. "
    "Is it running (python -m mqlight.server), and is MACAQUE_BROKER its address?"
)
HEALTH = ("/healthz", "/readyz")  # for every host name and without a rate limit, because health checks must get through
JSON = re.compile(r'application/json\s*(;\s*charset="?utf-?8"?\s*)?', re.IGNORECASE)


class Sentence(msgspec.Struct):
    """The body of POST /rest/words."""

    words: str


class Query(msgspec.Struct):
    """The query of a request for replies."""

    after: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    most: Annotated[int, Meta(ge=1, le=MAX_MOST)] = MOST
    wait: Annotated[float, Meta(ge=0, le=30)] = 0.0


def application() -> Frontend:
    """Return the WSGI application of gunicorn's worker. Its client connects to the broker."""
    settings, client = Settings.of(os.environ), macaque.Client()
    client.start()
    offload = Offload(client, settings)
    metrics.observe(client, offload.inboxes, lambda: offload.polls)
    return Frontend(offload, settings)


def body() -> bytes:
    """Return the request's body. Raises Problem 400, 408, 411 or 413."""
    length = request.content_length
    if length < 0 and "HTTP_TRANSFER_ENCODING" not in request.environ:
        raise Problem(411, 'The request has no body: send {"words": "some sentence"} with a Content-Length.')
    try:
        with gevent.Timeout(BODY_SECONDS, Problem(408, f"The body did not come within {BODY_SECONDS:g} seconds.")):
            data = b"" if length > MAX_BODY else request.environ["wsgi.input"].read(MAX_BODY + 1)
    except (OSError, ParseException) as error:
        raise Problem(400, "The chunks of the body are malformed.") from error
    if max(length, len(data)) > MAX_BODY:
        raise Problem(413, f"The body is larger than {MAX_BODY} bytes: send the sentence in parts.")
    if len(data) < length:
        raise Problem(400, "The body ends early.")
    return data


def sentence(max_words: int) -> list[str]:
    """Return the words of the request's body. Raises Problem 400, 408, 411, 413 or 415."""
    data, kind = body(), request.get_header("Content-Type", "")
    if not JSON.fullmatch(kind):
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
    """Return the request's query. Raises Problem 400."""
    last = request.get_header("Last-Event-ID")  # sent by a browser whose stream of events has ended
    try:
        return msgspec.convert({**request.query, **({"after": last} if last else {})}, Query, strict=False)
    except msgspec.ValidationError as error:
        raise Problem(400, f"The query {shown(request.query_string)} is not valid: {error}.") from error


def is_open(environ: dict[str, Any]) -> bool:
    """Return whether the client is still connected, as far as this end can know without waiting."""
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
        self._settings = settings
        self._hosts = security.known_hosts(settings.hosts, os.environ)
        self._sessions = security.Sessions(settings.secret)
        self._rates = security.Rates()
        routes, trusted = bottle.Bottle(), min(settings.proxies, 1)
        self._proxied = ProxyFix(routes, x_for=settings.proxies, x_proto=trusted, x_host=trusted)
        routes.default_error_handler = self._error
        routes.add_hook("before_request", self._check)
        # One route for each file, and no route from the names in a request: so no request can leave the folder.
        assets = [DESIGN, *(path for path in static.iterdir() if path.is_file() and not path.is_symlink())]
        for path, handler in {
            **{f"/{file.name}": partial(self._asset, file) for file in assets},
            "/": partial(self._page, static / "index.html"),
            "/rest/wordsuppercase": self._get_words,
            "/rest/words/events": self._events,
            "/rest/worker": self._worker,
            "/healthz": lambda: respond(200, {"status": "alive"}),
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }.items():
            routes.route(path, "GET", handler)
        routes.route("/rest/words", "POST", self._post_words)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        began = time.monotonic()

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            route = environ["bottle.route"].rule if "bottle.route" in environ else "none"
            metrics.requests.labels(route, status[:3]).inc()
            metrics.seconds.labels(route).observe(time.monotonic() - began)
            strict = [STRICT_TRANSPORT] if environ["wsgi.url_scheme"] == "https" else []
            return start_response(status, [*headers, *SECURITY_HEADERS, *strict], exc_info)

        return self._proxied(environ, start)

    def _check(self) -> None:
        """Refuse an invalid request before any route gets it."""
        path = request.environ["bottle.raw_path"]
        if path not in HEALTH:
            address = visitor.address(request.environ)
            self._rates.hit(self._settings.rate_per_address, "address (FRONTEND_RATE_PER_ADDRESS)", address)
            security.check_host(request.environ, self._hosts)
        if request.environ["PATH_INFO"].encode().decode("latin-1") != path:
            raise Problem(400, f"The path {shown(path)} is not UTF-8: escape its bytes as in %C3%A9.")

    def _caller(self, hit: bool = True) -> str:
        """Return the session of a REST call, counted if `hit`. Raises Problem 403 or 429."""
        if visitor.is_foreign(request.environ):
            raise Problem(403, "The request came from a page of another site: open this site's own page at /.")
        session = self._sessions.of(request.environ, security.cookie_name(request.environ))
        if session is None:  # the client gets no new session here, because two requests at once would get two sessions
            reason = "The session of this cookie is unknown here (was the front end restarted?): get a new one at /."
            raise Problem(403, reason, code="unknown-session")
        if hit and session != security.COMMON:
            self._rates.hit(self._settings.rate_per_session, "browser (FRONTEND_RATE_PER_SESSION)", session)
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
        session, words = self._caller(), sentence(self._settings.max_words)
        if not self.offload.client.connected:
            raise Problem(503, NOT_CONNECTED)
        try:
            self.offload.submit(session, words)
        except Full as error:
            raise Problem(429 if error.mine else 503, str(error), Retry_After="5") from error
        return respond(200, {"msgCount": len(words)})

    def _get_words(self) -> HTTPResponse:
        session, asked = self._caller(hit=False), query()
        after, fetch = asked.after or 0, partial(self.offload.fetch, session)
        if request.method == "HEAD":
            self._caller()
            found = fetch(after, asked.most)
        elif asked.after is None:  # the reply is forgotten when it goes out to a client that is still connected
            if not fetch(0, 1):
                self._caller()
            found = fetch(0, 1, asked.wait, partial(is_open, request.environ))
        else:
            if not self.offload.forget(session, after):
                self._caller()
            found = fetch(after, asked.most, asked.wait)
            if asked.wait and 0 < len(found) < asked.most and self.offload.inboxes.of(session).out:
                time.sleep(GATHER_SECONDS)
                found = fetch(after, asked.most)
        waiting = self.offload.inboxes.of(session).waiting
        if asked.after is not None:
            to_come = max(0, waiting - sum(not reply.again for reply in found))
            return respond(200, {"replies": found, "out": to_come})
        reply = msgspec.structs.replace(found[0], id=0) if found else None
        return respond(200 if found else 204, reply, Words_Waiting=str(waiting))

    def _events(self) -> HTTPResponse:
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return HTTPResponse(self._stream(self._caller(), query().after or 0), 200, headers)

    def _stream(self, session: str, after: int) -> Iterator[bytes]:
        """Yield the replies after the number `after` as events, up to MAX_MOST, for at most STREAM_SECONDS."""
        yield b"retry: 250\n\n"  # a HEAD request runs no more than this
        self.offload.forget(session, after)
        until, most = time.monotonic() + STREAM_SECONDS, MAX_MOST
        while most and (left := until - time.monotonic()) > 0 and not self.offload.closed:
            found = self.offload.fetch(session, after, most, min(HEARTBEAT, left))
            encoded = ((reply.id, msgspec.json.encode(msgspec.structs.replace(reply, id=0))) for reply in found)
            yield b"".join(b"id: %d\ndata: %b\n\n" % each for each in encoded) or b":\n\n"
            after, most = found[-1].id if found else after, most - len(found)

    def _worker(self) -> HTTPResponse:
        self._caller()
        if security.is_local(request.environ, self._settings.proxies) or "VCAP_APPLICATION" in os.environ:
            worker = command.worker(os.environ, sys.executable, str(ROOT))
            return respond(200, worker | command.console(self.offload.client.broker_properties))
        return respond(200, command.ANYWHERE)

    def _readyz(self) -> HTTPResponse:
        if not self.offload.client.connected:
            raise Problem(503, NOT_CONNECTED)
        if not self.offload.client.ready:
            raise Problem(503, "The broker has not confirmed yet where replies to the front end go.")
        return respond(200, {"status": "ready"})

    def _metrics(self) -> HTTPResponse:
        if visitor.is_foreign(request.environ):
            raise Problem(403, "The request came from a page of another site, which may not read the metrics.")
        open_to, is_local = self._settings.metrics, security.is_local(request.environ, self._settings.proxies)
        if open_to == "off" or open_to == "loopback" and not is_local:
            raise Problem(404, "Metrics are not available from this address (FRONTEND_METRICS).")
        return HTTPResponse(
            generate_latest(metrics.REGISTRY), Content_Type=CONTENT_TYPE_LATEST, Cache_Control="no-store"
        )

    def _error(self, error: bottle.HTTPError) -> HTTPResponse:
        """Return the JSON response for an error of Bottle itself."""
        path, status = shown(request.environ["PATH_INFO"]), error.status_code
        if status == 404:
            return Problem(404, f"There is nothing at {path}: the page is at /, the words at /rest/words.")
        if status != 405:
            return Problem(status, f"The request cannot be served ({error.status_line}).")
        taken = {*error.get_header("Allow").split(","), "OPTIONS"}
        allow = ", ".join(sorted(taken | {"HEAD"} if "GET" in taken else taken))
        if request.method == "OPTIONS":
            return respond(204, Allow=allow)
        return Problem(405, f"{path} does not take {shown(request.method)}, but {allow}.", Allow=allow)
