"""The configuration of gunicorn: `python -m frontend`, or `gunicorn --config frontend/gunicorn.conf.py`.

`GUNICORN_CMD_ARGS` changes any setting (`GUNICORN_CMD_ARGS="--keep-alive 30"`) except the number of workers: sessions
and their words are in the memory of one process.
"""

from gevent import monkey

monkey.patch_all()

import os
import resource
from typing import Any

import gevent
from gunicorn.http.errors import ParseException
from gunicorn.util import write_nonblock
from gunicorn.workers.ggevent import GeventWorker

from frontend.security import SECURITY_HEADERS, Problem
from frontend.settings import Settings, address
from macaque.logs import set_up

settings = Settings.of(os.environ)

wsgi_app = "frontend.app:application()"
bind = "{}:{}".format(*address(os.environ))
workers = 1
worker_connections = 2000
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
control_socket_disable = True

keepalive = 10  # seconds that a connection may be silent, and that the head of a request may take
graceful_timeout = 3  # seconds for requests in progress; closing the connection to the broker gets two more
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 4096

# Proxies are trusted by their number (FRONTEND_PROXIES, werkzeug's ProxyFix), not by their address.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}

# At the level debug, one line for each request. gunicorn's own warnings are only about clients that misbehave.
accesslog = "-" if settings.log_level == "debug" else None
loglevel = "debug" if settings.log_level == "debug" else "error"
set_up(settings.log_level, settings.log_format, "frontend")

# Allow as many files as possible, for the connections.
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

STATUS = dict(LimitRequestLine=414, ExpectationFailed=417, LimitRequestHeaders=431, UnsupportedTransferCoding=501)


class worker_class(GeventWorker):  # type: ignore[misc]  # gunicorn publishes no type hints
    """gunicorn's gevent worker, with refusals in JSON."""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer bytes that are not a request, without quoting them. Then the connection ends."""
        if req is not None or not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        self.log.debug("refused a request: %s", exc)
        said = f"The request was refused: {str(exc).partition(':')[0]}."
        answer = Problem(STATUS.get(type(exc).__name__, 400), said, Connection="close")
        headers = [*answer.headerlist, *SECURITY_HEADERS, ("Content-Length", len(answer.body))]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        write_nonblock(client, f"HTTP/1.1 {answer.status_line}\r\n{head}\r\n".encode() + answer.body)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stop the worker. Waiting polls get their answers."""
        self.alive = False
        if hasattr(self, "wsgi"):
            gevent.spawn(self.wsgi.offload.close)

    handle_quit = handle_exit


def on_starting(server: Any) -> None:
    """Send gunicorn's log lines to the log of the front end."""
    for logger in (server.log.error_log, server.log.access_log):
        logger.handlers.clear()
        logger.propagate = True


def post_worker_init(worker: Any) -> None:
    """Print the address of the page."""
    host, port = worker.sockets[0].getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    print(f"The page is at http://{f'[{host}]' if ':' in host else host}:{port}/", flush=True)


def worker_exit(server: Any, worker: Any) -> None:
    """Disconnect from the broker."""
    if hasattr(worker, "wsgi"):
        gevent.with_timeout(2, worker.wsgi.offload.client.close, timeout_value=None)
