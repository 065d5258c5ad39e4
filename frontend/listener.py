"""The WSGI server: binds a port, serves until SIGTERM or SIGINT, and stops within a few seconds."""

from __future__ import annotations

import errno
import logging
import signal
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent.event import Event
from gevent.pywsgi import WSGIServer

from frontend.answer import Problem
from frontend.handler import Handler, linger, raw_response
from frontend.settings import Settings

STOP_TIMEOUT = 1.0
"""Seconds that requests in progress get to finish when the process is told to stop."""


class BadAddress(Exception):
    """The front end cannot listen where the environment says; the sentence names the variable to change."""


def address(environ: Mapping[str, str]) -> tuple[str, int]:
    """Return the host and port to listen on, from `HOST` and `PORT`; raise BadAddress for a bad port.

    Without `HOST` it is 127.0.0.1:8000, and all interfaces on Cloud Foundry (`VCAP_APPLICATION`), whose router has to
    reach it.
    """
    host = environ.get("HOST") or ("0.0.0.0" if "VCAP_APPLICATION" in environ else "127.0.0.1")
    text = environ.get("PORT") or "8000"
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise BadAddress(f"PORT={text} is not a port: set PORT to a number from 0 to 65535, for example PORT=8000.")
    return host, int(text)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise BadAddress when there cannot be one. Port 0 takes any free port."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"Port {port} is already in use: set PORT to a free one, for example PORT={port % 65535 + 1}."
        else:
            reason = f"Cannot listen on {host} port {port} ({error.strerror or error}): change HOST or PORT."
        raise BadAddress(reason) from error
    # Connections inherit it. Without it each response on a kept connection waits 40 ms for a delayed acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def url(listening: socket.socket) -> str:
    """Return the address at which a browser on this machine reaches the socket."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class Server(WSGIServer):
    """A WSGI server with bounds: so many connections in all, the rest waits, and so many from one address."""

    def __init__(
        self,
        listening: socket.socket,
        application: Any,
        settings: Settings,
        on_refused: Callable[[int], None],
    ) -> None:
        super().__init__(
            listening,
            application,
            spawn=settings.max_connections,
            handler_class=Handler,
            log=None,
            error_log=logging.getLogger("frontend.wsgi"),
            environ={"SERVER_NAME": "localhost"},  # else gevent asks the resolver, which can take seconds
        )
        self.settings = settings
        self.on_refused = on_refused
        self._open: Counter[str] = Counter()

    def handle(self, sock: socket.socket, address: Any) -> None:
        """Serve a connection until it ends, or refuse it when its address has too many already."""
        who = str(address[0])
        self._open[who] += 1
        try:
            most = self.settings.max_connections_per_address
            if self._open[who] > most and not self.settings.proxies:
                self.on_refused(503)
                limit = f"{most} connections (FRONTEND_MAX_CONNECTIONS_PER_ADDRESS)"
                problem = Problem(503, f"This address has {limit} open: close some first.", retry_after=1)
                linger(sock, raw_response(problem))
            else:
                super().handle(sock, address)
        finally:
            self._open[who] -= 1
            if not self._open[who]:
                del self._open[who]


def serve(
    listening: socket.socket,
    application: Any,
    settings: Settings,
    *,
    on_ready: Callable[[], None],
    on_stop: Callable[[], None],
    on_refused: Callable[[int], None],
) -> None:
    """Serve a WSGI application until SIGTERM or SIGINT, then close the socket.

    `on_ready` is called when requests are served; `on_stop` right after the signal, so that it can end what would hold
    requests open for longer than STOP_TIMEOUT; `on_refused` with the status of each request that the application does
    not see.
    """
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stop.set)
    server = Server(listening, application, settings, on_refused)
    server.start()
    try:
        on_ready()
        stop.wait()
    finally:
        on_stop()
        server.stop(timeout=STOP_TIMEOUT)
