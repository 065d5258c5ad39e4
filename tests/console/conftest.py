"""Servers with a console, and visitors who talk to it over HTTP."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest

import mqlight
from console.browser import Browser
from processes import ROOT, Process, Server, Spawn, start_server, wait_until
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


SERVICE = """
import macaque
app = macaque.Server()
@app.service("shop/new", share_id="shop")
def new(order):
    if order == "poison":
        raise ValueError("no such fish")
    return {"accepted": order}
app.run()
"""


def serve(spawn: Spawn, site: Site, code: str = SERVICE) -> Process:
    """Start a service; returns when it serves."""
    code = "import logging; logging.basicConfig(level=20)" + code
    return spawn(["-c", code], env={"MACAQUE_BROKER": site.url}, ready="serves")


@contextmanager
def subscriber(site: Site) -> Iterator[dict[str, Any]]:
    """A client that is subscribed to ``pond/#`` and takes nothing; gives the card of its destination."""
    visitor = site.visitor()
    with mqlight.Client(site.url, "fish") as client:
        client.subscribe("pond/#", options={"qos": 1, "ttl": 600_000, "credit": 0, "auto_confirm": False})
        yield wait_until(lambda: visitor.get("api/destinations").body["destinations"])[0]


def passwd(users: Path, name: str, password: str) -> None:
    command = [sys.executable, "-m", "mqlight.server", "passwd", str(users), name]
    subprocess.run(command, input=password, text=True, check=True, cwd=ROOT, timeout=20, capture_output=True)


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """The users chief, who may do everything, and fish, who may subscribe to the pond alone."""
    path = tmp_path / "users"
    passwd(path, "chief", "right")
    passwd(path, "fish", "right")
    lines = path.read_text().replace("fish subscribe #", "fish subscribe pond/#")
    path.write_text(lines + "chief admin\n")
    return path


def log_in(site: Site, name: str, password: str = "right") -> Visitor:
    visitor = site.visitor()
    answer = visitor.post("api/login", {"user": name, "password": password})
    assert answer.status == 200, answer.body
    return visitor.begin()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The Chromium of a module: starting one takes a second."""
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """A browser with one window and no cookies. Other state belongs to a port, and each test has ports of its own."""
    yield chromium
    complaints = chromium.complaints()
    chromium.forget()
    assert complaints == []
