"""Gateways as processes of their own, and callers over HTTP."""

from __future__ import annotations

import http.client
import json
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from processes import Process

READY = r"The gateway is at (http://\S+:(\d+))/"
TOKEN = "a-token-of-the-tests-0123456789"
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Reply:
    """A response, whose body is decoded if it is JSON."""

    status: int
    headers: http.client.HTTPMessage
    body: Any


class Front:
    """A running gateway."""

    def __init__(self, process: Process) -> None:
        self.process = process
        found = process.expect(READY)
        self.url, self.port = found[1], int(found[2])
        self.host = urlsplit(self.url).hostname or ""

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """Send a request on a connection of its own. `Some_Name` stands for the header `Some-Name`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        try:
            connection.request(method, path, body, named)
            response = connection.getresponse()
            text = response.read()
            is_json = "json" in response.headers.get_content_type()
            return Reply(response.status, response.headers, json.loads(text) if is_json and text else text)
        finally:
            connection.close()

    def call(self, topic: str, data: Any = None, **headers: str) -> Reply:
        """Call a service."""
        return self.ask("POST", f"/{topic}", json.dumps(data).encode(), Content_Type="application/json", **headers)

    @contextmanager
    def connection(self) -> Iterator[socket.socket]:
        with socket.create_connection((self.host, self.port), timeout=30) as opened:
            yield opened

    def raw(self, request: bytes, *, ends: bool = False) -> tuple[int, str, bytes]:
        """Send bytes, and return status, head and body of the answer. With `ends`, no more bytes can come."""
        with self.connection() as opened:
            opened.sendall(request)
            if ends:
                opened.shutdown(socket.SHUT_WR)
            with http.client.HTTPResponse(opened) as response:
                response.begin()
                return response.status, str(response.headers), response.read()

    @contextmanager
    def events(self, path: str, **headers: str) -> Iterator[Iterator[tuple[str, Any]]]:
        """Open a stream, and iterate over its events: the type and the data of each."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        try:
            connection.request("GET", path, headers={"Accept": "text/event-stream", **named})
            response = connection.getresponse()
            assert response.status == 200, response.read()
            assert response.headers.get_content_type() == "text/event-stream"
            yield _events(response)
        finally:
            connection.close()


def _events(response: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    kind, data = "message", ""
    while line := response.readline().decode():
        name, _, value = line.rstrip("\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            data = value
        elif not name and data:
            yield kind, json.loads(data)
            kind, data = "message", ""


def rest_of(opened: socket.socket) -> bytes:
    """Return everything that comes until the other side ends the connection."""
    received = b""
    while True:
        try:
            data = opened.recv(65536)
        except ConnectionResetError:
            return received
        if not data:
            return received
        received += data


def gateway_command(*options: str) -> list[str]:
    return [sys.executable, "-m", "macaque", "gateway", "--port", "0", *options]


StartFront = Callable[..., Front]


@contextmanager
def running_front(broker: str, *options: str, **env: str) -> Iterator[Front]:
    """Run a gateway in front of a broker."""
    process = Process(gateway_command("--broker", broker, *options), {**env})
    try:
        yield Front(process)
    finally:
        process.close()
