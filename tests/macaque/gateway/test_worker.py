"""A gateway from the other side of a plain socket: requests that no honest caller sends, or not so slowly."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fronts import Front, rest_of, running_front
from processes import Server, Spawn, wait_until
from shops import Shop

HOST = b"Host: localhost\r\n"
JSON = HOST + b"Content-Type: application/json\r\n"
POST = b"POST /shop/list HTTP/1.1\r\n"
HURRIED = """
import gevent.monkey
gevent.monkey.patch_all()
import socket
from macaque.gateway import gateway, serving, worker
from macaque.gateway.settings import Settings
serving.HEAD_SECONDS = 1
gateway.BODY_SECONDS = worker.SLOW = 2.0
with socket.create_server(("127.0.0.1", 0)) as listening:
    serving.Serving(Settings(allow=("shop/#",)), listening.fileno()).run()
"""
"""A gateway whose limits in time are a tenth of the usual ones."""


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/2.7\r\n" + HOST, 400),
        (b"nonsense\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST, 414),
        (POST + HOST + b"X: " + b"a" * 20_000 + b"\r\n", 431),
        (POST + HOST + b"X: a\r\n" * 101, 431),
        (b"get /shop/list HTTP/1.1\r\n" + HOST, 400),
        (b"GET /shop/\xff HTTP/1.1\r\n" + HOST, 400),
        (POST + HOST + b"X<script>: a\r\n", 400),
        (POST + HOST + b"Expect: miracles\r\n", 417),
    ],
)
def test_a_request_that_is_none_is_refused_without_being_quoted(front: Front, request_head: bytes, status: int) -> None:
    got, head, body = front.raw(request_head + b"\r\n")
    assert got == status and "Connection: close" in head and "Content-Type: application/problem+json" in head
    assert re.fullmatch(r"The request was refused: [\w() >-]+\.", json.loads(body)["detail"]), body


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n",
        b"Content-Length: +4\r\n",
        b"Content-Length: 4, 4\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer_Encoding: chunked\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"X: a\r\n Transfer-Encoding: chunked\r\n",
        b"X: a\rTransfer-Encoding: chunked\r\n",
        b"\x00: a\r\n",
    ],
)
def test_a_request_that_a_proxy_may_read_differently_runs_nothing(front: Front, shop: Shop, headers: bytes) -> None:
    """The bytes of its body would be a second request for one of the two ("smuggling")."""
    runs = shop.runs
    inner = b"POST /shop/add HTTP/1.1\r\n" + JSON + b"Content-Length: 1\r\n\r\n7"
    with front.connection() as opened:
        opened.sendall(POST + JSON + headers + b"\r\n0\r\n\r\n" + inner)
        opened.shutdown(socket.SHUT_WR)
        received = rest_of(opened)
    assert re.match(rb"HTTP/1.1 (400|501) ", received), received
    assert received.count(b"HTTP/1.1 ") == 1 and shop.runs == runs


def test_an_ambiguous_path_runs_nothing(front: Front) -> None:
    for path in (
        "/shop%2flist",
        "/shop/../shop/list",
        "/shop/./list",
        "/shop/%2e%2e/list",
        "/shop/list%00",
        "/shop%5clist",
    ):
        status, _, body = front.raw(b"POST " + path.encode() + b" HTTP/1.1\r\n" + HOST + b"\r\n")
        assert status == 400 and json.loads(body)["detail"].startswith("The path has"), path
    assert front.ask("POST", "//shop/list").status == 404, "an empty level is a level"
    assert front.raw(b"POST http://localhost/shop/list HTTP/1.1\r\n" + HOST + b"\r\n")[0] in (200, 404)
    assert front.raw(b"POST * HTTP/1.1\r\n" + HOST + b"\r\n")[0] in (400, 404)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW"])
def test_other_methods_run_nothing(front: Front, method: str) -> None:
    target = "localhost:80" if method == "CONNECT" else "/shop/list"
    status, head, _ = front.raw(f"{method} {target} HTTP/1.1\r\n".encode() + HOST + b"\r\n")
    assert status in (400, 404, 405), head


def test_the_host_must_be_this_machine(front: Front) -> None:
    assert front.raw(POST + b"Host: evil.example.com\r\n\r\n")[0] == 421
    assert front.raw(POST + b"\r\n")[0] == 400
    assert front.raw(POST + HOST + b"Host: evil.example.com\r\n\r\n")[0] == 400
    assert front.raw(POST + b"Host: 127.0.0.1:1\r\n\r\n")[0] == 200
    assert front.raw(POST + HOST + b"X-Forwarded-For: 127.0.0.1\r\n\r\n")[0] == 403, "not through a proxy"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_pages_of_other_sites_cannot_call(front: Front, shop: Shop, headers: dict[str, str]) -> None:
    runs = shop.runs
    assert front.call("shop/add", 1, **headers).status == 403
    assert front.ask("GET", "/shop/list", **headers).status == 403
    assert front.ask("GET", "/news/a", Accept="text/event-stream", **headers).status == 403
    assert shop.runs == runs


def test_a_form_of_another_site_is_no_json(front: Front, shop: Shop) -> None:
    runs = shop.runs
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"):
        assert front.ask("POST", "/shop/add", b'{"a": 1}', Content_Type=kind).status == 415
    assert front.ask("POST", "/shop/add", b'{"a": 1}').status == 415
    assert shop.runs == runs


@pytest.fixture(scope="module")
def strict(shared_server: Server, shop: Shop) -> Iterator[Front]:
    """A gateway with little room."""
    with running_front(shared_server.url, "--allow", "shop/#", "--max-body", "1000") as strict:
        wait_until(lambda: strict.call("shop/list").status == 200, what="the services")
        yield strict


def test_a_large_body_is_refused_before_it_has_arrived(strict: Front) -> None:
    assert strict.ask("POST", "/shop/list", b'"' + b"a" * 998 + b'"', Content_Type="application/json").status == 200
    too_large = strict.ask("POST", "/shop/list", b'"' + b"a" * 999 + b'"', Content_Type="application/json")
    assert too_large.status == 413 and "1000 bytes" in too_large.body["detail"]
    with strict.connection() as opened:
        opened.sendall(POST + JSON + b"Content-Length: 99999999999999\r\n\r\n")
        assert opened.recv(12) == b"HTTP/1.1 413"
    with strict.connection() as opened:
        opened.sendall(POST + JSON + b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(100):
                opened.sendall(b"64\r\n" + b" " * 100 + b"\r\n")
        except OSError:
            pass
        assert opened.recv(12) == b"HTTP/1.1 413"


def test_a_body_that_ends_early_runs_nothing(front: Front) -> None:
    assert front.raw(POST + JSON + b"Content-Length: 10\r\n\r\n1", ends=True)[0] == 400
    assert front.raw(POST + JSON + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", ends=True)[0] == 400
    assert front.raw(POST + JSON + b"Transfer-Encoding: chunked\r\n\r\n1\r\n7\r\n0\r\n\r\n")[0] == 200


def slow_head(front: Front) -> tuple[bytes, float]:
    """Send a head byte by byte. Return what comes back, and the seconds until then."""
    began = time.monotonic()
    with front.connection() as opened:
        return _dripped(opened, b"POST /shop/list HTTP/1.1\r\nX: " + b"a" * 100, began)


def slow_body(front: Front) -> tuple[bytes, float]:
    """Send a body byte by byte."""
    began = time.monotonic()
    with front.connection() as opened:
        opened.sendall(POST + JSON + b"Content-Length: 1000\r\n\r\n")
        return _dripped(opened, b" " * 1000, began)


def _dripped(opened: socket.socket, text: bytes, began: float) -> tuple[bytes, float]:
    opened.settimeout(0.05)
    for byte in text:
        try:
            opened.sendall(bytes([byte]))
            return opened.recv(12), time.monotonic() - began
        except TimeoutError:
            continue
        except OSError:
            return b"", time.monotonic() - began
    raise AssertionError("the gateway has waited for all of it")


def no_reader(front: Front) -> tuple[bytes, float]:
    """Ask for large answers, and read none of them."""
    body = b'"' + b"a" * 1_000_000 + b'"'
    asking = (POST + JSON + b"Content-Length: %d\r\n\r\n" % len(body) + body) * 20
    began = time.monotonic()
    with front.connection() as opened:
        opened.settimeout(60)
        try:
            opened.sendall(asking)
        except ConnectionError:
            return b"", time.monotonic() - began
    raise AssertionError("the gateway has read it all")


@pytest.fixture
def hurried(shared_server: Server, shop: Shop, spawn: Spawn) -> Front:
    front = Front(spawn(["-c", HURRIED], env={"MACAQUE_BROKER": shared_server.url}))
    wait_until(lambda: front.call("shop/list").status == 200, what="the services")
    return front


def test_slow_callers_lose_their_places(hurried: Front) -> None:
    with ThreadPoolExecutor(3) as pool:
        head, body, reader = (pool.submit(each, hurried) for each in (slow_head, slow_body, no_reader))
        assert head.result()[0] == b"" and 0.5 < head.result()[1] < 10
        assert body.result()[0] == b"HTTP/1.1 408" and 1 < body.result()[1] < 20
        assert reader.result()[0] == b"" and 1 < reader.result()[1] < 30
    assert hurried.call("shop/list").status == 200
    assert "Traceback" not in hurried.process.log()


def test_a_request_line_by_line_in_small_pieces_is_served(front: Front) -> None:
    with front.connection() as opened:
        for byte in POST + JSON + b"Connection: close\r\nContent-Length: 1\r\n\r\n7":
            opened.sendall(bytes([byte]))
        assert rest_of(opened).endswith(b'["fish",7]')


def test_requests_that_come_at_once_are_answered_in_their_order(front: Front) -> None:
    ask = POST + JSON + b"Content-Length: 1\r\n"
    with front.connection() as opened:
        opened.sendall(ask + b"\r\n1" + ask + b"\r\n2" + ask + b"Connection: close\r\n\r\n3")
        assert re.findall(rb'\["fish",(\d)\]', rest_of(opened)) == [b"1", b"2", b"3"]


def test_an_ambiguous_token_is_refused(shared_server: Server, shop: Shop) -> None:
    token = "a-token-that-is-long-enough"
    with running_front(shared_server.url, "--allow", "shop/#", MACAQUE_GATEWAY_TOKEN=token) as front:
        right, wrong = f"Authorization: Bearer {token}\r\n".encode(), b"Authorization: Bearer wrong-wrong-wrong\r\n"
        wait_until(lambda: front.raw(POST + HOST + right + b"\r\n")[0] == 200, what="the services")
        for headers in (wrong, right + wrong, wrong + right, right + right, b"", b"Authorization: Basic YTpi\r\n"):
            status, head, _ = front.raw(POST + HOST + headers + b"\r\n")
            assert status == 401 and "WWW-Authenticate: Bearer" in head, headers
        assert front.raw(POST + b"Host: evil.example.com\r\n" + right + b"\r\n")[0] == 200, "the token is what counts"
        assert front.raw(POST + HOST + b"Content-Length: 2000000000\r\n\r\n")[0] == 401, "no body without a token"
