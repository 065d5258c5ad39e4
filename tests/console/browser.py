"""A real Chromium with the console open, as a person uses it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from browsers import start_chromium
from processes import Process, Spawn, wait_until

if TYPE_CHECKING:
    from console.conftest import Site


class Browser:
    """One browser. ``all`` and ``texts`` read in one step, because rows come at any time."""

    def __init__(self, profile: Path) -> None:
        self.driver = start_chromium(profile)

    def open(self, url: str) -> None:
        self.driver.get(url)
        wait_until(lambda: self.text("#connection") == "Live", what="the first frame")

    def script(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def text(self, selector: str) -> str:
        """The text of an element as it is seen; empty where there is none."""
        return str(self.script("return document.querySelector(arguments[0])?.innerText ?? ''", selector)).strip()

    def texts(self, selector: str) -> list[str]:
        code = "return Array.from(document.querySelectorAll(arguments[0]), (node) => node.innerText.trim())"
        return list(self.script(code, selector))

    def has(self, selector: str) -> bool:
        return bool(self.script("return document.querySelector(arguments[0]) !== null", selector))

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def click(self, selector: str) -> None:
        wait_until(lambda: self.has(selector), what=f"{selector} on the page")
        self.find(selector).click()

    def type(self, selector: str, text: str) -> None:
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def keys(self, *keys: str) -> None:
        """Press keys where the focus is."""
        ActionChains(self.driver).send_keys(*keys).perform()

    @property
    def path(self) -> str:
        return str(self.script("return location.pathname + location.search"))

    @property
    def topics(self) -> list[str]:
        """The topics of the rows, from the newest on."""
        return self.texts("#messages .topic")

    def wait_for(self, selector: str, text: str, timeout: float = 10.0) -> None:
        """Wait until an element holds a text."""
        wait_until(
            lambda: any(text in each for each in self.texts(selector)),
            timeout,
            f"{text!r} in {selector}, which has {self.texts(selector)[:5]}",
        )

    def resize(self, width: int, height: int = 900) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def complaints(self) -> list[str]:
        """The browser's complaints, without answers that a test asked for."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if not re.search("status of 4|net::ERR_", entry["message"])]

    def forget(self) -> None:
        """Close all windows but one, and leave its page, with the cookies and the size of the screen."""
        first, *others = self.driver.window_handles
        for window in others:
            self.driver.switch_to.window(window)
            self.driver.close()
        self.driver.switch_to.window(first)
        self.driver.get("about:blank")
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.complaints()

    def close(self) -> None:
        self.driver.quit()


def send(browser: Browser, site: Site, topic: str, body: str = "m") -> str:
    """Send a message by the API; returns its id."""
    return str(site.visitor().begin().post("api/messages", {"topic": topic, "body": body}).body["id"])


def run_in_terminal(spawn: Spawn, line: str) -> Process:
    """Run what the page says, as a person would who pastes it into a shell."""
    return spawn(command=["sh", "-c", line])


def commands(browser: Browser, exercise: str) -> list[str]:
    wait_until(lambda: browser.has(f"#learn-{exercise}"))
    code = "return Array.from(document.querySelectorAll(`#learn-${arguments[0]} .command code`), (n) => n.textContent)"
    return list(browser.script(code, exercise))
