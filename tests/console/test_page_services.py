"""Services in a real Chromium: what their servers tell, and the form that calls them."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.keys import Keys

from console.browser import Browser
from console.conftest import Site, Start, serve
from processes import Spawn, wait_until

pytestmark = pytest.mark.browser

TYPED = """
import dataclasses
import macaque
from typing import Literal, Optional

@dataclasses.dataclass
class Address:
    street: str
    floor: Optional[int] = None

@dataclasses.dataclass
class Order:
    fish: Literal["eel", "carp"]
    pieces: int
    gift: bool = False
    to: Optional[Address] = None

app = macaque.Server(cid="shop_1")

@app.service("shop/order", share_id="shop")
def order(data: Order) -> dict:
    \"\"\"Take an order.\"\"\"
    if not data.pieces:
        raise ValueError("an order has at least one piece")
    return dataclasses.asdict(data)

@app.service("shop/echo")
def echo(data):
    return data

app.run()
"""


def test_a_typed_service_is_called_by_a_form(site: Site, browser: Browser, spawn: Spawn) -> None:
    serve(spawn, site, TYPED)
    browser.open(f"{site.console}services")
    browser.wait_for(".table th a", "shop/order")
    assert browser.texts(".table tbody .about") == ["", "Take an order."]
    browser.click(".table tbody tr:nth-child(2) a")
    browser.wait_for(".pane h2", "shop/order")
    browser.wait_for(".pane .table", "shop_1")
    browser.click(".caller .primary")
    browser.wait_for(".reply-box .problem", "It answered with an error")
    assert "at least one piece" in browser.text(".reply-box .body")
    labels = browser.texts(".caller label > span")
    place = labels.index("pieces") + 1
    browser.type(f".caller .fields > label:nth-of-type({place}) input", "3")
    browser.click(".caller .check input")
    browser.click(".caller .primary")
    browser.wait_for(".reply-box .line", "It replied after")
    said = " ".join(browser.text(".reply-box .body").split())
    assert '"pieces": 3' in said and '"gift": true' in said and '"to": null' in said, "untouched members are left out"
    browser.click(".reply-box .line a")
    browser.wait_for(".pane .line", "console called")
    browser.wait_for(".table .state", "error")


def test_a_service_without_types_is_called_with_json(site: Site, browser: Browser, spawn: Spawn) -> None:
    serve(spawn, site, TYPED)
    browser.open(f"{site.console}services/shop%2Fecho")
    browser.wait_for(".pane h2", "shop/echo")
    browser.type(".caller textarea", '{"n": 12345678901234567890}')
    browser.click(".caller .primary")
    browser.wait_for(".reply-box .body", "12345678901234567890")
    browser.type(".caller textarea", "{")
    browser.click(".caller .primary")
    browser.wait_for(".reply-box .problem", "the data is no JSON")


def test_a_form_stays_as_it_is_while_figures_change(site: Site, browser: Browser, spawn: Spawn) -> None:
    serve(spawn, site, TYPED)
    browser.open(f"{site.console}services/shop%2Fecho")
    browser.wait_for(".pane h2", "shop/echo")
    browser.type(".caller textarea", '"half')
    site.visitor().begin().post("api/services/call", {"topic": "shop/echo", "data": "1"})
    calls = ".pane .table tbody tr td:nth-child(6)"
    wait_until(lambda: browser.texts(calls) == ["1"], what="the figures after the call")
    assert browser.find(".caller textarea").get_attribute("value") == '"half'


def test_a_reader_who_may_not_act_sees_no_form(start_console: Start, browser: Browser, spawn: Spawn) -> None:
    site = start_console()
    serve(spawn, site, TYPED)
    browser.open(f"{site.console}services/shop%2Forder")
    browser.wait_for(".pane", "start the server with --console-admin")
    assert not browser.has(".caller")


def test_the_rows_of_a_table_can_be_walked_and_closed_by_keys(site: Site, browser: Browser, spawn: Spawn) -> None:
    serve(spawn, site, TYPED)
    browser.open(f"{site.console}services")
    browser.wait_for(".table th a", "shop/order")
    browser.keys("j", "j", "k", "j", Keys.ENTER)
    browser.wait_for(".pane h2", "shop/order")
    browser.keys(Keys.ESCAPE)
    wait_until(lambda: browser.path == "/services")
    assert browser.texts(".pane h2") == []
