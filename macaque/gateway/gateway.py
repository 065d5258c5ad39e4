"""The gateway: an application of WSGI that lets allowed callers use allowed topics, within limits.

The rules of this file:

* The checks come in a fixed order: host, path, caller, rate, origin, topic, places. A request that fails one of them
  never reaches the broker.
* `macaque.http` makes the call and its answer. A stream takes another place than a call, since it may last for hours.
* An idempotency key belongs to its caller. So no caller gets the results of another one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from werkzeug.middleware.proxy_fix import ProxyFix

from macaque.call import Call
from macaque.client import Client
from macaque.errors import MacaqueError
from macaque.gateway import cors, files, visitor
from macaque.gateway.allowed import Allowed
from macaque.gateway.connections import Body, watch
from macaque.gateway.described import Described
from macaque.gateway.places import Places
from macaque.gateway.rates import Rates
from macaque.gateway.services import Services
from macaque.gateway.settings import Settings
from macaque.gateway.streams import Heard, Held, Streams, is_events
from macaque.gateway.subscriptions import Subscriptions
from macaque.gateway.tokens import Caller, Tokens
from macaque.http import events
from macaque.http.answer import Answer, Header, Problem, problem_of
from macaque.http.request import Limits, topic_of
from macaque.http.wsgi import Wsgi
from mqlight.amqp.text import printable
from mqlight.amqp.topics import TopicError, validate_pattern
from mqlight.log import Log

__all__ = ["Gateway"]

log = Log(__name__)

Environ = dict[str, Any]
Start = Callable[..., Any]

ANYONE = Caller("anyone")
BODY_SECONDS = 20.0
"""Seconds in which the body of a request has to arrive."""
PIECE = 64 * 1024
STOPPING = Problem(503, "The gateway is stopping. Connect again.", retryable=True)
GONE = Problem(503, "The caller is gone.")
SECURITY: tuple[Header, ...] = (
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
DEFAULT: tuple[Header, ...] = (
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cache-Control", "no-store"),
)
"""Headers of an answer that has no such header of its own."""


class Gateway:
    """The application of WSGI.

    Args:
        settings: the settings, which were checked.
        client: the client that calls the services.
        tokens: the tokens of callers. Without any, callers need none.
        subscriptions: the subscriptions to messages.
    """

    def __init__(self, settings: Settings, client: Client, tokens: Tokens, subscriptions: Subscriptions) -> None:
        self.client = client
        self.streams = Streams(settings.streams)
        self.services = Services(client)
        self.count: Callable[[str], object] = lambda status: None
        """Is called with the status of each answer."""
        self._tokens = tokens
        self._subscriptions = subscriptions
        self._needs_token = bool(tokens)
        self._is_private = not self._needs_token and not settings.public
        """Whether only programs of this machine may call."""
        hosts = _lower(settings.hostnames)
        self._hosts = (*hosts, *visitor.LOCAL) if self._is_private or hosts else ()
        self._origins = _lower(settings.cors)
        self._allowed = Allowed(settings.allow, settings.subscribe)
        self._rates = Rates(settings.rate)
        self._places = Places(settings.calls, "calls")
        self._files = None if settings.page is None else files.Files(Path(settings.page))
        self._described = Described(self.services, self._needs_token) if settings.docs and not settings.page else None
        limits = Limits(settings.timeout, max(settings.timeout, settings.stream_timeout), settings.max_body)
        self._calls = Wsgi(self.services, limits, _cancel_without_caller)
        trusted = min(settings.proxies, 1)
        self._proxied = ProxyFix(self._serve, x_for=settings.proxies, x_proto=trusted, x_host=trusted)

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        answer: Iterable[bytes] = self._proxied(environ, start_response)
        return answer

    def end_streams(self) -> None:
        """Let all streams end with an event, because the gateway stops."""
        self.streams.end(STOPPING)

    def close(self) -> None:
        """Disconnect from the broker."""
        self.end_streams()
        self._subscriptions.close()
        self.client.close()

    def _serve(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        start = self._starting(environ, start_response)
        try:
            return self._answer(environ, start)
        except MacaqueError as error:
            answer = problem_of(error).answer
        except Exception:
            log.exception("a request failed: %s", printable(environ.get("PATH_INFO", ""), 200))
            answer = Problem(500, "The request failed.").answer
        return _send(answer, environ, start)

    def _starting(self, environ: Environ, start_response: Start) -> Start:
        """Return the `start_response` that adds the headers of every answer, and logs the request."""
        began = time.monotonic()

        def start(status: str, headers: list[Header], exc_info: Any = None) -> Any:
            own = {name.lower() for name, _ in headers}
            added = [*SECURITY, *(each for each in DEFAULT if each[0].lower() not in own)]
            if environ["wsgi.url_scheme"] == "https":
                added.append(("Strict-Transport-Security", "max-age=31536000"))
            added += cors.headers(environ, self._origins)
            self.count(status[:3])
            caller = environ.get("macaque.caller", ANYONE)
            log.debug(
                "%s %s %s %.1f ms, %s at %s", environ["REQUEST_METHOD"], printable(environ.get("PATH_INFO", ""), 200),
                status[:3], (time.monotonic() - began) * 1000, caller.name, visitor.address(environ),
            )  # fmt: skip
            return start_response(status, [*headers, *added], *([exc_info] if exc_info else []))

        return start

    def _answer(self, environ: Environ, start: Start) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        visitor.check_host(environ, self._hosts)
        visitor.check_path(environ)
        if self._is_private:
            visitor.check_direct(environ)
        if (answer := cors.preflight(environ, self._origins)) is not None:
            return _send(answer, environ, start)
        if self._files is not None and method in ("GET", "HEAD"):
            if (file := self._files.find(path, environ)) is not None:
                return file(environ, lambda status, headers, *rest: start(status, [*headers, *files.HEADERS], *rest))
        caller = environ["macaque.caller"] = self._caller(environ)
        allowed = self._allowed.part(caller.patterns)
        describe = None if self._described is None else self._described.find(environ)
        if describe is not None and path == "/":  # also for those who follow a link of another site
            return _send(describe(allowed), environ, start)
        if visitor.is_foreign(environ, self._origins):
            raise Problem(403, "A page of another site sent the request: allow its origin with --cors.")
        if describe is not None:
            return _send(describe(allowed), environ, start)
        topic = topic_of(path.encode("latin-1"))
        if method == "GET" and "text/event-stream" in environ.get("HTTP_ACCEPT", "").lower():
            try:
                validate_pattern(topic)
            except TopicError as error:
                raise Problem(400, str(error)) from error
            if allowed.may_subscribe(topic):
                return self._listen(topic, caller, environ, start)
        if not self._allowed.may_call(topic) or self.services.at(topic) != topic:
            topic = f"/{topic}"  # the topic begins with a slash too
            environ["PATH_INFO"] = f"/{topic}"
        if not self._allowed.may_call(topic):
            raise Problem(404, f"There is no topic {printable(topic, 200)} here.")
        if not allowed.may_call(topic):
            raise Problem(403, f"The token of {caller.name} is not for {printable(topic, 200)}.")
        return self._call(topic, caller, environ, start)

    def _caller(self, environ: Environ) -> Caller:
        """Return the caller of a request, counted. Raises Problem 401 or 429."""
        address = visitor.address(environ)
        if not self._needs_token:
            self._rates.hit(address)
            return ANYONE
        try:
            token = visitor.bearer(environ)
            if token is None:
                raise visitor.unauthorized("The request needs a token: Authorization: Bearer TOKEN.")
            caller = self._tokens.find(token)
            if caller is None:
                raise visitor.unauthorized("The token is not valid.", "invalid_token")
        except Problem:
            self._rates.hit(address)
            raise
        self._rates.hit(f"token of {caller.name}")
        return caller

    def _call(self, topic: str, caller: Caller, environ: Environ, start: Start) -> Iterable[bytes]:
        """Let `macaque.http` call the service."""
        key = environ.get("HTTP_IDEMPOTENCY_KEY")
        if key is not None and caller is not ANYONE:
            quote = '"' if key.startswith('"') else ""
            environ["HTTP_IDEMPOTENCY_KEY"] = f"{quote}{caller.name}:{key.removeprefix(quote)}"
        environ["wsgi.input"] = Body(environ["wsgi.input"], BODY_SECONDS)
        told: list[tuple[str, list[Header]]] = []
        self._places.take()
        try:
            if environ["REQUEST_METHOD"] != "POST":
                self.services.look(topic)
            body: Any = self._calls(environ, lambda status, headers, *_: told.append((status, headers)))
        finally:
            environ.pop("macaque.watch", _nothing)()
            self._places.free()
        status, headers = told[0]
        if is_events(headers) and environ["REQUEST_METHOD"] != "HEAD":
            return self._hold(body, headers, caller, environ, start)
        start(status, headers)
        return _pieces(body)

    def _listen(self, pattern: str, caller: Caller, environ: Environ, start: Start) -> Iterable[bytes]:
        """Send the messages to a topic, or to the topics of a pattern, as events."""
        self._places.take()
        try:
            listener = self._subscriptions.listen(pattern)
        finally:
            self._places.free()
        heard = Heard(listener, partial(self._subscriptions.leave, pattern, listener))
        return self._hold(heard, list(events.HEADERS), caller, environ, start)

    def _hold(self, source: Any, headers: list[Header], caller: Caller, environ: Environ, start: Start) -> Held:
        held = self.streams.hold(source, partial(self._tokens.still_valid, caller))
        try:
            held.on_close(watch(environ, partial(held.end, GONE)))
            start("200 OK", headers)
        except BaseException:
            held.close()
            raise
        return held


def _cancel_without_caller(environ: Environ, call: Call[Any]) -> None:
    """Cancel a call when its caller is gone."""
    environ["macaque.watch"] = watch(environ, call.cancel)


def _lower(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of hosts as browsers write them."""
    return tuple(name.lower() for name in names)


def _nothing() -> None:
    """End no watch."""


def _pieces(body: Iterable[bytes]) -> list[bytes]:
    """Return a body in pieces. The server gives a slow caller a time for each of them."""
    return [part[at : at + PIECE] for part in body for at in range(0, len(part), PIECE)]


def _send(answer: Answer, environ: Environ, start: Start) -> list[bytes]:
    start(answer.line, list(answer.headers))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]
