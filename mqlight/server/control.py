"""The operator's access to the destinations of a server: a Unix socket in the folder of the store.

A request is one line of JSON, and so is its answer. If no server runs on the folder, the command opens the store and
makes the same answer itself.
"""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import gevent
from gevent.server import StreamServer

from mqlight.server.broker import Broker
from mqlight.server.journal import Journal
from mqlight.server.store import FILE, Store

log = logging.getLogger(__name__)

SOCKET = "messages.control"
PATIENCE = 10.0
"""Seconds that each side waits for the other."""
_MOST = 1024 * 1024
"""The most bytes of a request; nearly all of them are numbers of destinations."""

Request = dict[str, Any]
"""``drop``: whether to drop chosen destinations. ``numbers``, ``user``, ``client``: the choice; each can be None."""
Row = dict[str, Any]
"""A destination: ``number``, ``name``, ``user``, ``client``, ``messages``, ``bytes``, ``subscribers``, ``forget_in`` in
seconds (None while there are subscribers), and ``dropped``."""


class ControlError(Exception):
    """The command cannot reach the destinations. The text gives the reason."""


def answer(broker: Broker, request: Request, now: float) -> list[Row]:
    """List the destinations that a request chooses. If it says so, drop those without subscribers."""
    numbers = request["numbers"] and set(request["numbers"])
    rows = []
    for each in list(broker.destinations.values()):
        if numbers and each.number not in numbers:
            continue
        if request["user"] not in (None, each.owner.user) or request["client"] not in (None, each.owner.client_id):
            continue
        row = {
            "number": each.number,
            "name": str(each.name),
            "user": each.owner.user,
            "client": each.owner.client_id,
            "messages": each.count,
            "bytes": each.bytes,
            "subscribers": len(each.consumers),
            "forget_in": None if each.forget_at is None else max(0.0, each.forget_at - now),
        }
        rows.append({**row, "dropped": request["drop"] and broker.drop(each)})
    return sorted(rows, key=lambda row: int(row["number"]))


class Control:
    """The socket that answers requests while a server runs.

    ``changed()`` is called after each request that dropped a destination. If the folder's path is too long for a
    socket, a warning is logged and no request is answered.
    """

    def __init__(self, broker: Broker, changed: Callable[[], None], folder: Path) -> None:
        self._broker = broker
        self._changed = changed
        self._path = folder / SOCKET
        self._server: StreamServer | None = None
        sock = socket.socket(socket.AF_UNIX)
        try:
            self._path.unlink(missing_ok=True)  # left by a killed server: only one process can have the store
            sock.bind(str(self._path))
            self._path.chmod(0o600)
            sock.listen(8)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            log.warning(
                '"destinations" works only while the server is stopped: cannot make the socket %s: %s',
                self._path,
                error,
            )
            return
        self._server = StreamServer(sock, self._serve)
        self._server.start()

    def _serve(self, sock: Any, address: object) -> None:
        with closing(sock), suppress(OSError, gevent.Timeout), gevent.Timeout(PATIENCE):
            try:
                request = json.loads(_line(sock))
                rows = answer(self._broker, request, time.monotonic())
            except (ValueError, KeyError, TypeError) as error:
                log.warning("a malformed request came over %s: %r", self._path, error)
                return
            if any(row["dropped"] for row in rows):
                log.warning("%d destinations were dropped by command", sum(row["dropped"] for row in rows))
                self._changed()
            sock.sendall(json.dumps(rows).encode() + b"\n")

    def close(self) -> None:
        """Stop answering. May be called twice."""
        server, self._server = self._server, None
        if server is not None:
            self._path.unlink(missing_ok=True)
            server.stop()


def ask(folder: Path, request: Request) -> list[Row]:
    """Send a request to the server that runs on a folder. Without a server, answer it from the store.

    Raises:
        ControlError: There is no store, or the server does not answer.
        StoreError: The store is unusable.
    """
    if not os.path.exists(folder / FILE):
        raise ControlError(f"there is no store in {folder}; give the folder that the server has with --data")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        try:
            sock.connect(str(folder / SOCKET))
        except OSError:
            return _answer_from_store(folder, request)
        try:
            sock.sendall(json.dumps(request).encode() + b"\n")
            rows: list[Row] = json.loads(_line(sock, math.inf))
        except (OSError, ValueError) as error:
            raise ControlError(f"the server on {folder} does not answer: {error}") from error
        return rows


def _answer_from_store(folder: Path, request: Request) -> list[Row]:
    with closing(Store(folder)) as store:
        journal = Journal()
        broker = Broker(journal=journal)
        now = time.monotonic()
        found, messages = store.load()
        lives = {destination.number: destination.forget_at for destination in found}
        broker.restore(found, messages, now)
        rows = answer(broker, request, now)
        if not any(row["dropped"] for row in rows):
            return rows
        for destination in broker.destinations.values():  # this command must not prolong the destinations' lives
            destination.forget_at = lives[destination.number]
        while journal:
            batch = journal.take(math.inf)
            store.write(batch)
            store.commit()
            broker.written(batch)
        return rows


def _line(sock: Any, most: float = _MOST) -> bytes:
    """Return the bytes up to the end of a line.

    Raises:
        ValueError: The line has more than ``most`` bytes, or no end.
    """
    data = bytearray()
    while not data.endswith(b"\n"):
        more = sock.recv(65536)
        data += more
        if not more or len(data) > most:
            raise ValueError("the request is not a line of JSON")
    return bytes(data)
