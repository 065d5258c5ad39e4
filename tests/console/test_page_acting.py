"""Sending and replaying in a real Chromium."""

from __future__ import annotations

import pytest

from console.browser import Browser, commands, run_in_terminal
from console.conftest import Site, serve
from processes import Spawn

pytestmark = pytest.mark.browser


def test_a_dead_letter_is_repaired_and_replayed(site: Site, browser: Browser, spawn: Spawn) -> None:
    browser.open(f"{site.console}learn")
    lines = commands(browser, "dead")
    service = run_in_terminal(spawn, lines[0])
    browser.driver.switch_to.new_window("tab")
    browser.open(f"{site.console}destinations")
    browser.wait_for(".table", "share prices")
    assert run_in_terminal(spawn, lines[1]).wait(20) == 0
    browser.click(".tabs a[href='/dead']")
    browser.wait_for(".letter .why", "pieces is no whole number", 15)
    field = browser.find(".letter textarea")
    assert '"pieces": "three"' in str(field.get_attribute("value"))
    mended = str(field.get_attribute("value")).replace('"three"', "3")
    browser.type(".letter textarea", mended.replace("\n", " "))
    browser.wait_for(".letter .primary", "Replay as edited")
    browser.click(".letter .primary")
    service.expect("price of 3")
    browser.wait_for(".empty", "No dead letters")
    browser.click(".results a")
    browser.wait_for(".detail .answer", "received and settled it")
    browser.driver.switch_to.window(browser.driver.window_handles[0])
    browser.wait_for("#learn-dead .tick", "Done")


def test_a_message_is_sent_after_a_look_where_it_would_go(site: Site, browser: Browser, spawn: Spawn) -> None:
    serve(spawn, site)
    browser.open(site.console)
    browser.click("#send")
    browser.type("dialog[open] [name=topic]", "shop/new")
    browser.wait_for("dialog[open]", "It would go to share:shop:shop/new")
    browser.type("dialog[open] [name=body]", "hello")
    browser.click("dialog[open] .primary")
    browser.wait_for(".detail h2", "shop/new")
    browser.wait_for(".detail .step", "sent by console")
