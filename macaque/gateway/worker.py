"""gunicorn's gevent worker for the gateway: refusals as problem details, slow callers, and an orderly end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from gunicorn.http.errors import ParseException
from gunicorn.util import write_nonblock
from gunicorn.workers.ggevent import GeventWorker

from macaque.http.answer import Problem
from mqlight.log import Log

__all__ = ["GatewayWorker"]

log = Log(__name__)

SLOW = 20.0
"""Seconds in which a caller must take a piece of an answer. Then its connection ends."""
AT_THE_END = 0.1
"""Seconds for the head of a request on a connection that was made just before the end."""
STATUS = {
    "LimitRequestLine": 414,
    "ExpectationFailed": 417,
    "LimitRequestHeaders": 431,
    "UnsupportedTransferCoding": 501,
}


class GatewayWorker(GeventWorker):  # type: ignore[misc]  # gunicorn publishes no type hints
    """The worker process of a gateway."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._idle: set[Any] = set()
        """The greenlets that serve a connection without a request."""

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve a connection. Each read and each write of it has a time limit."""
        client.settimeout(SLOW)
        super(GeventWorker, self).handle(listener, client, addr)  # not GeventWorker's, which removes the limit

    @contextmanager
    def timeout_ctx(self) -> Iterator[None]:
        """Bound the time until the head of the next request has arrived."""
        current = gevent.getcurrent()
        self._idle.add(current)
        try:
            seconds = self.cfg.keepalive if self.alive else AT_THE_END
            with gevent.Timeout(seconds, False):  # type: ignore[arg-type]  # False: it ends the block only
                yield
        finally:
            self._idle.discard(current)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer bytes that are not a request, without quoting them. Then the connection ends."""
        if not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        log.debug("refused a request: %s", exc)
        said = f"The request was refused: {str(exc).partition(':')[0]}."
        answer = Problem(STATUS.get(type(exc).__name__, 400), said, headers=(("Connection", "close"),)).answer
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        write_nonblock(client, f"HTTP/1.1 {answer.line}\r\n{head}\r\n".encode() + answer.body)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stop the worker: calls get their answers, streams their end, and idle connections are closed."""
        self.alive = False
        gevent.spawn(self._leave)

    def handle_quit(self, sig: int, frame: Any) -> None:
        self.handle_exit(sig, frame)

    def _leave(self) -> None:
        if hasattr(self, "wsgi"):
            self.wsgi.end_streams()
        for each in list(self._idle):
            each.kill(StopIteration, block=False)  # gunicorn takes it for the end of the connection
