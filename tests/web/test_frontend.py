"""The front end over HTTP: a real process, a real server, real back ends."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import macaque
from frontend.app import STATIC
from processes import Server, start_server, wait_until

SENTENCE = "One, Two, Three, Four, Five, Once I Caught a Fish Alive"

SERVICE = "mqlight/sample/wordsuppercase"


def words_of(replies: list[dict[str, Any]]) -> list[str]:
    return sorted(reply["word"] for reply in replies)


@contextmanager
def held_poll(site: Any) -> Iterator[socket.socket]:
    """A connection on which a poll waits for a word; it is closed at the end."""
    place = urlsplit(site.url)
    with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
        connection.sendall(b"GET /rest/wordsuppercase?wait=30 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        site.visitor().get("healthz")  # connections are served in turn: by now the poll is held
        yield connection


# The page


def test_the_page_comes_with_a_session_cookie_that_scripts_cannot_read(shared_site: Any) -> None:
    answer = shared_site.visitor().get("")
    assert answer.status == 200 and b"<h1>" in answer.body
    cookie = answer.headers["Set-Cookie"]
    assert re.match(rf"{shared_site.cookie}=[0-9a-f]{{32}}\.[\w-]+;", cookie)
    assert "HttpOnly" in cookie and "samesite=lax" in cookie.lower() and "secure" not in cookie.lower()


def test_a_browser_keeps_its_session_when_it_loads_the_page_again(shared_site: Any) -> None:
    visitor = shared_site.visitor(cookies=True)
    assert len(visitor.jar) == 1
    assert visitor.get("").headers["Set-Cookie"] is None


@pytest.mark.parametrize("name", sorted(path.name for path in STATIC.iterdir()))
def test_each_asset_has_its_type_and_may_not_be_guessed_at(shared_site: Any, name: str) -> None:
    types = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    answer = shared_site.visitor().get(name)
    assert answer.status == 200 and answer.body == (STATIC / name).read_bytes()
    assert answer.headers.get_content_type() in (types[Path(name).suffix], "application/javascript")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_allows_no_inline_script_and_has_none(shared_site: Any) -> None:
    answer = shared_site.visitor().get("")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    html = answer.body.decode()
    html = html.replace('<a href="https://', "<a ")  # a link loads nothing
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|https?://(?!www\.w3\.org)", html)


@pytest.mark.parametrize("path", ["missing.js", "..%2fpyproject.toml", "%2e%2e/pyproject.toml", "rest", "rest/nothing"])
def test_what_is_not_there_is_404_in_json(shared_site: Any, path: str) -> None:
    answer = shared_site.visitor().get(path)
    assert answer.status in (403, 404) and "error" in answer.body


# Words there and back


def test_eleven_words_come_back_in_upper_case(site: Any, start_backend: Any) -> None:
    backend = start_backend()
    visitor = site.visitor()
    assert visitor.submit(SENTENCE) == 11
    replies = visitor.fetch(11)
    assert words_of(replies) == sorted(SENTENCE.upper().split())
    assert all(re.fullmatch(r"Python: \w+", reply["backend"]) for reply in replies)
    assert all(reply["original"].upper() == reply["word"] and reply["roundTripMs"] > 0 for reply in replies)
    backend.expect("received 'Alive'")
    assert visitor.get("rest/wordsuppercase").status == 204


def test_words_in_any_script_and_markup_come_back_as_they_are(site: Any, start_backend: Any) -> None:
    start_backend()
    visitor = site.visitor()
    visitor.submit('straße <b>x</b> "q" \u0000 ñandú 🐟')
    assert words_of(visitor.fetch(6)) == sorted('STRASSE <B>X</B> "Q" \u0000 ÑANDÚ 🐟'.split())


def test_the_page_that_ibm_published_gets_what_it_expects(site: Any, start_backend: Any) -> None:
    """Its script posts JSON, polls with the time as its query, and reads `word` and how `backend` begins."""
    start_backend()
    visitor = site.visitor(cookies=True)
    poll = f"rest/wordsuppercase?{time.time_ns() // 1_000_000}"
    assert visitor.get(poll).status == 204
    assert visitor.submit(SENTENCE) == 11
    words = []
    while len(words) < 11:
        answer = wait_until(lambda: (got := visitor.get(poll)).status == 200 and got, what="a word")
        assert answer.headers.get_content_type() == "application/json"
        assert answer.body["backend"].startswith("Python")
        words.append(answer.body["word"])
    assert sorted(words) == sorted(SENTENCE.upper().split())
    assert visitor.get(poll).status == 204


def test_the_response_says_how_many_words_are_waiting(site: Any, start_backend: Any) -> None:
    start_backend()
    visitor = site.visitor()
    visitor.submit("a b c")
    waiting = [visitor.get("rest/wordsuppercase?wait=10").headers["Words-Waiting"] for _ in range(3)]
    assert waiting == ["2", "1", "0"]
    assert visitor.get("rest/wordsuppercase").headers["Words-Waiting"] == "0"


def test_a_poll_without_wait_answers_at_once(shared_site: Any) -> None:
    began = time.monotonic()
    assert shared_site.visitor().get("rest/wordsuppercase").status == 204
    assert time.monotonic() - began < 2


def test_a_poll_is_held_as_long_as_it_asks_for(shared_site: Any) -> None:
    began = time.monotonic()
    assert shared_site.visitor().get("rest/wordsuppercase?wait=0.5").status == 204
    assert 0.5 <= time.monotonic() - began < 5


def test_a_held_poll_answers_when_a_word_arrives(site: Any, start_backend: Any) -> None:
    start_backend()
    visitor = site.visitor()
    with ThreadPoolExecutor() as pool:
        held = pool.submit(visitor.get, "rest/wordsuppercase?wait=30")
        visitor.submit("fish")
        assert held.result(20).body["word"] == "FISH"


def test_a_poll_whose_client_has_gone_takes_no_word(site: Any, start_backend: Any) -> None:
    start_backend()
    visitor = site.visitor()
    for _ in range(10):  # each would take a word, if it could
        with held_poll(site):
            pass
    visitor.submit("a b c d e")
    assert words_of(visitor.fetch(5)) == ["A", "B", "C", "D", "E"]


def test_sessions_see_their_own_words_and_clients_without_cookie_share(site: Any, start_backend: Any) -> None:
    start_backend()
    mine, yours, curl, other_curl = site.visitor(True), site.visitor(True), site.visitor(), site.visitor()
    mine.submit("mine " * 20)
    yours.submit("yours " * 20)
    curl.submit("shared " * 20)
    assert words_of(mine.fetch(20)) == ["MINE"] * 20
    assert words_of(yours.fetch(20)) == ["YOURS"] * 20
    assert words_of(curl.fetch(10) + other_curl.fetch(10)) == ["SHARED"] * 20
    assert all(visitor.get("rest/wordsuppercase").status == 204 for visitor in (mine, yours, curl))


def test_two_backends_divide_the_words(site: Any, start_backend: Any) -> None:
    start_backend()
    start_backend()
    visitor = site.visitor()
    visitor.submit("word " * 200)
    backends = Counter(reply["backend"] for reply in visitor.fetch(200))
    assert len(backends) == 2 and min(backends.values()) > 20, backends


def test_a_killed_worker_loses_no_word(site: Any, start_backend: Any) -> None:
    start_backend()
    victim = start_backend()
    visitor = site.visitor(True)
    sentence = " ".join(f"word{number}" for number in range(2000))
    with ThreadPoolExecutor() as pool:
        submitted = pool.submit(visitor.submit, sentence)
        replies = visitor.fetch(100)
        victim.kill()
        replies += visitor.fetch(1900)
        assert submitted.result(20) == 2000
    assert not [reply for reply in replies if "error" in reply]
    assert words_of(replies) == sorted(sentence.upper().split())


def test_words_wait_for_a_backend_that_was_stopped(site: Any, start_backend: Any) -> None:
    assert start_backend().stop() == 0
    visitor = site.visitor()
    visitor.submit(SENTENCE)
    assert visitor.get("rest/wordsuppercase?wait=0.5").status == 204
    start_backend()
    assert words_of(visitor.fetch(11)) == sorted(SENTENCE.upper().split())


def test_two_kinds_of_backend_answer_every_word_once_each(site: Any, start_backend: Any, start_service: Any) -> None:
    start_backend()
    start_service('{"word": data["word"].upper(), "backend": "Ruby: r1"}')
    visitor = site.visitor()
    visitor.submit(SENTENCE)
    replies = visitor.fetch(22)
    for kind in ("Python", "Ruby"):
        assert words_of([r for r in replies if r["backend"].startswith(kind)]) == sorted(SENTENCE.upper().split())
    firsts = [reply for reply in replies if not reply.get("again")]
    assert words_of(firsts) == sorted(SENTENCE.upper().split())
    assert visitor.get("rest/wordsuppercase?wait=0.3").status == 204


def test_of_two_kinds_one_may_fail(site: Any, start_backend: Any, start_service: Any) -> None:
    start_backend()
    start_service('macaque.abort(418, "no such fish")')
    visitor = site.visitor()
    visitor.submit("fish")
    replies = sorted(visitor.fetch(2), key=lambda reply: reply["word"])
    assert [reply["word"] for reply in replies] == ["FISH", "fish"]
    assert replies[1]["error"] == "The worker failed: no such fish (code 418)"


def test_answers_of_the_second_kind_are_no_words_that_wait(site: Any, start_backend: Any, start_service: Any) -> None:
    start_backend()
    start_service('{"word": data["word"].upper(), "backend": "Ruby: r1"}')
    visitor = site.visitor()
    visitor.submit("fish")
    answers = [visitor.get("rest/wordsuppercase?wait=10") for _ in range(2)]
    assert [answer.headers["Words-Waiting"] for answer in answers] == ["0", "0"]
    assert [answer.body.get("again") for answer in answers] == [None, True]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_backend_stops_cleanly(start_backend: Any, number: signal.Signals) -> None:
    backend = start_backend()
    backend.signal(number)
    assert backend.wait() == 0
    assert "Traceback" not in backend.log()


# Words that fail


def test_with_no_backend_each_word_fails_at_once_and_says_how_to_start_one(site: Any) -> None:
    visitor = site.visitor()
    began = time.monotonic()
    assert visitor.submit(SENTENCE) == 11
    replies = visitor.fetch(11)
    assert time.monotonic() - began < 5
    assert words_of(replies) == sorted(SENTENCE.split())
    assert {reply["error"] for reply in replies} == {
        f"No service listens on {SERVICE}. Start a worker with: python -m backend"
    }
    assert not any("backend" in reply for reply in replies)


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("[1]", r"The worker answered \[1\]"),
        ("1 / 0", r"The worker failed: .*division by zero"),
        ('macaque.abort(418, "no such fish")', r"The worker failed: no such fish"),
    ],
)
def test_a_worker_that_fails_is_quoted(site: Any, start_service: Any, expression: str, error: str) -> None:
    start_service(expression)
    visitor = site.visitor()
    visitor.submit("fish")
    (reply,) = visitor.fetch(1)
    assert reply["word"] == "fish" and re.match(error, reply["error"]), reply


def test_a_backend_refuses_what_is_not_a_word(server: Server, start_backend: Any) -> None:
    start_backend()
    with macaque.Client(server.url) as client:
        for data in (None, {}, {"word": 5}, ["x"]):
            error = client.call(SERVICE, data).exception()
            assert isinstance(error, macaque.RemoteError) and error.code == 400
        assert client.call(SERVICE, {"word": "x"}).result()["word"] == "X"


# Bad input


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "truncated"),
        (b"words=hello", "malformed"),
        (b'{"words": "a"', "truncated"),
        (b'{"words": "\xff"}', "UTF-8"),
        (b'{"words": "\\ud800"}', "truncated"),
        (b"[" * 60_000, "Expected `object`"),
        (b"[]", "Expected `object`"),
        (b"{}", "required field `words`"),
        (b'{"Words": "a"}', "required field `words`"),
        (b'{"words": 7}', "Expected `str`, got `int`"),
        (b'{"words": null}', "Expected `str`, got `null`"),
        (b'{"words": ["a"]}', "Expected `str`, got `array`"),
        (b'{"words": ""}', "Write at least one word."),
        (b'{"words": " \\n "}', "Write at least one word."),
    ],
)
def test_bad_input_is_400_and_says_what_is_wrong(shared_site: Any, body: bytes, reason: str) -> None:
    answer = shared_site.visitor().post("rest/words", body)
    assert answer.status == 400 and reason.lower() in answer.body["error"].lower(), answer


def test_64_kib_is_taken_and_more_is_413(shared_site: Any) -> None:
    body = b'{"words": "fish"}'
    visitor = shared_site.visitor(cookies=True)
    assert visitor.post("rest/words", body.ljust(65536)).status == 200
    answer = visitor.post("rest/words", body.ljust(65537))
    assert answer.status == 413 and "65536 bytes" in answer.body["error"]


@pytest.mark.parametrize("wait", ["-1", "31", "soon", "nan", "inf", ""])
def test_a_wait_out_of_range_is_400(shared_site: Any, wait: str) -> None:
    answer = shared_site.visitor().get(f"rest/wordsuppercase?wait={wait}")
    assert answer.status == 400 and f"'wait={wait}' is not valid" in answer.body["error"]


def test_another_method_is_405_in_json_and_names_the_right_one(shared_site: Any) -> None:
    answer = shared_site.visitor().get("rest/words")
    assert answer.status == 405 and answer.headers["Allow"] == "OPTIONS, POST" and "POST" in answer.body["error"]


@pytest.mark.parametrize("cookie", ["\xe9", "x", "../../etc", "a" * 64, "%00" * 8, '"x', "", "a{b}"])
def test_a_cookie_that_is_not_ours_gets_403_and_the_page_gives_a_new_one(shared_site: Any, cookie: str) -> None:
    visitor = shared_site.visitor()
    for answer in (
        visitor.post("rest/words", {"words": "fish"}, Cookie=f"{shared_site.cookie}={cookie}"),
        visitor.get("rest/wordsuppercase", Cookie=f"{shared_site.cookie}={cookie}"),
    ):
        assert answer.status == 403 and answer.body["code"] == "unknown-session"
        assert answer.headers["Set-Cookie"] is None
    given = visitor.get("", Cookie=f"{shared_site.cookie}={cookie}").headers["Set-Cookie"]
    assert re.match(rf"{shared_site.cookie}=[0-9a-f]{{32}}\.[\w-]+;", given) and f"={cookie};" not in given


# The connection, and the process


def test_without_a_server_the_page_is_there_and_words_get_503(start_site: Any, server: Server) -> None:
    server.kill()
    site = start_site(server.url)
    visitor = site.visitor()
    assert visitor.get("").status == 200
    assert visitor.get("healthz").status == 200
    assert visitor.get("readyz").status == 503
    answer = visitor.post("rest/words", {"words": "fish"})
    assert answer.status == 503 and "mqlight.server" in answer.body["error"]
    assert visitor.get("rest/wordsuppercase").status == 204
    with start_server_again(server):
        site.wait_until_connected()


def test_a_lost_server_shows_and_comes_back(site: Any, server: Server) -> None:
    visitor = site.visitor()
    server.kill()
    wait_until(lambda: visitor.get("readyz").status == 503)
    assert visitor.post("rest/words", {"words": "fish"}).status == 503
    with start_server_again(server):
        site.wait_until_connected()
        assert visitor.submit("fish") == 1


class start_server_again:
    """The server of a test, once more, on the port that it had."""

    def __init__(self, server: Server) -> None:
        self._port = server.port

    def __enter__(self) -> Server:
        self._server = start_server(port=self._port)
        return self._server

    def __exit__(self, *_: object) -> None:
        self._server.close()


def test_a_port_in_use_is_one_line_that_names_it_and_exit_code_2(spawn: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = spawn(["-m", "frontend"], env={"PORT": str(port)})
        assert process.wait(20) == 2
    (line,) = process.log().splitlines()
    assert f"port {port} (Address already in use)" in line and "set PORT" in line


def test_a_backend_that_cannot_know_its_server_says_so_in_one_line(spawn: Any) -> None:
    backend = spawn(["-m", "backend"], env={"MACAQUE_BROKER": "http//nowhere"})
    assert backend.wait(20) == 2
    (line,) = backend.log().splitlines()
    assert line.startswith("backend: ") and "http//nowhere" in line


@pytest.mark.parametrize("variable", ["PORT", "HOST", "MACAQUE_BROKER"])
def test_an_environment_that_cannot_work_is_one_line_and_exit_code_2(spawn: Any, variable: str) -> None:
    bad = {"PORT": "eighty", "HOST": "256.1.1.1", "MACAQUE_BROKER": "http//nowhere"}[variable]
    process = spawn(["-m", "frontend"], env={"PORT": "0"} | {variable: bad})
    assert process.wait(20) == 2
    (line,) = process.log().splitlines()
    assert bad in line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_front_end_stops_within_5_seconds_though_a_poll_is_held(site: Any, number: signal.Signals) -> None:
    with held_poll(site) as connection:
        site.process.signal(number)
        assert site.process.wait(5) == 0
        assert connection.recv(1024).startswith(b"HTTP/1.1 204")
    assert "Traceback" not in site.process.log()
