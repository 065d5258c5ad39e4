"""Servers with a console, and visitors who talk to it over HTTP."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.cookiejar import CookieJar
from typing import Any

import pytest

from processes import Server, start_server
from visitors import Answer, HttpVisitor


class Visitor(HttpVisitor):
    """A browser without a page: it keeps cookies, and sends the token that the page would."""

    def __init__(self, url: str) -> None:
        super().__init__(url, urllib.request.HTTPCookieProcessor(CookieJar()), timeout=20)
        self.token = "page"

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        given = {"Content-Type": "application/json", "X-Console": self.token} | headers
        return self._send(urllib.request.Request(self.url + path, data, given))

    def begin(self) -> Visitor:
        """Take the token of the session."""
        self.token = self.get("api/session").body["token"]
        return self

    def frames(self, query: str = "") -> Iterator[dict[str, Any]]:
        """Yield the frames of a stream, each of which must come within 10 s."""
        request = urllib.request.Request(f"{self.url}api/stream{query}")
        with self._opener.open(request, timeout=10) as response:
            for line in response:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])


@dataclass(frozen=True)
class Site:
    """A server with a console."""

    server: Server
    console: str

    @property
    def url(self) -> str:
        return self.server.url

    def visitor(self) -> Visitor:
        return Visitor(self.console)


Start = Callable[..., Site]


@pytest.fixture
def start_console() -> Iterator[Start]:
    """Start a server with a console: `start_console("--console-admin")`."""
    servers: list[Server] = []

    def start(*options: str) -> Site:
        server = start_server("--console-port", "0", *options)
        servers.append(server)
        return Site(server, server.expect(r"console at (http://\S+)")[1])

    yield start
    for server in servers:
        server.close()
        assert not re.search("Traceback|a fault of the console", server.log()), server.log()


@pytest.fixture
def site(start_console: Start) -> Site:
    """A server with a console whose readers may act."""
    return start_console("--console-admin")
