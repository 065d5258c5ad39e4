"""The site of docs/ is made without a warning, has no dead link, needs no other host, and has every public name."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from selenium.webdriver.common.by import By

from browsers import start_chromium
from environments import run
from processes import ROOT, wait_until

CONFIGURATION = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
SITE = ROOT / "build/site"
API = {
    "macaque": "api-macaque.html",
    "macaque.metrics": "api-macaque.html",
    "macaque.testing": "api-macaque.html",
    "mqlight": "api-mqlight.html",
    "mqlight.amqp": "api-amqp.html",
}
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
"""The elements whose targets a browser fetches by itself."""


class Page(HTMLParser):
    """The anchors of a page of the site, its links, and the files that a browser loads for it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if name := given.get("id"):
            self.anchors.add(name)
        if tag == "a" and (target := given.get("href")):
            self.links.add(target)
        if (target := given.get(LOADED.get(tag, ""))) and given.get("rel") not in ("canonical", "prev", "next"):
            self.loaded.add(target)


@pytest.fixture(scope="module")
def said() -> str:
    """Build the site, and return what was printed."""
    for module in ("zensical", "mkdocstrings_handlers.python"):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if not found:
            pytest.skip(f"{module} is not installed: run make docs, or pip install -e '.[docs]'")
    return run([sys.executable, ROOT / "scripts/site.py"], ROOT, NO_COLOR="1")


@pytest.fixture(scope="module")
def pages(said: str) -> dict[str, Page]:
    return {path.name: Page(path) for path in SITE.glob("*.html")}


def pages_in(entries: list[object]) -> list[str]:
    """The pages of the navigation, in order."""
    found: list[str] = []
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            found += pages_in(value) if isinstance(value, list) else [str(value)]
    return found


def test_the_site_is_made_without_a_warning(said: str) -> None:
    assert "No issues found" in said and "griffe:" not in said, said


def test_every_page_has_its_place_in_the_navigation() -> None:
    beside = re.findall(r'"([\w/]+\.md)": "(\w+\.md)"', (ROOT / "scripts/site.py").read_text(encoding="utf-8"))
    assert beside and all((ROOT / path).is_file() for path, _ in beside)
    ours = [path.name for path in (ROOT / "docs").glob("*.md")] + [name for _, name in beside]
    assert sorted(pages_in(CONFIGURATION["nav"])) == sorted(ours)


def test_a_link_to_a_page_shows_its_title(pages: dict[str, Page]) -> None:
    shown = {name: re.findall(r">([\w-]+\.md)</a>", (SITE / name).read_text(encoding="utf-8")) for name in pages}
    assert {name: words for name, words in shown.items() if words} == {}


def test_no_link_of_the_site_is_dead(pages: dict[str, Page]) -> None:
    dead = []
    for name, page in pages.items():
        for link in page.links:
            target, _, anchor = link.partition("#")
            if re.match(r"\w+:", link) or name == "404.html":
                continue
            target = target or name
            target = "index.html" if target == "." else target
            if target not in pages and not (SITE / unquote(target)).is_file():
                dead.append(f"{name}: {link}")
            elif anchor and target in pages and unquote(anchor) not in pages[target].anchors:
                dead.append(f"{name}: {link}")
    assert dead == []


def test_the_site_loads_nothing_from_another_host(pages: dict[str, Page]) -> None:
    assert [target for page in pages.values() for target in page.loaded if re.match(r"(\w+:)?//", target)] == []
    for path in SITE.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize("package", API)
def test_every_public_name_is_on_its_page(package: str, pages: dict[str, Page]) -> None:
    anchors = pages[API[package]].anchors
    told = (ROOT / "docs" / API[package]).with_suffix(".md").read_text(encoding="utf-8")
    names = importlib.import_module(package).__all__
    assert [name for name in names if f"{package}.{name}" not in anchors and not re.search(rf"\b{name}`", told)] == []


@pytest.mark.parametrize("name", ["Client.call", "Client.map", "Server.service", "Server.run", "Call.result"])
def test_the_members_that_programs_use_are_on_their_page(name: str, pages: dict[str, Page]) -> None:
    assert f"macaque.{name}" in pages[API["macaque"]].anchors


def test_the_site_has_the_colours_of_our_pages() -> None:
    ours = (ROOT / "mqlight/server/console/static/design.css").read_text(encoding="utf-8")
    used = set(re.findall(r"#[0-9a-f]{6}\b", (ROOT / "docs/site.css").read_text(encoding="utf-8")))
    assert used and used <= set(re.findall(r"#[0-9a-f]{6}\b", ours))


SEARCH = "document.activeElement.shadowRoot"


@pytest.fixture
def address(said: str) -> Iterator[str]:
    """Serve the site as it would be anywhere."""
    handler = partial(Quiet, directory=str(SITE))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{site.server_port}/"
        site.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.browser
def test_a_reader_finds_a_page_and_no_other_host_is_asked(address: str, tmp_path: Path) -> None:
    browser = start_chromium(tmp_path)
    try:
        for width in (1280, 400):
            browser.set_window_size(width, 900)
            for page in ("index.html", "api-macaque.html", "comparison.html"):
                browser.get(address + page)
                wide, seen = browser.execute_script(
                    "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
                )
                assert wide <= seen, f"{page} is {wide} wide, in a window of {seen}"
                loaded = browser.execute_script(
                    "return performance.getEntriesByType('resource').map(each => each.name)"
                )
                assert [name for name in loaded if not name.startswith((address, "data:", "blob:"))] == []
        browser.set_window_size(1280, 900)
        browser.get(address)
        browser.find_element(By.CLASS_NAME, "md-search__button").click()
        wait_until(lambda: browser.execute_script(f"return {SEARCH}?.activeElement?.tagName") == "INPUT")
        browser.switch_to.active_element.send_keys("heartbeat")
        found = f"return {SEARCH}.textContent"
        wait_until(lambda: "Delivery guarantees" in browser.execute_script(found), what="a page that was searched")
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    finally:
        browser.quit()
