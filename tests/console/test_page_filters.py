"""Filters and patterns in a real Chromium."""

from __future__ import annotations

import pytest

from console.browser import Browser, send
from console.conftest import Site
from processes import wait_until

pytestmark = pytest.mark.browser


def test_a_filter_is_part_of_the_address_and_says_what_is_wrong_with_it(site: Site, browser: Browser) -> None:
    browser.open(f"{site.console}messages?q=topic:pond/%23")
    send(browser, site, "pond/1"), send(browser, site, "shop/1")
    browser.wait_for("#messages .topic", "pond/1")
    assert browser.topics == ["pond/1"]
    browser.type("#filter", "topic:shop/#")
    wait_until(lambda: browser.topics == ["shop/1"])
    assert browser.path == "/messages?q=topic:shop/%23"
    browser.type("#filter", "state:lost")
    browser.wait_for(".problem", "there is no state lost")
    browser.type("#filter", "body:nothing")
    browser.wait_for(".empty", "No message of the history matches")


def test_two_pages_are_open_at_once_with_filters_of_their_own(site: Site, browser: Browser) -> None:
    browser.open(f"{site.console}messages?q=topic:a")
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("window")
    browser.open(f"{site.console}messages?q=topic:b")
    send(browser, site, "a"), send(browser, site, "b")
    wait_until(lambda: browser.topics == ["b"])
    browser.driver.switch_to.window(first)
    wait_until(lambda: browser.topics == ["a"])


def test_a_filter_can_be_pinned_and_what_it_finds_exported(site: Site, browser: Browser) -> None:
    browser.open(f"{site.console}messages?q=topic:pond/%23")
    browser.click("#pin")
    assert browser.texts(".pins a") == ["topic:pond/#"]
    browser.open(f"{site.console}messages")
    browser.click(".pins a")
    wait_until(lambda: browser.path == "/messages?q=topic:pond/%23")
    assert browser.text("#pin") == "Unpin"
    assert browser.find(".export").get_attribute("href") == f"{site.console}api/messages.jsonl?q=topic%3Apond%2F%23"
    browser.click(".pins button")
    assert browser.texts(".pins a") == []


def test_a_pattern_shows_the_topics_that_it_matches(site: Site, browser: Browser) -> None:
    for topic in ("orders/new", "shop/new"):
        send(browser, site, topic)
    browser.open(f"{site.console}topics")
    browser.wait_for(".tree b", "shop")
    browser.type("#pattern", "orders/+")
    wait_until(lambda: browser.texts(".tree b") == ["orders", "new"])
    browser.type("#pattern", "#/" * 40)
    wait_until(lambda: browser.text(".topics > section .problem"))
    browser.type("#pattern", "none")
    browser.wait_for(".tree", "No topic of the history matches")
