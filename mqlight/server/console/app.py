"""The console over HTTP: pages, a JSON API, and a stream of frames for open pages.

gevent's HTTP server, which is installed anyway, runs it on the server's event loop. It listens on the loopback address
only. Bottle does the routing.
"""

from __future__ import annotations

import functools
import logging
import secrets
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import bottle
import gevent
import msgspec
from bottle import HTTPResponse, request
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

from mqlight.server.console import PORT, web
from mqlight.server.console.acting import Acting
from mqlight.server.console.frames import FRAME, Frames
from mqlight.server.console.history import MEMORY, History
from mqlight.server.console.query import QueryError, parse
from mqlight.server.console.reading import Reading
from mqlight.server.console.sessions import COOKIE, Reader, Sessions
from mqlight.server.console.views import Views
from mqlight.server.listener import Listener
from mqlight.server.users import UsersFile

log = logging.getLogger(__name__)

PORTS = 20
"""The number of ports to try, from the first one on, if no port was asked for."""
PAGES = ("messages", "calls", "services", "clients", "destinations", "dead", "topics", "learn")
CONNECTIONS = 64
_NEAR = {"127.0.0.1", "localhost", "[::1]"}


class Console:
    """The console of one server.

    Args:
        listener: The server's listener.
        users: The users that may read. Without it every user of this machine may read.
        admin: Whether every reader may act: send, replay, purge and drop.
        hidden: Whether to hide the bodies of messages.
        hosts: Further host names of the console, behind a proxy.
        memory: Bytes that the history may take.
        url: The server's URL, for the commands that the page shows.
    """

    def __init__(
        self,
        listener: Listener,
        *,
        users: UsersFile | None = None,
        admin: bool = False,
        hidden: bool = False,
        hosts: Iterable[str] = (),
        memory: int = MEMORY,
        url: str = "",
    ) -> None:
        self.history = History(memory)
        self.sessions = Sessions(users, admin=admin, hidden=hidden)
        self._listener = listener
        self._broker = listener.broker
        offset = time.time() - time.monotonic()
        self.views = Views(
            listener.broker, self.history, lambda: listener.clients, secrets.token_hex(3), offset, Random()
        )
        self._url = url
        self._hosts = {*_NEAR, *hosts}
        self._cookie = COOKIE
        self._frames = Frames(self.views, self.sessions)
        self._server: WSGIServer | None = None
        self._clock: Any = None
        self._bottle = bottle.Bottle()
        self._bottle.default_error_handler = self._error
        self._route()

    # Start and end

    def start(self, port: int | None) -> int:
        """Listen on a port of the loopback address, and watch the broker. Return the port.

        Without ``port`` it is 9180, or the next free one.

        Raises:
            OSError: The port is in use, or no port is free.
        """
        sock = _listen(port)
        self._broker.observer = self.history
        self.history.tick(time.monotonic(), watched=False)
        for destination in self._broker.destinations.values():
            self.history.added(destination)
        self._server = WSGIServer(sock, self, log=None, spawn=Pool(CONNECTIONS))
        self._server.start()
        self._clock = gevent.spawn(self._tick)
        found = int(sock.getsockname()[1])
        self._cookie = f"{COOKIE}-{found}"
        return found

    def close(self) -> None:
        """End all pages. May be called twice."""
        server, self._server = self._server, None
        if server is not None:
            self._frames.over = True
            self._broker.observer = None
            self._clock.kill()
            server.stop(timeout=0.2)

    def _tick(self) -> None:
        second_at = float("-inf")
        while True:
            now, watched = time.monotonic(), self._frames.watching > 0
            try:
                self.history.tick(now, watched=watched)
                self.views.demo.tick(now)
                if self.views.services.tick(now) or self.views.demo.running:
                    self._listener.flush()
                if now - second_at >= 1.0:
                    second_at = now
                    self.views.second(now, watched=watched)
            except Exception:
                log.exception("a fault of the console")
            gevent.sleep(FRAME)

    # HTTP

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            given = {name.title() for name, _ in headers}
            ours = [each for each in web.HEADERS.items() if each[0] not in given]
            return start_response(status, headers + ours, exc_info)

        answer: Iterable[bytes] = self._bottle(environ, start)
        return answer

    def _route(self) -> None:
        add = self._bottle.route
        for file in web.STATIC.iterdir():  # one route per file, so that a request cannot name any other file
            add(f"/{file.name}", "GET", functools.partial(web.asset, file.name))
        for path in (
            "",
            *PAGES,
            "messages/<rest>",
            "destinations/<rest>",
            "calls/<rest>",
            "clients/<rest:path>",
            "services/<rest:path>",
        ):
            add(f"/{path}", "GET", lambda rest="": self._checked(lambda: web.asset("index.html")))
        reads, acts = Reading(self._listener, self.views), Acting(self._listener, self.history, self.views)
        for (path, method), name in ROUTES.items():
            handler = getattr(self, name, None) or getattr(reads if method == "GET" else acts, name)
            run = self._read if method == "GET" else self._act if path not in _OPEN else self._checked
            add(path, method, functools.partial(run, handler))

    def _error(self, error: Any) -> str:
        """Return the body of Bottle's own answers: an unknown path, an unknown method, a fault of the console."""
        bottle.response.content_type = "application/json"
        if error.status_code >= 500:
            log.error("a fault of the console at %.200r", request.path, exc_info=error.exception)
        reason = error.body if error.status_code < 500 else "a fault of the console"
        return msgspec.json.encode({"error": f"{error.status_code}: {reason}"}).decode()

    def _checked(self, handler: Callable[[], Any]) -> Any:
        """Run the handler of a request after a check that one of the console's own pages sent it."""
        try:
            web.check_origin(self._hosts)
            return handler()
        except web.Problem as problem:
            return web.as_json({"error": str(problem)}, problem.status)
        except QueryError as error:
            return web.as_json({"error": str(error), "part": "q"}, 400)

    def _read(self, handler: Callable[..., Any], **path: Any) -> Any:
        def answer() -> Any:
            reader = self.sessions.of(request.get_cookie(self._cookie))
            if reader is None and request.path not in _OPEN:
                raise web.Problem(401, "log in first")
            value = handler(reader, **path)
            return value if isinstance(value, HTTPResponse) else web.as_json(value)

        return self._checked(answer)

    def _act(self, handler: Callable[..., Any], **path: Any) -> Any:
        def answer() -> Any:
            reader = self.sessions.of(request.get_cookie(self._cookie))
            if reader is None:
                raise web.Problem(401, "log in first")
            if not secrets.compare_digest(request.get_header("X-Console", "").encode(), reader.token.encode()):
                raise web.Problem(403, "this page is older than the server: load it again")
            if not reader.admin:
                needed = 'a line "USER admin" in the users file' if self.sessions.needed else "--console-admin"
                raise web.Problem(403, f"reading only: acting needs {needed}")
            value = handler(reader, web.body(), **path)
            self._listener.flush()
            return web.as_json(value)

        return self._checked(answer)

    # Readers and their sessions

    def _get_session(self, reader: Reader | None) -> dict[str, Any]:
        if reader is None:
            return {"login": True}
        return {
            "login": False,
            "user": reader.name,
            "users": self.sessions.needed,
            "admin": reader.admin,
            "hidden": reader.hidden,
            "token": reader.token,
            "run": self.views.messages.run,
            "broker": self._url,
            "python": "python3" if self.sessions.needed else shlex.quote(sys.executable or "python3"),
        }

    def _log_in(self) -> HTTPResponse:
        body = web.body()
        name, password = web.text(body, "user"), web.text(body, "password")
        if not self.sessions.needed:
            raise web.Problem(400, "nobody needs to log in: the server has no users")
        user = self._listener.logins.log_in("127.0.0.1", name, password)
        if isinstance(user, str):
            log.warning("the console refused a login of %.80r: %s", name, user)
            raise web.Problem(401, "wrong user or password")
        response = web.as_json({"user": name})
        cookie = self.sessions.begin(name)
        response.set_cookie(self._cookie, cookie, path="/", httponly=True, samesite="strict")
        return response

    def _log_out(self) -> HTTPResponse:
        self.sessions.end(request.get_cookie(self._cookie))
        response = web.as_json({})
        response.delete_cookie(self._cookie, path="/")
        return response

    def _get_stream(self, reader: Reader) -> HTTPResponse:
        view, query = request.query.view or "messages", web.query()
        test = parse(query) if query.strip() else None
        if view not in PAGES:
            raise web.Problem(400, f"there is no view {view[:40]}")
        cookie = request.get_cookie(self._cookie)
        return HTTPResponse(self._frames.of(cookie, view, test), headers={"Content-Type": "text/event-stream"})


ROUTES: dict[tuple[str, str], str] = {
    ("/api/session", "GET"): "_get_session",
    ("/api/login", "POST"): "_log_in",
    ("/api/logout", "POST"): "_log_out",
    ("/api/stream", "GET"): "_get_stream",
    **{(path, "GET"): name for path, name in Reading.ROUTES.items()},
    **{(path, "POST"): name for path, name in Acting.ROUTES.items()},
}
"""The handlers of the API by path and method. static/openapi.json describes the API."""
_OPEN = {"/api/session", "/api/login", "/api/logout"}
"""The paths that need no login."""


def _listen(port: int | None) -> socket.socket:
    """Return a socket that listens on a port of the loopback address.

    Raises:
        OSError: The port is in use, or no port is free.
    """
    wanted = range(PORT, PORT + PORTS) if port is None else [port]
    for each in wanted:
        sock = socket.socket()
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", each))
            sock.listen(CONNECTIONS)
            sock.setblocking(False)
        except OSError:
            sock.close()
            if each == wanted[-1]:
                raise
        else:
            return sock
    raise AssertionError("there is a last port")
