"""The front end from the other side of a plain socket: what a browser would never send, or not so slowly."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fronts import rest_of
from processes import ROOT, Server, wait_until
from web.conftest import READY, Site, running_site

HEADERS = [
    "Content-Security-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Permissions-Policy",
    "Referrer-Policy", "X-Content-Type-Options",
]  # fmt: skip
PAGE = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
JSON = b"Host: localhost\r\nContent-Type: application/json\r\n"


@contextmanager
def connection(site: Any) -> Iterator[socket.socket]:
    place = urlsplit(site.url)
    with socket.create_connection((place.hostname, place.port), timeout=20) as opened:
        yield opened


def exchange(site: Any, request: bytes) -> tuple[int, str, bytes]:
    """Send bytes, and return status, head and body of what comes back; nothing more is sent or kept open."""
    with connection(site) as opened:
        opened.sendall(request)
        opened.shutdown(socket.SHUT_WR)
        head, _, body = rest_of(opened).partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode("latin-1"), body


@pytest.fixture(scope="module")
def quick_site(shared_server: Server) -> Iterator[Site]:
    """A front end with little patience."""
    with running_site(shared_server, GUNICORN_CMD_ARGS="--keep-alive 1") as site:
        yield site


# What is on every answer


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (PAGE, 200),
        (b"GET /app.js HTTP/1.1\r\nHost: localhost\r\n", 200),
        (b"GET /app.js HTTP/1.1\r\nHost: localhost\r\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n", 304),
        (b"GET /app.js HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-9\r\n", 206),
        (b"GET /app.js HTTP/1.1\r\nHost: localhost\r\nRange: bytes=9999999-\r\n", 416),
        (b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n", 404),
        (b"GET /%ff HTTP/1.1\r\nHost: localhost\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: localhost\r\n", 405),
        (b"BREW / HTTP/1.1\r\nHost: localhost\r\n", 405),
        (b"OPTIONS / HTTP/1.1\r\nHost: localhost\r\n", 204),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n", 404),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", 200),
        (b"GET /rest/wordsuppercase HTTP/1.1\r\nHost: localhost\r\n", 204),
        (b"POST /rest/words HTTP/1.1\r\nHost: localhost\r\n", 411),
        (b"GET /rest/wordsuppercase HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n", 403),
        (b"GET / HTTP/1.1\r\n", 400),
    ],
)  # fmt: skip
def test_every_answer_has_the_security_headers_and_errors_are_json(
    shared_site: Any, request_head: bytes, status: int
) -> None:
    got, head, body = exchange(shared_site, request_head + b"\r\n")
    assert got == status, head
    for name in HEADERS:
        assert len(re.findall(rf"(?mi)^{name}: ", head)) == 1, name
    assert "strict-transport-security" not in head.lower()
    if status >= 400:
        assert "application/json" in head and re.fullmatch(r"[A-Z'/].*\.", json.loads(body)["error"])


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/2.7\r\nHost: localhost\r\n", 400),
        (b"nonsense\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n", 414),
        (PAGE + b"X: " + b"a" * 20_000 + b"\r\n", 431),
        (PAGE + b"X: a\r\n" * 101, 431),
        (b"get / HTTP/1.1\r\nHost: localhost\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX<script>: a\r\n", 400),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_in_json_that_quotes_nothing(
    shared_site: Any, request_head: bytes, status: int
) -> None:
    got, head, body = exchange(shared_site, request_head + b"\r\n")
    assert got == status and "Connection: close" in head and "Content-Type: application/json" in head
    assert all(len(re.findall(rf"(?mi)^{name}: ", head)) == 1 for name in HEADERS)
    assert re.fullmatch(r"The request was refused: [\w() >-]+\.", json.loads(body)["error"]), body


def test_an_application_that_fails_is_answered_for_and_logged(server: Server, spawn: Any, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(
        "import frontend.app\n"
        "def application():\n"
        "    made = frontend.app.application()\n"
        "    made._proxied = lambda *_: 1 / 0\n"
        "    return made\n"
    )
    configuration = (ROOT / "frontend/gunicorn.conf.py").read_text().replace("frontend.app:", "failing:")
    (tmp_path / "failing.conf.py").write_text(configuration)
    command = ["-m", "gunicorn", "--config", str(tmp_path / "failing.conf.py"), "--pythonpath", str(tmp_path)]
    process = spawn(command, env={"MACAQUE_BROKER": server.url, "PORT": "0"})
    port = int(process.expect(r"page is at http://127.0.0.1:(\d+)/")[1])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as opened:
        opened.sendall(PAGE + b"\r\n")
        received = rest_of(opened).decode()
    assert received.startswith("HTTP/1.1 500 ") and "division" not in received
    process.expect("ZeroDivisionError: division by zero")


def test_head_is_get_without_the_body_and_takes_no_word(site: Any, start_backend: Any) -> None:
    start_backend()
    site.visitor().submit("fish")
    poll = b" /rest/wordsuppercase HTTP/1.1\r\nHost: localhost\r\n\r\n"
    wait_until(lambda: exchange(site, b"HEAD" + poll)[0] == 200, what="the word")
    head = exchange(site, b"HEAD" + poll)
    got = site.visitor().get("rest/wordsuppercase")
    assert head[2] == b"" and got.body["word"] == "FISH"
    assert f"Content-Length: {got.headers['Content-Length']}\r\n" in head[1]
    page = exchange(site, b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert page[0] == 200 and page[2] == b"" and re.search(r"Content-Length: \d{5}\r\n", page[1] + "\r\n")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", "GET, HEAD, OPTIONS"),
        ("/rest/words", "OPTIONS, POST"),
        ("/rest/wordsuppercase", "GET, HEAD, OPTIONS"),
    ],
)
@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 204), ("DELETE", 405)])
def test_allow_says_what_a_path_takes(shared_site: Any, path: str, allowed: str, method: str, status: int) -> None:
    got, head, _ = exchange(shared_site, f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert got == status and re.search(rf"^Allow: {allowed}\r?$", head, re.MULTILINE), head


# Who may ask


def test_a_page_of_another_site_may_neither_send_nor_fetch_words(shared_site: Any) -> None:
    visitor = shared_site.visitor()
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
        for answer in (
            visitor.post("rest/words", {"words": "fish"}, **headers),
            visitor.get("rest/wordsuppercase", **headers),
        ):
            assert answer.status == 403 and "another site" in answer.body["error"]
    own = shared_site.url.rstrip("/")
    assert visitor.post("rest/words", {"words": "fish"}, Origin=own).status == 200
    assert visitor.post("rest/words", {"words": "fish"}, **{"Sec-Fetch-Site": "same-origin"}).status == 200


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-7"])
def test_what_is_not_json_is_415_and_says_which_header_to_send(shared_site: Any, kind: str) -> None:
    answer = shared_site.visitor().post("rest/words", {"words": "fish"}, **{"Content-Type": kind})
    assert answer.status == 415 and "Content-Type: application/json" in answer.body["error"]


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON", 'application/json;charset="UTF-8"', "application/json ; Charset=utf-8"],
)
def test_json_is_known_whatever_its_case_and_quotes(shared_site: Any, kind: str) -> None:
    answer = shared_site.visitor(cookies=True).post("rest/words", {"words": "fish"}, **{"Content-Type": kind})
    assert answer.status == 200, answer


def test_a_page_that_rebinds_its_name_to_this_machine_reads_nothing(shared_site: Any) -> None:
    visitor, port = shared_site.visitor(), urlsplit(shared_site.url).port
    for path in ("", "metrics", "rest/wordsuppercase", "rest/worker", "app.js"):
        answer = visitor.get(path, Host=f"evil.example:{port}")
        assert answer.status == 421 and "FRONTEND_HOSTS" in answer.body["error"], path
    for host in ("localhost", f"localhost:{port}", f"127.0.0.1:{port}", "[::1]"):
        assert visitor.get("metrics", Host=host).status == 200
    assert visitor.get("healthz", Host="prober.example").status == 200, "health checks bring names of their own"


def test_host_names_come_from_the_setting_and_from_the_known_proxy(server: Server, start_site: Any) -> None:
    site = start_site(server.url, FRONTEND_HOSTS="fish.example", FRONTEND_PROXIES="1")
    visitor = site.visitor()
    assert visitor.get("", Host="fish.example").status == 200
    assert visitor.get("", Host="10.0.0.1", **{"X-Forwarded-Host": "fish.example"}).status == 200
    assert visitor.get("", Host="fish.example", **{"X-Forwarded-Host": "evil.example"}).status == 421


def test_the_metrics_are_not_for_pages_of_other_sites(shared_site: Any) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}):
        assert shared_site.visitor().get("metrics", **headers).status == 403
    assert shared_site.visitor().get("metrics", **{"Sec-Fetch-Site": "none"}).status == 200


@pytest.mark.parametrize(
    ("line", "status", "part"),
    [
        (b"GET /%ff HTTP/1.1", 400, "UTF-8"),
        (b"GET /app%c0%ae.js HTTP/1.1", 400, "UTF-8"),
        (b"GET // HTTP/1.1", 404, "'//'"),
        (b"GET //app.js HTTP/1.1", 404, "'//app.js'"),
        (b"GETX / HTTP/1.1", 405, "GETX"),
    ],
)
def test_a_path_and_a_method_are_what_they_are(shared_site: Any, line: bytes, status: int, part: str) -> None:
    got, _, body = exchange(shared_site, line + b"\r\nHost: localhost\r\n\r\n")
    assert got == status and part in json.loads(body)["error"]


def test_two_requests_at_a_time_do_not_mix(shared_site: Any) -> None:
    with connection(shared_site) as held:
        held.sendall(b"POST /rest/words HTTP/1.1\r\n" + JSON + b"Content-Length: 17\r\n\r\n")
        for _ in range(5):
            assert shared_site.visitor().get("nothing").status == 404
        held.sendall(b'{"words": "fish"}')
        assert held.recv(12) == b"HTTP/1.1 200"


def test_behind_a_proxy_that_ends_tls_cookies_are_secure_and_https_is_for_good(server: Server, start_site: Any) -> None:
    site = start_site(server.url, FRONTEND_PROXIES="1")
    answer = site.visitor().get("", **{"X-Forwarded-Proto": "https"})
    assert re.match(rf"__Host-{site.cookie}=[0-9a-f]{{32}}\.[\w-]+;.*; Secure", answer.headers["Set-Cookie"])
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    back = {"X-Forwarded-Proto": "https", "Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
    assert site.visitor().get("", **back).headers["Set-Cookie"] is None, "it is known again"
    assert site.visitor().get("rest/wordsuppercase", **back).status == 204
    assert "Secure" not in site.visitor().get("").headers["Set-Cookie"]


def test_without_a_proxy_nobody_is_believed_to_be_one(shared_site: Any) -> None:
    answer = shared_site.visitor().get("", **{"X-Forwarded-Proto": "https"})
    assert answer.headers["Set-Cookie"].startswith(f"{shared_site.cookie}=")
    assert answer.headers["Strict-Transport-Security"] is None


def test_a_secret_keeps_sessions_over_a_restart(server: Server, start_site: Any) -> None:
    first, second = (start_site(server.url, FRONTEND_SECRET="a secret of some length") for _ in range(2))
    session = first.visitor().get("").headers["Set-Cookie"].partition(";")[0].partition("=")[2]
    assert second.visitor().get("rest/wordsuppercase", Cookie=f"{second.cookie}={session}").status == 204


# Paths


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml", "/%2e%2e/pyproject.toml", "/..%2fpyproject.toml", "/..%5cpyproject.toml", "//etc/passwd",
        "/static/../frontend/app.py", "/%2fetc%2fpasswd", "/....//pyproject.toml", "/app.js%00.html", "/app.js/",
        "/.%2e/%2e./pyproject.toml", "http://x/../pyproject.toml", "/%252e%252e/pyproject.toml",
    ],
)  # fmt: skip
def test_there_is_no_way_out_of_the_static_files(shared_site: Any, path: str) -> None:
    status, _, body = exchange(shared_site, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert status == 404 and set(json.loads(body)) == {"error"}


def test_a_link_among_the_static_files_leads_nowhere(tmp_path: Any) -> None:
    from frontend.app import Frontend
    from frontend.settings import Settings

    (tmp_path / "index.html").write_text("page")
    (tmp_path / "secret.txt").symlink_to("/etc/passwd")
    answers: list[str] = []

    application = Frontend(None, Settings(), static=tmp_path)  # type: ignore[arg-type]
    for path in ("/index.html", "/secret.txt"):
        environ = {"PATH_INFO": path, "REQUEST_METHOD": "GET", "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost"}
        environ["wsgi.url_scheme"] = "http"
        body: Any = application(environ, lambda status, *_: answers.append(status))
        assert (b"".join(body) == b"page") is (path == "/index.html")
        getattr(body, "close", list)()
    assert [answer[:3] for answer in answers] == ["200", "404"]


@pytest.mark.parametrize("path", ["/<script>alert(1)</script>", "/'%22%3e%3cimg%20src=x%3e", "/" + "x" * 5000])
def test_nothing_is_reflected_but_a_short_quotation_in_json(shared_site: Any, path: str) -> None:
    _, head, body = exchange(shared_site, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert "Content-Type: application/json" in head and len(body) < 300
    assert body.decode("ascii") and "text/html" not in head


# Requests of which two readers could think differently


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: 2\r\nContent-Length: 2\r\n", 400),
        (b"Content-Length: 2\r\nContent-Length: 17\r\n", 400),
        (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"Content-Length: +2\r\n", 400),
        (b"Content-Length: -2\r\n", 400),
        (b"Content-Length: 2, 2\r\n", 400),
        (b"Content-Length: 0x2\r\n", 400),
        (b"Content-Length: 99999999999999999999\r\n", 413),
        (b"Content-Length: 999999999999999\r\n", 413),
        (b"Transfer-Encoding: gzip\r\n", 400),
        (b"Transfer-Encoding: gzip, chunked\r\n", 400),
        (b"Transfer-Encoding: nonsense\r\n", 501),
        (b"Transfer-Encoding: chunked, chunked\r\n", 400),
        (b"Transfer-Encoding : chunked\r\n", 400),
        (b"X: a\r\n folded\r\n", 400),
        (b"X: a\x00b\r\n", 400),
        (b"X\r\n", 400),
        (b": empty\r\n", 400),
        (b"Host: y\r\n", 400),
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_refused(quick_site: Any, head: bytes, status: int) -> None:
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connection(quick_site) as opened:
        opened.sendall(b"POST /rest/words HTTP/1.1\r\n" + JSON + head + b"\r\n{}" + smuggled)
        received = rest_of(opened)
    assert received.startswith(f"HTTP/1.1 {status} ".encode()) and received.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("body", [b"zz\r\n", b"2\r\n{}", b"2\r\n{}x\r\n0\r\n\r\n", b"f" * 20, b"-2\r\n{}\r\n0\r\n\r\n"])
def test_malformed_chunks_are_400(shared_site: Any, body: bytes) -> None:
    request = b"POST /rest/words HTTP/1.1\r\n" + JSON + b"Transfer-Encoding: chunked\r\n\r\n" + body
    status, head, _ = exchange(shared_site, request)
    assert status == 400 and "HTTP/1.1 " not in head[1:]


def test_a_body_that_ends_early_sends_no_word(shared_site: Any) -> None:
    request = b"POST /rest/words HTTP/1.1\r\n" + JSON + b'Content-Length: 30\r\n\r\n{"words": "fish"}'
    status, _, body = exchange(shared_site, request)
    assert (status, body) == (400, b'{"error":"The body ends early."}')


def test_chunks_that_are_well_formed_are_taken(shared_site: Any) -> None:
    request = b"POST /rest/words HTTP/1.1\r\n" + JSON + b"Transfer-Encoding: chunked\r\n\r\n"
    status, _, body = exchange(shared_site, request + b'9\r\n{"words":\r\n8;x=y\r\n "fish"}\r\n0\r\n\r\n')
    assert (status, body) == (200, b'{"msgCount":1}')


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(quick_site: Any) -> None:
    with connection(quick_site) as opened:
        opened.sendall(
            b"POST /rest/words HTTP/1.1\r\n" + JSON + b"Content-Length: 70000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert b"HTTP/1.1 413 " in rest_of(opened)


def test_a_chunked_body_of_no_known_length_is_bounded_too(quick_site: Any) -> None:
    chunks = (b"400\r\n" + b"x" * 1024 + b"\r\n") * 70
    with connection(quick_site) as opened:
        with suppress(ConnectionError):  # the answer may come before all of it is sent
            opened.sendall(b"POST /rest/words HTTP/1.1\r\n" + JSON + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        assert rest_of(opened).startswith(b"HTTP/1.1 413 ")


def test_two_requests_at_once_get_two_answers(shared_site: Any) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connection(shared_site) as opened:
        opened.sendall(request * 2 + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert rest_of(opened).count(b"HTTP/1.1 200 ") == 3


# Slow clients


def drip(opened: socket.socket, data: bytes, every: float = 0.05) -> bytes:
    """Send a byte at a time until the other side has had enough, and return its answer."""
    opened.settimeout(every)
    for byte in data:
        try:
            opened.sendall(bytes([byte]))
            received = opened.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            return b""
        opened.settimeout(20)
        return received + (rest_of(opened) if received else b"")
    raise AssertionError("all of it was taken")


@pytest.mark.parametrize(("begin", "slow"), [(b"", b"GET /healthz?" + b"a" * 400), (PAGE, b"X: " + b"a" * 400)])
def test_a_byte_now_and_then_buys_no_time_for_a_head(quick_site: Any, begin: bytes, slow: bytes) -> None:
    began = time.monotonic()
    with connection(quick_site) as opened:
        opened.sendall(begin)
        assert drip(opened, slow) == b""
        assert 0.9 < time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("head", "slow"),
    [(b"Content-Length: 500\r\n\r\n", b" " * 400), (b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 100)],
)
def test_a_byte_now_and_then_buys_no_time_for_a_body(server: Server, spawn: Any, head: bytes, slow: bytes) -> None:
    code = "from frontend.__main__ import main\nimport frontend.app\nfrontend.app.BODY_SECONDS = 0.5\nmain()"
    process = spawn(["-c", code], env={"MACAQUE_BROKER": server.url, "PORT": "0"})
    port = int(process.expect(r"page is at http://127.0.0.1:(\d+)/")[1])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as opened:
        began = time.monotonic()
        opened.sendall(b"POST /rest/words HTTP/1.1\r\n" + JSON + head)
        answer = drip(opened, slow)
        assert 0.4 < time.monotonic() - began < 5
    assert answer.startswith(b"HTTP/1.1 408 ") and answer.count(b"HTTP/1.1 ") == 1


def test_a_silent_connection_is_closed_without_a_word(quick_site: Any) -> None:
    with connection(quick_site) as opened:
        assert rest_of(opened) == b""
    with connection(quick_site) as opened:
        opened.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert rest_of(opened).count(b"HTTP/1.1 ") == 1, "and so is one that was used"


def test_a_held_poll_is_not_cut_by_any_time_out(quick_site: Any) -> None:
    began = time.monotonic()
    assert quick_site.visitor().get("rest/wordsuppercase?wait=2").status == 204
    assert time.monotonic() - began >= 2


def test_slow_clients_do_not_keep_others_out(server: Server, start_site: Any) -> None:
    site = start_site(server.url, GUNICORN_CMD_ARGS="--keep-alive 1 --worker-connections 20")
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(connection(site)).sendall(b"GET / HT")
        began = time.monotonic()
        assert site.visitor().get("healthz").status == 200
        assert time.monotonic() - began < 10


def test_open_files_are_no_lower_limit_than_the_one_of_connections(server: Server, spawn: Any) -> None:
    command = ["sh", "-c", f"ulimit -Sn 64 && exec '{sys.executable}' -m frontend"]
    process = spawn(command=command, env={"MACAQUE_BROKER": server.url, "PORT": "0"})
    port = int(process.expect(r"The page is at http://127.0.0.1:(\d+)/")[1])
    with ExitStack() as stack:
        for _ in range(100):
            opened = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            opened.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert opened.recv(12) == b"HTTP/1.1 200"


# Limits


@pytest.mark.parametrize(
    ("settings", "words", "status"),
    [
        ({"FRONTEND_MAX_WORDS": "3"}, "a b c d", 413),
        ({"FRONTEND_MAX_WAITING_PER_SESSION": "3"}, "a b c d", 429),
        ({"FRONTEND_MAX_WAITING": "3"}, "a b c d", 503),
    ],
)
def test_each_limit_names_itself(
    shared_server: Server, start_site: Any, settings: dict[str, str], words: str, status: int
) -> None:
    site = start_site(shared_server.url, **settings)
    site.wait_until_connected()
    answer = site.visitor().post("rest/words", {"words": words})
    (limit,) = settings
    assert answer.status == status and f"({limit})" in answer.body["error"], answer


def test_a_rate_over_the_limit_is_429_and_says_when_to_come_back(server: Server, start_site: Any) -> None:
    site = start_site(server.url, FRONTEND_RATE_PER_SESSION="1", FRONTEND_RATE_PER_ADDRESS="4")
    visitor = site.visitor(cookies=True)
    answers = [visitor.get("rest/wordsuppercase") for _ in range(6)]
    assert [answer.status for answer in answers] == [204] * 5 + [429]
    assert 1 <= int(answers[5].headers["Retry-After"]) <= 5
    assert "(FRONTEND_RATE_PER_SESSION)" in answers[5].body["error"]
    other = site.visitor(cookies=True)
    assert other.get("rest/wordsuppercase").status == 204, "another browser is not meant"
    curl = site.visitor()
    wait_until(lambda: "(FRONTEND_RATE_PER_ADDRESS)" in str(curl.get("").body), what="the limit of the address")
    assert visitor.get("healthz").status == 200, "health has no rate"


def test_polls_that_take_words_away_are_free_but_not_the_same_words_again(
    server: Server, start_site: Any, start_backend: Any
) -> None:
    start_backend()
    site = start_site(server.url, FRONTEND_RATE_PER_SESSION="1")
    site.wait_until_connected()
    visitor = site.visitor(cookies=True)
    visitor.submit("fish " * 50)  # five may come at once
    after = 0
    wait_until(lambda: b"frontend_replies_buffered 50.0" in site.visitor().get("metrics").body, what="all replies")
    for _ in range(50):
        (reply,) = visitor.cursor(after, most=1)
        after = reply["id"]
    again = f"rest/wordsuppercase?after={after}"
    assert visitor.get(again).body == {"replies": [], "out": 0}
    assert {visitor.get(again).status for _ in range(20)} == {200, 429}


def test_a_poll_more_than_the_front_end_may_hold_is_answered_at_once(server: Server, spawn: Any) -> None:
    code = "from frontend.__main__ import main\nimport frontend.offload\nfrontend.offload.MAX_POLLS = 3\nmain()"
    process = spawn(["-c", code], env={"MACAQUE_BROKER": server.url, "PORT": "0"})
    site = Site(process, process.expect(READY)[1])
    with ExitStack() as stack:
        held = [stack.enter_context(connection(site)) for _ in range(3)]
        for opened in held:
            opened.sendall(b"GET /rest/wordsuppercase?wait=20 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        metrics = site.visitor()
        wait_until(lambda: b"frontend_polls_held 3.0" in metrics.get("metrics").body, what="all polls")
        began = time.monotonic()
        assert site.visitor().get("rest/wordsuppercase?wait=20").status == 204
        assert time.monotonic() - began < 10
        assert b"frontend_polls_held 3.0" in metrics.get("metrics").body, "the others wait on"


# Health


def test_readyz_waits_for_the_replies_topic(server: Server, start_site: Any) -> None:
    site = start_site(server.url)
    site.wait_until_connected()
    assert site.visitor().get("readyz").body == {"status": "ready"}
    server.kill()
    answer = wait_until(lambda: (got := site.visitor().get("readyz")).status == 503 and got)
    assert "not connected" in answer.body["error"]


def test_metrics_count_what_happened(site: Any, start_backend: Any) -> None:
    start_backend()
    visitor = site.visitor()
    visitor.submit("a b c")
    visitor.fetch(2)
    visitor.get("nothing")
    wait_until(lambda: b"frontend_replies_buffered 1.0" in visitor.get("metrics").body, what="the third reply")
    answer = visitor.get("metrics")
    assert answer.status == 200 and answer.headers.get_content_type() == "text/plain"
    lines = answer.body.decode().splitlines()
    for line in (
        'frontend_requests_total{route="/rest/words",status="200"} 1.0',
        'frontend_requests_total{route="/rest/wordsuppercase",status="200"} 2.0',
        'frontend_requests_total{route="none",status="404"} 1.0',
        'frontend_request_seconds_count{route="/rest/words"} 1.0',
        "frontend_ready 1.0",
        "frontend_words_in_flight 0.0",
        "frontend_words_submitted_total 3.0",
        'frontend_words_total{outcome="answered"} 3.0',
        "frontend_sessions 1.0",
        "frontend_polls_held 0.0",
        'macaque_calls_total{code="ok"} 3.0',
    ):
        assert line in lines, line


@pytest.mark.parametrize(
    ("settings", "headers", "status"),
    [
        ({}, {}, 200),
        ({}, {"X-Forwarded-For": "1.2.3.4"}, 404),
        ({"FRONTEND_PROXIES": "1"}, {}, 404),
        ({"FRONTEND_METRICS": "all"}, {"X-Forwarded-For": "1.2.3.4"}, 200),
        ({"FRONTEND_METRICS": "off"}, {}, 404),
    ],
)
def test_metrics_are_for_this_machine_unless_told_otherwise(
    shared_server: Server, start_site: Any, settings: dict[str, str], headers: dict[str, str], status: int
) -> None:
    assert start_site(shared_server.url, **settings).visitor().get("metrics", **headers).status == status
