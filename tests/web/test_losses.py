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
    site = start_site(server.url, FRONTEND_WORD_TIMEOUT=str(WORD_TIMEOUT), FRONTEND_RATE_PER_SESSION="1000")
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
            after = replies[-1]["id"] if replies else 0
            answer = browser.get(f"rest/wordsuppercase?after={after}&wait=1")
            assert answer.status == 200, answer
            replies.extend(answer.body["replies"])
            if ended and not answer.body["replies"] and answer.body["out"] == 0:
                return

    def answered() -> int:
        return sum("error" not in reply for reply in replies)

    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        work = [pool.submit(submit), pool.submit(fetch)]
        try:
            for number in range(1, ROUNDS + 1):
                wait_until(lambda: answered() > 100 * number, 20, "answers")  # noqa: B023 (at once)
                server.kill()
                wait_until(lambda: browser.get("readyz").status == 503, what="the loss to be noticed")
                server = stack.enter_context(closing(start_server(port=server.port)))
                site.wait_until_connected()
        finally:
            over.set()
        for each in work:
            each.result(WORD_TIMEOUT + 15)

    assert Counter(reply["original"] for reply in replies) == taken
    assert all(reply["word"] == reply["original"].upper() for reply in replies if "error" not in reply)
    assert "Traceback" not in site.process.log()


def test_words_whose_response_was_lost_come_again(site: Any, start_backend: Any) -> None:
    start_backend()
    visitor = site.visitor()
    visitor.submit("a b c")
    wait_until(lambda: visitor.get("metrics").body.count(b"frontend_replies_buffered 3.0"), what="all replies")
    place = urlsplit(site.url)
    with socket.create_connection((place.hostname, place.port)) as lost:
        lost.sendall(b"GET /rest/wordsuppercase?after=0&most=2 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert lost.recv(15).startswith(b"HTTP/1.1 200")  # the rest of it never arrives
    first, again = visitor.cursor(most=2), visitor.cursor(most=2)
    assert first == again and len(first) == 2
    (last,) = visitor.cursor(after=first[-1]["id"])
    assert sorted(reply["word"] for reply in [*first, last]) == ["A", "B", "C"]
    assert visitor.cursor(wait=0) == [last], "those up to the confirmed one are forgotten"
    assert visitor.cursor(after=last["id"], wait=0) == []
    assert b"frontend_replies_buffered 0.0" in visitor.get("metrics").body


def test_two_tabs_of_a_session_see_what_the_other_has_not_confirmed(site: Any, start_backend: Any) -> None:
    start_backend()
    one, two = site.visitor(), site.visitor()
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(tab.cursor) for tab in (one, two)]
        wait_until(lambda: b"frontend_polls_held 2.0" in one.get("metrics").body, what="both polls")
        one.submit("fish")
        assert [held.result(20)[0]["word"] for held in both] == ["FISH", "FISH"]


def test_a_cursor_of_an_earlier_front_end_hides_nothing(server: Server, start_site: Any, start_backend: Any) -> None:
    start_backend()
    site = start_site(server.url)
    site.wait_until_connected()
    visitor = site.visitor()
    visitor.submit("fish")
    (reply,) = visitor.cursor()
    assert visitor.cursor(after=reply["id"] + 10**9) == [reply], "of a clock that was ahead"
    visitor.cursor(after=reply["id"], wait=0)
    site.process.kill()
    again = start_site(server.url)
    again.wait_until_connected()
    visitor = again.visitor()
    visitor.submit("fish")
    (later,) = visitor.cursor(after=reply["id"])
    assert later["id"] > reply["id"]
