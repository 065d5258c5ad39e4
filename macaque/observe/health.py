"""The health of a server over HTTP: whether it lives, whether it is ready, and its metrics.

    GET /healthz   200 while the process lives
    GET /readyz    200 while the server can serve, otherwise 503; the JSON body names the parts that are not ready
    GET /metrics   Prometheus' text format, if prometheus-client is installed; otherwise 501

It is for supervisors on the same machine or network: plain HTTP, no login, and the loopback address by default.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec

from macaque.observe.observer import Observable
from mqlight.log import Log
from mqlight.net import forks

__all__ = ["Health"]

log = Log(__name__)

SLOW = 5.0
"""Seconds within which a client must send its request."""
POLL = 0.1
"""Seconds until the thread notices `close`, at most."""
MAX_REQUESTS = 32
"""The most requests at a time. Further connections are closed."""
JSON = "application/json"


class Monitored(Observable, Protocol):
    """The part of a server that health needs."""

    client_id: str

    def unready(self) -> dict[str, str]:
        """Return the parts that are not ready, with the reasons."""


class Health:
    """Serves on a thread of its own until it is closed.

    Raises:
        OSError: the address and port cannot be used.
    """

    def __init__(self, server: Monitored, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = server
        self._exposition = _observed(server)
        try:
            self._http = make_server(host, port, self._answer, _SixServer if ":" in host else _Server, _QuietHandler)
        except OverflowError as error:
            raise OSError(f"{port} is not a port; give a number from 0 to 65535") from error
        self.port = int(self._http.server_port)
        forks.register(self, Health._after_fork)
        threading.Thread(target=self._http.serve_forever, args=(POLL,), name="macaque-health", daemon=True).start()
        log.info("health of %s at http://%s:%d/readyz", server.client_id, host, self.port)

    def __enter__(self) -> Health:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _after_fork(self) -> None:
        """Forget the port in the child of a fork, because it belongs to the parent."""
        self._http.socket.close()

    def close(self) -> None:
        """Stop answering. A second call is harmless."""
        self._http.shutdown()
        self._http.server_close()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        status, content_type, body = self._page(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
        if status.startswith("405"):
            headers.append(("Allow", "GET, HEAD"))
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _page(self, method: str, path: str) -> tuple[str, str, bytes]:
        if path not in ("/healthz", "/readyz", "/metrics"):
            return "404 Not Found", JSON, _json({"error": "this port serves /healthz, /readyz and /metrics"})
        if method not in ("GET", "HEAD"):
            return "405 Method Not Allowed", JSON, _json({"error": f"{path} takes GET and HEAD"})
        if path == "/healthz":
            return "200 OK", JSON, _json({"alive": True})
        if path == "/metrics":
            if self._exposition is None:
                said = "metrics need prometheus-client: pip install 'macaque-amqp[metrics]'"
                return "501 Not Implemented", JSON, _json({"error": said})
            body, content_type = self._exposition()
            return "200 OK", content_type, body
        unready = self._server.unready()
        status = "503 Service Unavailable" if unready else "200 OK"
        return status, JSON, _json({"ready": not unready, "unready": unready})


def _observed(server: Monitored) -> Callable[[], tuple[bytes, str]] | None:
    """Observe the server, and return the function that reads its metrics; None without prometheus-client."""
    try:
        from macaque.observe import metrics
    except ImportError:
        return None
    metrics.observe(server)
    return metrics.exposition


def _json(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *args: Any) -> None:
        self._places = threading.Semaphore(MAX_REQUESTS)
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a request from %s failed", client_address, exc_info=True)


class _SixServer(_Server):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    timeout = SLOW

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)
