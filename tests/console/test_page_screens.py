"""The pages on screens of every size, in a real Chromium."""

from __future__ import annotations

import pytest

from console.browser import Browser, send
from console.conftest import Site, serve
from processes import Spawn, wait_until

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [360, 700, 1280, 2560])
def test_the_page_fits_any_screen(site: Site, browser: Browser, spawn: Spawn, width: int) -> None:
    serve(spawn, site)
    browser.resize(width)
    name = send(browser, site, "a/long/topic/" + "x" * 200, '{"body": "' + "y" * 500 + '"}')
    for path in (
        "messages",
        f"messages/{name}",
        "calls",
        f"calls/{name}",
        "clients",
        "destinations",
        "dead",
        "topics",
        "learn",
    ):
        browser.open(f"{site.console}{path}")
        wait_until(lambda: browser.has("#view > *"))
        if path == "topics":
            wait_until(lambda: browser.has(".tree li"))
        overflow = browser.script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, path
    if width == 360:
        browser.open(site.console)
        browser.script("document.querySelectorAll('.switch button')[2].click()")
        browser.wait_for("#receiving .name", "shop")
