"""The web application with everything behind it failing: the words are counted where the browser is."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.proxy import Proxy
from faults.resilient import Resilient
from processes import Process, Spawn, wait_until
from web.conftest import READY, Visitor
from web.test_page import Page

HEARTBEAT = 2.0
SENTENCES, WORDS = 10, 200


class Site:
    """A front end behind a network that fails, and back ends that are replaced when they are killed."""

    def __init__(self, durable: Resilient, network: Callable[[int], Proxy], spawn: Spawn) -> None:
        self.line = network(durable.port)
        self._durable, self._spawn = durable, spawn
        self.backends = [self._start_backend(), self._start_backend()]
        durable.wait_until_kept("python-back-end")
        process = spawn(
            ["-m", "frontend"], env={"MACAQUE_BROKER": f"{self.line.url}?heartbeat={HEARTBEAT}", "PORT": "0"}
        )
        self.url = process.expect(READY)[1]
        wait_until(lambda: Visitor(self.url).get("readyz").status == 200)

    def _start_backend(self) -> Process:
        return self._spawn(["-m", "backend"], env={"MACAQUE_BROKER": self._durable.url}, ready=" serves ")

    def kill_backend(self) -> None:
        self.backends.pop(0).kill()
        self.backends.append(self._start_backend())

    def kill_server(self) -> None:
        self._durable.kill()
        self._durable.start()


@pytest.fixture
def site(durable: Resilient, network: Callable[[int], Proxy], spawn: Spawn) -> Site:
    return Site(durable, network, spawn)


class Reader(threading.Thread):
    """Polls for words as the page does, until as many have come as were submitted."""

    def __init__(self, visitor: Visitor, count: int) -> None:
        super().__init__(daemon=True)
        self.words: Counter[str] = Counter()
        self.failed: list[str] = []
        self._visitor, self._count = visitor, count
        self.start()

    @property
    def seen(self) -> int:
        return sum(self.words.values()) + len(self.failed)

    def run(self) -> None:
        while self.seen < self._count:
            answer = self._visitor.get("rest/wordsuppercase?wait=20")
            if answer.status == 200:
                if "error" in answer.body:
                    self.failed.append(answer.body["error"])
                else:
                    self.words[answer.body["word"]] += 1


def test_no_word_is_lost_or_doubled_whatever_fails_behind_the_page(
    site: Site, recovered: Callable[[str, float], None]
) -> None:
    visitor = Visitor(site.url, cookies=True)
    visitor.get("")
    reader = Reader(visitor, SENTENCES * WORDS)
    chance = random.Random(0)
    line = site.line

    def stall() -> None:
        line.stall()
        wait_until(lambda: visitor.get("readyz").status == 503, HEARTBEAT + 3)
        line.resume(forget=True)

    faults = [site.kill_server, site.kill_backend, line.cut, stall, lambda: line.cut(reset=True), site.kill_server]
    for number in range(SENTENCES):
        sentence = " ".join(f"s{number}w{word}" for word in range(WORDS))
        wait_until(lambda: visitor.post("rest/words", {"words": sentence}).status == 200, 20)  # noqa: B023
        if faults and number:
            seen = number * WORDS + chance.randrange(WORDS // 2)
            wait_until(lambda: reader.seen >= seen, 20)  # noqa: B023
            faults.pop(0)()
            began = time.monotonic()
            wait_until(lambda: reader.seen >= (number + 1) * WORDS, 30)  # noqa: B023
            recovered("a fault behind the web page", time.monotonic() - began)
    reader.join(30)
    assert not faults and not reader.is_alive(), f"{reader.seen} of {SENTENCES * WORDS} words came"
    assert not reader.failed
    assert reader.words == Counter(f"S{number}W{word}" for number in range(SENTENCES) for word in range(WORDS))


@pytest.mark.browser
def test_a_page_in_a_browser_gets_every_word_though_server_and_back_end_are_killed(site: Site, tmp_path: Path) -> None:
    page = Page(tmp_path / "profile")
    try:
        page.open(site.url)
        words = [f"word{number}" for number in range(60)]
        page.submit(" ".join(words))
        site.kill_server()
        site.kill_backend()
        page.wait_for_words([word.upper() for word in words], 30)
        assert page.failed == []
    finally:
        page.close()
