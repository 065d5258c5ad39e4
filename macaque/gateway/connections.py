"""The connection of a caller, in gunicorn's gevent worker: its end, and a body that comes in time."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.socket import wait_read

from macaque.http.answer import Problem

__all__ = ["Body", "watch"]


class Body:
    """The body of a request, which has to arrive within a time.

    Args:
        body: the `wsgi.input` of the request.
        seconds: the time for the whole body.
    """

    def __init__(self, body: Any, seconds: float) -> None:
        self._body = body
        self._seconds = seconds
        self._until = time.monotonic() + seconds

    def read(self, size: int = -1) -> bytes:
        """Read as `wsgi.input` does. Raises Problem 408 when the time is over."""
        late = Problem(408, f"The body did not come within {self._seconds:g} seconds.")
        with gevent.Timeout(max(0.001, self._until - time.monotonic()), late):
            data: bytes = self._body.read(size)
            return data


def watch(environ: dict[str, Any], on_gone: Callable[[], object]) -> Callable[[], object]:
    """Call `on_gone()` when the caller has closed its connection. Return the function that ends the watch.

    A caller that has sent more bytes is not watched: its end stands behind them. The next write will notice it.
    """
    connection = environ.get("gunicorn.socket")
    if connection is None:
        return lambda: None

    def wait() -> None:
        try:
            wait_read(connection.fileno())
            gone = connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            gone = True
        if gone:
            on_gone()

    return gevent.spawn(wait).kill
