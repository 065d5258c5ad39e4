"""The list of messages in a real Chromium: what it says, and how it is held."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.keys import Keys

from console.browser import Browser, send
from console.conftest import Site, serve
from processes import Spawn, wait_until

pytestmark = pytest.mark.browser


def test_a_wrong_topic_explains_itself_on_the_row(site: Site, browser: Browser, spawn: Spawn) -> None:
    serve(spawn, site)
    browser.open(site.console)
    name = send(browser, site, "shop/nwe")
    browser.wait_for(".row .why", "Nobody is subscribed to this topic; 1 subscription comes close: shop/new")
    browser.wait_for(".row .state", "to nobody")
    browser.open(f"{site.console}messages/{name}")
    browser.wait_for(".detail .remedy", "Compare the topic with these patterns")


def test_the_list_can_be_held_and_nothing_moves(site: Site, browser: Browser) -> None:
    browser.open(site.console)
    send(browser, site, "first")
    browser.wait_for("#messages .topic", "first")
    browser.keys(Keys.SPACE)
    assert browser.text("#hold") == "Go on"
    send(browser, site, "second"), send(browser, site, "third")
    browser.wait_for("#fresh", "2 new")
    assert browser.topics == ["first"]
    browser.click("#fresh")
    wait_until(lambda: browser.topics == ["third", "second", "first"])


def test_a_row_with_the_focus_stays_where_it_is(site: Site, browser: Browser) -> None:
    browser.open(site.console)
    send(browser, site, "first")
    browser.wait_for("#messages .topic", "first")
    browser.keys("j")
    assert browser.script("return document.activeElement.textContent") == "first"
    send(browser, site, "second")
    browser.wait_for("#fresh", "1 new")
    assert browser.script("return document.activeElement.textContent") == "first"
    browser.keys(Keys.ENTER)
    browser.wait_for(".detail h2", "first")


def test_the_history_is_cleared_after_a_question(site: Site, browser: Browser) -> None:
    browser.open(site.console)
    send(browser, site, "first")
    browser.wait_for("#messages .topic", "first")
    browser.click("#clear")
    browser.wait_for("dialog[open]", "The messages themselves stay where they are")
    browser.click("dialog[open] .danger")
    browser.wait_for(".empty", "Nobody is connected yet")
