"""gunicorn, set up for the gateway."""

from __future__ import annotations

import logging
import os
import resource
import signal
from functools import partial
from typing import Any

import gevent
from gevent.socket import wait_read
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from macaque.broker import resolve
from macaque.client import Client
from macaque.gateway.figures import counter
from macaque.gateway.gateway import Gateway
from macaque.gateway.settings import Settings
from macaque.gateway.subscriptions import Subscriptions
from macaque.gateway.tokens import VARIABLE, Tokens
from macaque.gateway.worker import GatewayWorker
from macaque.ids import made_up_id
from macaque.observe.health import Health
from macaque.observe.observer import MakeObserver
from mqlight.connection import Connection

__all__ = ["Serving", "url_of"]

HEAD_SECONDS = 10
"""Seconds that the head of a request may take, and that a connection may be idle."""
SPARE = 200
"""Connections beside those of calls and streams: idle ones, slow ones, and those that get a refusal."""
FAREWELL = 2.0
"""Seconds for the end of the connection to the broker."""


class Serving(BaseApplication):  # type: ignore[misc]  # gunicorn publishes no type hints
    """Serves a gateway.

    Args:
        settings: the settings, which were checked.
        listening: the file descriptor of the socket that listens.
    """

    def __init__(self, settings: Settings, listening: int) -> None:
        self._settings = settings
        self._listening = listening
        self.tokens = Tokens(settings.tokens, os.environ.get(VARIABLE, ""))
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        for name, value in {
            "bind": f"fd://{self._listening}",
            "worker_class": GatewayWorker,
            "workers": settings.workers,
            "worker_connections": settings.calls + settings.streams + SPARE,
            "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,
            "control_socket_disable": True,
            "keepalive": HEAD_SECONDS,
            "graceful_timeout": max(1, round(settings.drain_timeout)),
            "limit_request_line": 8190,
            "limit_request_fields": 100,
            "limit_request_field_size": 8190,
            # Proxies are trusted by their number (--proxies, werkzeug's ProxyFix), not by their address.
            "forwarded_allow_ips": "",
            "secure_scheme_headers": {},
            # gunicorn's warnings are about callers that misbehave.
            "loglevel": "error",
            "on_starting": _log_as_macaque,
            "when_ready": self._tell,
            "post_worker_init": self._begin,
            "worker_exit": _end,
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Gateway:
        """Return the application of one worker process."""
        settings, client = self._settings, Client(timeout=self._settings.timeout)
        addresses, _ = resolve(None, None, os.environ)
        subscriptions = Subscriptions(partial(Connection, addresses, made_up_id()))
        client.start()
        gateway = Gateway(settings, client, self.tokens, subscriptions)
        gateway.services.find("")  # begins to ask which services there are
        return gateway

    def run(self) -> None:
        """Serve until a signal to stop."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        _Arbiter(self).run()

    def _tell(self, arbiter: Any) -> None:
        print(f"The gateway is at {url_of(arbiter.LISTENERS[0].getsockname())}", flush=True)
        if self._settings.leave_with_parent:
            gevent.spawn(_leave_at_end_of_input)

    def _begin(self, worker: Any) -> None:
        settings = self._settings
        if settings.health_port is not None:
            worker.wsgi.count = counter(partial(len, worker.wsgi.streams))
            worker.health = Health(_Monitored(worker.wsgi.client), settings.health_host, settings.health_port)


def _leave_at_end_of_input() -> None:
    while True:
        wait_read(0)
        if not os.read(0, 1024):
            os.kill(os.getpid(), signal.SIGTERM)
            return


class _Arbiter(Arbiter):  # type: ignore[misc]
    """The process that starts the workers."""

    def manage_workers(self) -> None:
        """Replace workers that have ended. This process knows the tokens as well, for a worker that starts later."""
        self.app.tokens.look()
        super().manage_workers()

    def reload(self) -> None:
        """Keep the workers when SIGHUP comes: they read changed tokens by themselves, and their streams go on."""


class _Monitored:
    """A client, as `Health` asks it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.client_id = client.client_id

    @property
    def connected(self) -> bool:
        return self._client.connected

    @property
    def _in_flight(self) -> int:
        return self._client._in_flight

    def _observe(self, make: MakeObserver) -> None:
        self._client._observe(make)

    def unready(self) -> dict[str, str]:
        """Return the reason why calls cannot be answered, if there is one."""
        return {} if self._client.ready else {"broker": "there is no connection to the broker"}


def url_of(name: Any) -> str:
    """Return the URL of a socket's name. A socket on all addresses is also on this machine's own."""
    host, port = name[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _log_as_macaque(arbiter: Any) -> None:
    """Send gunicorn's log lines to the log of the gateway."""
    for logger in (arbiter.log.error_log, arbiter.log.access_log):
        logger.handlers.clear()
        logger.propagate = True
        logger.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a line of gunicorn is worth a place. A caller that is slow is not."""
    return record.exc_info is None or not isinstance(record.exc_info[1], TimeoutError)


def _end(arbiter: Any, worker: Any) -> None:
    """Disconnect from the broker."""
    if hasattr(worker, "wsgi"):
        gevent.with_timeout(FAREWELL, worker.wsgi.close, timeout_value=None)
