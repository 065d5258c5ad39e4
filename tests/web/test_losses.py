"""Nothing vanishes: every word that was taken comes back to the browser once, answered or with its error."""

from __future__ import annotations

import itertools
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any
from urllib.parse import urlsplit

from processes import Server, start_server, wait_until

ROUNDS = 3
WORD_TIMEOUT = 5


def test_each_word_ends_once_though_the_server_is_killed_and_started_under_load(
    server: Server, start_site: Any, start_backend: Any
) -> None:
    start_backend()
    start_backend()
    site = start_site(server.url, FRONTEND_WORD_TIMEOUT=str(WORD_TIMEOUT))
    site.wait_until_connected()
    taken: Counter[str] = Counter()
    replies: list[dict[str, Any]] = []
    over = threading.Event()
    numbers = itertools.count()
    browser = site.visitor(cookies=True)

    def submit() -> None:
        while not over.wait(0.02):
            words = [f"word{next(numbers)}" for _ in range(20)]
            answer = browser.post("rest/words", {"words": " ".join(words)})
            assert answer.status in (200, 503), answer
            if answer.status == 200:
                taken.update(words)

    def fetch() -> None:
        while True:
            ended = over.is_set()
            answer = browser.get(f"rest/wordsuppercase?wait=1&ticket=tab.{len(replies)}")
            if answer.status == 200:
                replies.append(answer.body)
            elif ended and answer.headers["Words-Waiting"] == "0":
                return

    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        work = [pool.submit(submit), pool.submit(fetch)]
        try:
            for _ in range(ROUNDS):
                before = sum(taken.values())
                wait_until(lambda: sum(taken.values()) > before + 100, 20, "words under way")  # noqa: B023 (at once)
                server.kill()
                wait_until(lambda: browser.get("readyz").status == 503, what="the loss to be noticed")
                server = stack.enter_context(closing(start_server(port=server.port)))
                site.wait_until_connected()
        finally:
            over.set()
        for each in work:
            each.result(WORD_TIMEOUT + 15)

    assert Counter(reply["original"] for reply in replies) == taken
    answered = [reply for reply in replies if "error" not in reply]
    assert all(reply["word"] == reply["original"].upper() for reply in answered)
    assert len(answered) > len(replies) / 2, "most of them are no errors"
    assert "Traceback" not in site.process.log()


def test_a_word_whose_response_was_lost_comes_again(site: Any, start_backend: Any) -> None:
    start_backend()
    visitor = site.visitor()
    visitor.submit("a b")
    wait_until(lambda: visitor.get("metrics").body.count(b"frontend_replies_buffered 2.0"), what="both replies")
    place = urlsplit(site.url)
    poll = "rest/wordsuppercase?ticket=tab.{}"
    with socket.create_connection((place.hostname, place.port)) as lost:
        lost.sendall(f"GET /{poll.format(1)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert lost.recv(15).startswith(b"HTTP/1.1 200")  # the rest of it never arrives
    words = [visitor.get(poll.format(number)).body["word"] for number in (1, 1, 2)]
    assert words == ["A", "A", "B"] or words == ["B", "B", "A"]
    assert visitor.get(poll.format(3)).status == 204
    bad = visitor.get("rest/wordsuppercase?ticket=<b>")
    assert bad.status == 400 and "ticket" in bad.body["error"]


def test_a_poll_that_is_still_held_for_a_dead_connection_takes_no_word(site: Any, start_backend: Any) -> None:
    start_backend()
    visitor = site.visitor()
    place = urlsplit(site.url)
    with socket.create_connection((place.hostname, place.port), timeout=20) as dead:  # nobody will read it
        dead.sendall(b"GET /rest/wordsuppercase?wait=30&ticket=tab.1 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: b"frontend_polls_held 1.0" in visitor.get("metrics").body, what="the first poll")
        with ThreadPoolExecutor() as pool:
            held = pool.submit(visitor.get, "rest/wordsuppercase?wait=20&ticket=tab.2")
            assert dead.recv(12) == b"HTTP/1.1 204"
            visitor.submit("fish")
            assert held.result(20).body["word"] == "FISH"
