"""How gunicorn serves the front end: `python -m frontend`, or `gunicorn --config frontend/gunicorn.conf.py`.

`GUNICORN_CMD_ARGS` changes any of it (`GUNICORN_CMD_ARGS="--keep-alive 30"`) but the number of workers: sessions and
their words are in the memory of one process.
"""

from gevent import monkey

monkey.patch_all()

import os
import resource
import signal
from typing import Any

import gevent

from frontend.settings import Settings, address
from macaque.logs import set_up

settings = Settings.of(os.environ)

wsgi_app = "frontend.app:application()"
bind = "{}:{}".format(*address(os.environ))
worker_class = "gevent"
workers = 1
worker_connections = 2000
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
control_socket_disable = True

# Seconds that a connection may be silent, and that the head of a request may take, byte by byte or not.
keepalive = 10
# Seconds for requests in progress when it stops; the good-bye to the messaging server gets two more.
graceful_timeout = 3

limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 4096

# Proxies are known by their number (FRONTEND_PROXIES, werkzeug's ProxyFix), not by their address.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}

# A line for each request at the level debug. gunicorn's warnings are about clients that do not behave.
accesslog = "-" if settings.log_level == "debug" else None
loglevel = "debug" if settings.log_level == "debug" else "error"
set_up(settings.log_level, settings.log_format, "frontend")

# Files for all connections.
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def on_starting(server: Any) -> None:
    """Send gunicorn's log lines where those of the front end go."""
    for logger in (server.log.error_log, server.log.access_log):
        logger.handlers.clear()
        logger.propagate = True


def post_worker_init(worker: Any) -> None:
    """Name the page. From now on a signal ends the polls, which get their answers."""
    host, port = worker.sockets[0].getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    print(f"The page is at http://{f'[{host}]' if ':' in host else host}:{port}/", flush=True)

    def stop(number: int, frame: Any) -> None:
        worker.alive = False
        gevent.spawn(worker.wsgi.offload.close)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, stop)


def worker_exit(server: Any, worker: Any) -> None:
    """Leave the messaging server."""
    if hasattr(worker, "wsgi"):
        gevent.with_timeout(2, worker.wsgi.offload.client.close, timeout_value=None)
