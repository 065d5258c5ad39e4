"""The front end and back ends as processes of their own, and visitors who talk to the front end by HTTP."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import urlsplit

import pytest

import macaque
from processes import START_TIMEOUT, Process, Server, wait_until
from visitors import Answer, HttpVisitor

SENTENCE = "One, Two, Three, Four, Five, Once I Caught a Fish Alive"
SERVICE = "mqlight/sample/wordsuppercase"

READY = r"The page is at (http://\S+)"

Spawn = Callable[..., Process]


class Visitor(HttpVisitor):
    """Somebody who talks to the front end at `url`; with `cookies` as a browser does, else as curl."""

    def __init__(self, url: str, cookies: bool = False) -> None:
        self.jar = CookieJar()
        super().__init__(url, *([urllib.request.HTTPCookieProcessor(self.jar)] if cookies else []), timeout=40)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """Send a body: bytes as they are, an iterator of bytes in chunks, anything else as JSON."""
        data = body if isinstance(body, (bytes, Iterator)) else json.dumps(body).encode()
        return self._send(urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"} | headers))

    def cursor(self, after: int = 0, most: int = 200, wait: float = 20) -> list[dict[str, Any]]:
        """Fetch the replies after a number, as the page does."""
        answer = self.get(f"rest/wordsuppercase?after={after}&most={most}&wait={wait}")
        assert answer.status == 200, answer
        return list(answer.body["replies"])

    def submit(self, sentence: str) -> int:
        answer = self.post("rest/words", {"words": sentence})
        assert answer.status == 200, answer
        return int(answer.body["msgCount"])

    def fetch(self, count: int, wait: float = 20) -> list[dict[str, Any]]:
        """Fetch `count` replies, each of which must come within `wait` seconds."""
        replies = []
        while len(replies) < count:
            answer = self.get(f"rest/wordsuppercase?wait={wait}")
            assert answer.status == 200, (answer, f"after {len(replies)} of {count} replies")
            replies.append(answer.body)
        return replies


@dataclass(frozen=True)
class Site:
    """A running front end."""

    process: Process
    url: str

    @property
    def cookie(self) -> str:
        """The name of its session cookie."""
        return f"session-{urlsplit(self.url).port}"

    def wait_until_connected(self) -> None:
        visitor = self.visitor()
        wait_until(lambda: visitor.get("readyz").status == 200, what="the front end's connection")

    def visitor(self, cookies: bool = False) -> Visitor:
        """Return a visitor, who has opened the page if `cookies` are on."""
        visitor = Visitor(self.url, cookies)
        if cookies:
            visitor.get("")
        return visitor


@contextmanager
def running_site(server: Server, **settings: str) -> Iterator[Site]:
    """Run a front end that is connected to `server`."""
    process = Process([sys.executable, "-m", "frontend"], {"MACAQUE_BROKER": server.url, "PORT": "0", **settings})
    try:
        site = Site(process, process.expect(READY)[1])
        site.wait_until_connected()
        yield site
    finally:
        process.close()


@pytest.fixture(scope="module")
def shared_site(shared_server: Server) -> Iterator[Site]:
    """One front end for all tests of a module that do not send words without a cookie, nor expect a back end."""
    with running_site(shared_server) as site:
        yield site


@pytest.fixture
def start_site(spawn: Spawn) -> Callable[..., Site]:
    """Start a front end for the broker at the given URL, with settings: `start_site(url, FRONTEND_MAX_WORDS="5")`."""

    def start(broker: str, **settings: str) -> Site:
        process = spawn(["-m", "frontend"], env={"MACAQUE_BROKER": broker, "PORT": "0", **settings})
        return Site(process, process.expect(READY)[1])

    return start


@pytest.fixture
def site(server: Server, start_site: Callable[..., Site]) -> Site:
    """A front end that is connected to `server`."""
    site = start_site(server.url)
    site.wait_until_connected()
    return site


@pytest.fixture
def start_backend(spawn: Spawn, server: Server) -> Callable[[], Process]:
    """Start one more back end for `server`, and return it when words reach it: `start_backend()`."""

    def start() -> Process:
        process = spawn(["-m", "backend", "--log-level", "debug"], env={"MACAQUE_BROKER": server.url}, ready=" serves ")
        wait_until_served(process, server)
        return process

    return start


@pytest.fixture
def start_service(spawn: Spawn, server: Server) -> Callable[[str], Process]:
    """Start another kind of back end, with a share of its own: `start_service(expression for its reply to data)`."""

    def start(expression: str) -> Process:
        code = f"""
import logging, macaque
logging.basicConfig(level=logging.INFO)
app = macaque.Server()
@app.service({SERVICE!r}, share_id="other-back-end")
def reply(data):
    logging.info("received %r", data["word"])
    return {expression}
app.run()
"""
        process = spawn(["-c", code], env={"MACAQUE_BROKER": server.url}, ready=" serves ")
        wait_until_served(process, server)
        return process

    return start


def wait_until_served(process: Process, server: Server) -> None:
    """Send probes to the topic until this worker, which logs what it receives, has got one of them."""

    def probe() -> bool:
        client.call(SERVICE, {"word": "probe"}, timeout=10).exception()
        return "received 'probe'" in process.log()

    with macaque.Client(server.url) as client:
        wait_until(probe, START_TIMEOUT, what="a word for the worker")
