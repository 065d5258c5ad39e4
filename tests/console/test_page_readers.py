"""The readers of a page, and hostile names on it, in a real Chromium."""

from __future__ import annotations

import pytest

import macaque
from console.browser import Browser, send
from console.conftest import Site, Start, serve
from processes import Spawn, wait_until

pytestmark = pytest.mark.browser


def test_names_and_bodies_of_strangers_show_as_text(site: Site, browser: Browser, spawn: Spawn) -> None:
    evil = "<img src=x onerror=document.title='taken'>"
    serve(spawn, site)
    browser.open(site.console)
    name = send(browser, site, f"shop/{evil}", f'{{"a": "{evil}", "b": "\u202egnp.exe"}}')
    with macaque.Client(site.url) as client, pytest.raises(macaque.NoResponders):
        client.call(f"call/{evil}", evil).result()
    browser.wait_for("#messages .topic", f"shop/{evil}")
    browser.open(f"{site.console}messages/{name}")
    browser.wait_for(".detail .body", evil)
    for page in ("calls", "topics", "destinations", "dead"):
        browser.open(f"{site.console}{page}")
        wait_until(lambda: browser.has(".page"))
    browser.wait_for("#view", "Dead letters")
    assert browser.script("return document.title") == "Dead letters · macaque console"
    assert not browser.has("img")


def test_a_reader_who_may_not_act_sees_no_dead_buttons(start_console: Start, browser: Browser) -> None:
    site = start_console()
    browser.open(site.console)
    assert "Reading only" in browser.text("#padlock")
    assert "Send a message" not in browser.text("#view")


def test_a_user_logs_in_and_out(start_console: Start, users: object, browser: Browser) -> None:
    site = start_console("--users", str(users))
    browser.driver.get(site.console)
    wait_until(lambda: browser.has(".login"))
    browser.type(".login [name=user]", "fish")
    browser.type(".login [name=password]", "wrong")
    browser.click(".login .primary")
    browser.wait_for(".login .error", "wrong user or password")
    browser.type(".login [name=password]", "right")
    browser.click(".login .primary")
    browser.wait_for("#padlock", "fish: reads only")
    wait_until(lambda: browser.text("#connection") == "Live")
    browser.click("#padlock button")
    wait_until(lambda: browser.has(".login"))


def test_the_page_comes_back_when_its_server_does(start_console: Start, browser: Browser) -> None:
    site = start_console("--console-admin")
    port = site.console.split(":")[2].strip("/")
    browser.open(site.console)
    site.server.stop()
    wait_until(lambda: browser.text("#connection") == "Lost contact")
    again = start_console("--console-admin", "--console-port", port)
    wait_until(lambda: browser.text("#connection") == "Live", 15, "the contact with the new server")
    send(browser, again, "new")
    browser.wait_for("#messages .topic", "new")
