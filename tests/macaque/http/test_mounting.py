"""The applications under the servers and frameworks that people use, over sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from processes import Process, wait_until

BOUND = 20.0

SERVICES = """
import asyncio
import os
import time

import macaque

app = macaque.Server()
ended = []


@app.service("echo", safe=True)
def echo(data):
    return data


@app.service("pid")
def pid(data):
    time.sleep(data or 0)
    return os.getpid()


@app.service("note", credit=1)
def note(data):
    time.sleep(0.2)
    print(f"noted {data}", flush=True)


@app.service("count")
def count(data):
    try:
        yield from range(data)
    finally:
        ended.append(data)


@app.service("begun")
async def begun(data):
    print("it has begun", flush=True)
    try:
        await asyncio.sleep(1.0)
    finally:
        print("it has ended", flush=True)


@app.service("ended")
def how_many(data):
    return ended


@app.service("grün/a b", safe=True)
def green(data):
    return "green"


@app.service("fails")
def fails(data):
    raise LookupError("secret")


wsgi, asgi = app.wsgi, app.asgi
"""

PROGRAMS = {
    "shop.py": SERVICES,
    "alone.py": """
from wsgiref.simple_server import make_server
from shop import wsgi
server = make_server("127.0.0.1", 0, wsgi)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
""",
    "in_bottle.py": """
import bottle
from shop import wsgi
app = bottle.Bottle()
app.mount("/api", wsgi)
app.get("/")(lambda: "page")
""",
    "in_flask.py": """
import flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from shop import wsgi
app = flask.Flask("pages")
app.get("/")(lambda: "page")
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/api": wsgi})
""",
    "in_fastapi.py": """
import fastapi
from shop import asgi
app = fastapi.FastAPI()
app.get("/")(lambda: "page")
@app.middleware("http")
async def pass_on(request, call_next):
    return await call_next(request)
app.mount("/api", asgi)
""",
    "in_starlette.py": """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from shop import asgi
app = Starlette(routes=[Mount("/api", asgi), Route("/", lambda request: PlainTextResponse("page"))])
""",
}
GUNICORN = "-m gunicorn --bind 127.0.0.1:0"
UVICORN = "-m uvicorn --host 127.0.0.1 --port 0"
SERVERS = {
    "wsgiref": ("alone.py", ""),
    "gunicorn-sync": (f"{GUNICORN} shop:wsgi", ""),
    "gunicorn-gthread": (f"{GUNICORN} --worker-class gthread --threads 4 shop:wsgi", ""),
    "gunicorn-gevent": (f"{GUNICORN} --worker-class gevent shop:wsgi", ""),
    "bottle": (f"{GUNICORN} --threads 4 in_bottle:app", "/api"),
    "flask": (f"{GUNICORN} --threads 4 in_flask:app", "/api"),
    "uvicorn": (f"{UVICORN} shop:asgi", ""),
    "fastapi": (f"{UVICORN} in_fastapi:app", "/api"),
    "starlette": (f"{UVICORN} in_starlette:app", "/api"),
}
"""The command, and the path of the services."""


class Site:
    """A server, and requests to its services."""

    def __init__(self, name: str, process: Process, port: int, prefix: str) -> None:
        self.name, self.process, self.port, self.prefix = name, process, port, prefix

    @contextlib.contextmanager
    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **options: Any
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=BOUND)
        try:
            connection.request(method, self.prefix + path, body, headers or {}, **options)
            with connection.getresponse() as answer:
                yield answer
        finally:
            connection.close()

    def post(self, path: str, data: Any = None, **headers: str) -> tuple[int, Any]:
        kinds = {"Content-Type": "application/json", **headers}
        with self.ask("POST", path, json.dumps(data), kinds) as answer:
            return answer.status, json.loads(answer.read())

    def talk(self, text: bytes) -> bytes:
        """Send bytes, and return all that comes until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), BOUND) as raw:
            raw.sendall(text)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while piece := raw.recv(65536):
                    answer += piece
            return answer


def start(name: str, folder: Path, *options: str) -> Site:
    """Start a server, and wait until it listens."""
    for program, text in PROGRAMS.items():
        (folder / program).write_text(text, encoding="utf-8")
    command, prefix = SERVERS[name]
    process = Process([sys.executable, *command.split(), *options], cwd=folder)
    try:
        found = process.expect(r"http://127\.0\.0\.1:(\d+)")
    except BaseException:
        process.close()
        raise
    return Site(name, process, int(found[1]), prefix)


@pytest.fixture(scope="module", params=SERVERS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = start(request.param, tmp_path_factory.mktemp("site"))
    yield site
    site.process.close()


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Start a server for one test."""
    begun: list[Site] = []

    def begin(name: str, *options: str) -> Site:
        begun.append(start(name, tmp_path, *options))
        return begun[-1]

    yield begin
    for site in begun:
        site.process.close()


def test_every_kind_of_answer_comes_over_every_server(site: Site) -> None:
    assert site.post("/echo", {"a": "ü"}) == (200, {"a": "ü"})
    assert site.post("/gr%C3%BCn/a%20b") == (200, "green")
    assert site.post("/fails")[0] == 500 and "secret" not in json.dumps(site.post("/fails"))
    assert site.post("/nobody")[0] == 404
    assert site.post("/echo", 5, **{"Content-Type": "text/plain"})[0] == 415
    assert site.post("/echo?a=5", 5)[0] == 400
    with site.ask("GET", "/echo?a=5&b=%C3%BC") as answer:
        assert json.loads(answer.read()) == {"a": "5", "b": "ü"}
    query = b"GET %s/echo?a=\xc3\xbc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % site.prefix.encode()
    assert b" 400 " in site.talk(query).partition(b"\r\n")[0]
    with site.ask("HEAD", "/echo?a=5") as answer:
        assert (answer.status, answer.getheader("Content-Length"), answer.read()) == (200, "9", b"")
    with site.ask("GET", "/pid") as answer:
        assert (answer.status, answer.getheader("Allow")) == (405, "POST, OPTIONS")
    with site.ask("OPTIONS", "/pid") as answer:
        assert (answer.status, answer.getheader("Allow"), answer.read()) == (204, "POST, OPTIONS", b"")
    for path in "/gr%FFn", "/gr%ED%A0%80n":
        with site.ask("POST", path) as answer:
            assert answer.status in (400, 404)
    with site.ask("POST", "/count", "3", {"Content-Type": "application/json"}) as answer:
        assert answer.getheader("Content-Type") == "text/event-stream"
        parts = "".join(f"id: {number}\ndata: {number}\n\n" for number in range(3))
        assert answer.read().decode() == f'{parts}event: end\ndata: {{"parts":3}}\n\n'
    assert 3 in site.post("/ended")[1]
    assert "a request over HTTP failed" not in site.process.log()


def test_bodies_of_every_kind(site: Site) -> None:
    kind = {"Content-Type": "application/json"}
    with site.ask("POST", "/echo", b"x", kind) as answer:
        assert answer.status == 400
    with site.ask("POST", "/echo") as answer:
        assert (answer.status, answer.read()) == (200, b"null")
    if site.name != "wsgiref":  # it does not decode them
        with site.ask("POST", "/echo", iter([b"[1,", b"2]"]), kind, encode_chunked=True) as answer:
            assert (answer.status, answer.read()) == (200, b"[1,2]")
    lies = b"POST %s/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    head = lies % site.prefix.encode()
    for length in b"-5", b"x", b"5, 6":
        assert b" 400 " in site.talk(head + b"Content-Length: %s\r\n\r\n12345" % length).partition(b"\r\n")[0]
    assert b" 413 " in site.talk(head + b"Content-Length: 2000000\r\n\r\n").partition(b"\r\n")[0]
    assert b"12345" in site.talk(head + b"Content-Length: 5\r\n\r\n12345 and more")
    assert b" 4" in site.talk(head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n5\r\n0\r\n\r\n")[:12]
    with socket.create_connection(("127.0.0.1", site.port), BOUND) as raw:
        raw.sendall(head + b"Content-Length: 5\r\n\r\n12")
        raw.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            assert b" 200 " not in raw.recv(65536)
    assert site.post("/echo", 5) == (200, 5)
    assert "a request over HTTP failed" not in site.process.log()


def test_a_caller_that_leaves_a_stream_ends_its_generator(site: Site) -> None:
    with site.ask("POST", "/count", "1000000000", {"Content-Type": "application/json"}) as answer:
        assert answer.read(14) == b"id: 0\ndata: 0\n"
    wait_until(lambda: 10**9 in site.post("/ended")[1], BOUND)


def test_a_caller_that_leaves_a_call_is_no_error(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), BOUND) as raw:
        raw.sendall(b"POST %s/begun HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" % site.prefix.encode())
        site.process.expect("it has begun")
    assert site.post("/echo", 5) == (200, 5)
    wait_until(lambda: "it has ended" in site.process.log(), BOUND)
    assert site.post("/echo", 5) == (200, 5)
    assert "Traceback" not in site.process.log().partition("it has begun")[2]


def test_a_framework_keeps_its_own_pages(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), BOUND) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        status = raw.recv(65536).split()[1]
    assert status == (b"200" if site.prefix else b"404")


@pytest.mark.parametrize("name", ["gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent"])
def test_each_worker_of_a_server_that_forks_has_services_of_its_own(begin: Callable[..., Site], name: str) -> None:
    site = begin(name, "--workers", "2", "--preload")
    site.process.expect(r"(?s)Booting worker.*Booting worker")

    def workers() -> set[Any]:
        return {site.post("/pid", 0.01)[1] for _ in range(10)}

    wait_until(lambda: len(workers()) == 2, BOUND)


@pytest.mark.parametrize("name", ["gunicorn-gthread", "gunicorn-gevent", "uvicorn"])
def test_a_server_that_stops_finishes_its_requests_and_messages(begin: Callable[..., Site], name: str) -> None:
    site = begin(name)
    assert site.post("/echo", 5) == (200, 5)
    with socket.create_connection(("127.0.0.1", site.port), BOUND) as raw:
        raw.sendall(b"POST /pid HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n0.5")
        assert site.post("/echo", 5) == (200, 5)  # the first one has begun meanwhile
        for number in range(3):
            assert site.post("/note", number, Prefer="respond-async")[0] == 202
        site.process.signal(signal.SIGTERM)
        assert b" 200 " in raw.recv(65536)
    assert site.process.wait(BOUND) in (0, -signal.SIGTERM)
    assert [f"noted {number}" in site.process.log() for number in range(3)] == [True] * 3
