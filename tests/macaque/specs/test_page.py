from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from selenium.webdriver.common.by import By

from browsers import start_chromium
from described import HOSTILE, described, services, shop
from macaque.observe.info import ServiceInfo
from macaque.specs.page import POLICY, page

ELEMENTS = set(
    "html head meta title style body header h1 h2 h3 p a div nav ul li main article code span section table "
    "thead tbody tr th td pre dl dt dd".split()
)
ATTRIBUTES = set("lang charset name content http-equiv href class id scope tabindex aria-label".split())


class Read(HTMLParser):
    """The elements of a page, their attributes and texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        for name, value in attrs:
            self.attributes.append((name, value or ""))
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.targets.append(value or "")

    def handle_data(self, data: str) -> None:
        if self.elements[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def made(infos: list[ServiceInfo], title: str = "Shop", **options: object) -> str:
    return page(infos, title=title, version="1.0", **options)  # type: ignore[arg-type]


def test_the_page_tells_what_a_service_takes_and_returns_and_how_it_is_called() -> None:
    read = Read(made(described(shop()), http="http://127.0.0.1:8080", links=[("OpenAPI", "openapi.json")]))
    for text in (
        "Shop", "Version 1.0 · 5 services", "OpenAPI", "shop/buy", "Buy something.", "60 s", "lines[].count",
        "At least 1, default 1.", "Receipt or null", "macaque call shop/log/LEVELS", "In Python",
        "Reply: a stream of parts",
        "curl 'http://127.0.0.1:8080/shop/find?id=0d6d5b5c-7f5e-4f0b-9a63-6f1a57e3a4b1&size=large'",
    ):  # fmt: skip
        assert text in read.text, text
    assert "openapi.json" in read.targets
    assert {target for target in read.targets if target.startswith("#")} == {
        f"#{name}" for name in read.ids if name != "errors"
    }


def test_each_reader_gets_the_calls_that_work_for_it() -> None:
    gateway = Read(made(described(shop()), amqp=False, http="https://shop.example", tokens=True)).text
    assert "In Python" not in gateway and "macaque call" not in gateway and "NoResponders" not in gateway
    assert "Bearer $TOKEN" in gateway and "504" in gateway
    inside = Read(made(described(shop()))).text
    assert "curl" not in inside and "504" not in inside and "NoResponders" in inside
    assert "No services" in made([])


@settings(max_examples=60, deadline=None)
@given(services())
def test_no_text_of_a_service_becomes_an_element_or_an_attribute(infos: list[ServiceInfo]) -> None:
    read = Read(made(infos, HOSTILE, http="http://127.0.0.1:8080"))
    assert set(read.elements) <= ELEMENTS and read.elements.count("article") == len(infos) + bool(infos)
    assert {name for name, _ in read.attributes} <= ATTRIBUTES
    assert all(re.fullmatch(r"#[\w.-]+", target) for target in read.targets)
    assert len(read.ids) == len(set(read.ids))


def test_hostile_text_of_another_program_is_text() -> None:
    schema = {"title": HOSTILE, "properties": {HOSTILE: {"type": HOSTILE, "description": HOSTILE, "default": HOSTILE}}}
    info = ServiceInfo(topic=HOSTILE, share=HOSTILE, doc=f"{HOSTILE}\n{HOSTILE}", request=schema, reply=schema)
    html = made([info], HOSTILE, links=[(HOSTILE, "openapi.json")])
    read = Read(html)
    assert set(read.elements) <= ELEMENTS and "<script" not in html
    assert read.text.count(HOSTILE) > 5
    unseen = Read(made([ServiceInfo(topic="a\u202eb", doc="a\x00b\ud800c\u2028d")]))
    assert "a\ufffdb" in unseen.text and "a\ufffdb\ufffdc d" in unseen.text
    made([info]).encode()
    assert Read(made([ServiceInfo(topic="errors"), ServiceInfo(topic="errors", share="a")])).ids == [
        "errors2",
        "errors3",
        "errors",
    ]


def test_the_page_is_one_file_without_scripts() -> None:
    html = made(described(shop()))
    assert (
        html.startswith("<!DOCTYPE html>\n<html")
        and "src=" not in html
        and "@import" not in html
        and "url(" not in html
    )
    assert POLICY in html and "script-src" not in POLICY and "default-src 'none'" in POLICY


@pytest.mark.browser
def test_the_page_fits_any_screen_and_needs_nothing_else(tmp_path: Path) -> None:
    long = ServiceInfo(
        topic="shop/" + "x" * 300, doc=HOSTILE, request={"title": "y" * 300, "properties": {"z" * 300: {}}}
    )
    path = tmp_path / "page.html"
    path.write_text(made([*described(shop()), long], HOSTILE, http="http://127.0.0.1:8080"), encoding="utf-8")
    browser = start_chromium(tmp_path / "profile")
    try:
        for scheme, background in ("light", "rgb(238, 245, 244)"), ("dark", "rgb(8, 23, 29)"):
            media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            for width in 360, 1280, 2560:
                size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
                browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
                browser.get(path.as_uri())
                root = "document.documentElement"
                assert browser.execute_script(f"return {root}.scrollWidth - {root}.clientWidth") <= 0, (scheme, width)
                shown = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
                assert shown == background  # so the policy lets the style in
        assert browser.title == HOSTILE and browser.find_element(By.TAG_NAME, "h1").text == HOSTILE
        browser.find_element(By.LINK_TEXT, "shop/find").click()
        assert browser.execute_script("return document.querySelector('article:target h2').innerText") == "shop/find"
        loaded = "return performance.getEntriesByType('resource').map(each => each.name)"
        assert browser.execute_script(loaded) == [] and browser.get_log("browser") == []
    finally:
        browser.quit()
