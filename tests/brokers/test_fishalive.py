"""The web application, on every broker: over HTTP, and once in the browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from processes import Spawn, wait_until
from real_brokers import Broker
from web.conftest import READY, SENTENCE, Site
from web.test_page import Page

WORDS = sorted(SENTENCE.upper().replace(",", "").split())


@pytest.fixture
def site(spawn: Spawn, broker: Broker) -> Site:
    """A front end with a back end."""
    environ = {"MACAQUE_BROKER": broker.url, "PORT": "0"}
    spawn(["-m", "backend"], ready=" serves ", env=environ)
    process = spawn(["-m", "frontend"], env=environ)
    site = Site(process, process.expect(READY)[1])
    site.wait_until_connected()
    return site


def test_each_word_of_a_sentence_comes_back_once(site: Site) -> None:
    visitor = site.visitor()
    assert visitor.submit(SENTENCE) == len(WORDS)
    assert sorted(reply["word"].strip(",") for reply in visitor.fetch(len(WORDS))) == WORDS


def test_words_come_back_after_the_broker_was_killed(site: Site, broker: Broker) -> None:
    broker.remember()
    broker.kill()
    broker.start()
    visitor = site.visitor()
    wait_until(lambda: visitor.get("readyz").status == 200, 40, "the front end's connection")

    def comes_back() -> bool:
        visitor.submit("again")
        return visitor.get("rest/wordsuppercase?wait=5").status == 200

    wait_until(comes_back, 40, "a word")


@pytest.mark.browser
def test_the_page_shows_every_word(site: Site, tmp_path: Path) -> None:
    page = Page(tmp_path)
    try:
        page.open(site.url)
        page.submit("one two three")
        page.wait_for_words(["ONE", "TWO", "THREE"])
    finally:
        page.close()
