"""Calls, clients and the demo in a real Chromium."""

from __future__ import annotations

from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

import macaque
from console.browser import Browser
from console.conftest import Site, serve
from processes import Spawn, wait_until

pytestmark = pytest.mark.browser


def test_a_call_shows_its_sender_its_story_and_its_worker(site: Site, browser: Browser, spawn: Spawn) -> None:
    serve(spawn, site)
    browser.open(site.console)
    with macaque.Client(site.url, "web_1") as client:
        client.call("shop/new", {"fish": "eel"}).result()
        browser.wait_for("#messages .topic", "shop/new")
        assert browser.topics == ["response/web_1", "shop/new"]
        browser.wait_for("#messages .state", "delivered")
        browser.wait_for("#sending .name", "web_1")
        browser.wait_for("#receiving .name", "shop")
        assert '{"fish":"eel"}' in browser.texts("#messages .preview")
        browser.script("document.querySelectorAll('#messages .topic')[1].click()")
        browser.wait_for(".detail .step", "sent by web_1")
        browser.wait_for(".detail .answer", "received and settled it")
        steps = browser.texts(".detail .step > span:nth-child(2)")
        assert [each.split()[0] for each in steps] == ["sent", "given", "accepted"]
        assert '"fish": "eel"' in browser.text(".detail .body")
        browser.click(".detail .related a")
        browser.wait_for(".detail h2", "response/web_1")
        browser.keys(Keys.ESCAPE)
        wait_until(lambda: browser.path == "/messages")
        assert browser.script("return document.activeElement.textContent") == "response/web_1", "the place is kept"
        browser.click(".tabs a[href='/calls']")
        browser.wait_for(".table .state", "replied")
        assert "shop/new" in browser.text(".table tbody")


def is_answered(call: dict[str, Any]) -> bool:
    return (call["topic"], call["status"]) == ("demo/order", "replied")


def test_the_demo_shows_calls_inside_calls_and_the_clients_behind_them(site: Site, browser: Browser) -> None:
    browser.open(site.console)
    browser.wait_for(".empty", "Nobody is connected yet")
    browser.click(".empty button")
    browser.wait_for("#demo", "The demo runs")
    visitor = site.visitor().begin()
    order = wait_until(
        lambda: next(
            (
                c
                for c in visitor.get("api/calls").body["calls"]
                if (c["topic"], c["status"]) == ("demo/order", "replied")
            ),
            None,
        )
    )
    browser.open(f"{site.console}calls/{order['id']}")
    wait_until(lambda: browser.texts(".waterfall .name") == ["demo/order", "demo/stock", "demo/price"])
    left, inner = (browser.script(f"return document.querySelectorAll('.lane .worked')[{i}].style.left") for i in (0, 1))
    assert float(left.rstrip("%")) < float(inner.rstrip("%")), "an inner call begins later"
    assert "accepted" in browser.texts(".pair .body")[1]
    browser.click(".pane .line .who")
    browser.wait_for(".pane .member", "receives")
    assert browser.path == f"/clients/{order['from']}"
    assert f"private:response/{order['from']}" in browser.text(".pane")
    browser.click("#demo-end")
    wait_until(lambda: browser.has("#demo[hidden]"), what="the end of the demo")
