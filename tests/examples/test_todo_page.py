"""The page of examples/todo in a real Chromium, with its server, two workers and the gateway as processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from browsers import start_chromium
from processes import wait_until
from todo_service import System, over_gateway

pytestmark = pytest.mark.browser

STATE = """
return Array.from(document.querySelectorAll("#tasks > li"), (item) => [
    item.querySelector(".title").textContent,
    item.querySelector(".description").textContent,
    item.querySelector("[type=checkbox]").checked,
])
"""
CALLS = """
const calls = performance.getEntriesByType("resource").filter((each) => each.name.endsWith(arguments[0]));
return calls.map((each) => [each.startTime, each.responseEnd]);
"""


class Page:
    """One browser with the page open, as a person uses it."""

    def __init__(self, profile: Path) -> None:
        self.driver = start_chromium(profile)

    def open(self, url: str) -> None:
        self.driver.get(url)
        self.wait_for_connection()

    def wait_for_connection(self) -> None:
        wait_until(lambda: self.find("#connection").text == "Connected", what="the connection of the page")

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """Stop the timers of the page: it repeats a call for a few seconds, and processes may take longer to start."""
        self.driver.execute_cdp_cmd("Page.setWebLifecycleState", {"state": "frozen"})
        yield
        self.driver.execute_cdp_cmd("Page.setWebLifecycleState", {"state": "active"})
        # The page stays hidden, and a hidden page gets no "close" of a dialog, until its window is shown again.
        self.driver.minimize_window()
        self.driver.set_window_size(1280, 900)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def item(self, title: str) -> WebElement:
        return self.driver.find_element(By.XPATH, f"//li[.//*[@class='title' and text()='{title}']]")

    def within(self, title: str, selector: str) -> WebElement:
        return self.item(title).find_element(By.CSS_SELECTOR, selector)

    @property
    def tasks(self) -> list[list[Any]]:
        """The title and the description of each task, and whether it is done, read in one step."""
        return list(self.driver.execute_script(STATE))

    @property
    def error(self) -> str:
        return self.find("#error p").text

    def add(self, title: str, description: str = "") -> None:
        self.find("#add [name=title]").send_keys(title)
        self.find("#add [name=description]").send_keys(description)
        self.find("#add button").click()

    def tick(self, title: str) -> None:
        self.within(title, "[type=checkbox]").click()

    def edit(self, title: str, new: str) -> None:
        self.within(title, ".edit").click()
        field = self.within(title, ".change [name=title]")
        field.send_keys(Keys.CONTROL + "a")
        field.send_keys(new + Keys.ENTER)

    def delete(self, title: str) -> None:
        self.within(title, ".delete").click()

    def calls_of(self, service: str) -> list[list[float]]:
        """The times at which the answered calls of a service began and ended."""
        return list(self.driver.execute_script(CALLS, f"todo/{service}"))

    def wait_for(self, *tasks: tuple[str, str, bool]) -> None:
        wait_until(lambda: self.tasks == [list(task) for task in tasks], what=f"the tasks {tasks}")

    @property
    def complaints(self) -> list[str]:
        """Errors of the script, violations of its policy, and requests that failed."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def browsers() -> Iterator[list[Page]]:
    """The browsers that were started so far, for one test after the other: starting one takes a second."""
    pages: list[Page] = []
    yield pages
    for page in pages:
        page.driver.quit()


@pytest.fixture
def new_page(browsers: list[Page], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Page]]:
    """Open the page at a URL in a browser that no other page of the test has: `new_page(url)`."""
    taken: list[Page] = []

    def get(url: str) -> Page:
        if len(taken) == len(browsers):
            browsers.append(Page(tmp_path_factory.mktemp("profile")))
        page = browsers[len(taken)]
        taken.append(page)
        page.driver.get(url)
        return page

    yield get
    for page in taken:
        page.driver.get("about:blank")
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        _ = page.complaints


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("todo") / "todo.db") as system:
        over_gateway(system)
        yield system


@pytest.fixture
def system(running: System) -> System:
    """A server, two workers and a gateway, without tasks."""
    running.empty()
    return running


@pytest.fixture
def page(system: System, new_page: Callable[[str], Page]) -> Page:
    page = new_page(system.url)
    page.wait_for_connection()
    return page


def test_a_task_is_added_ticked_edited_and_deleted(page: Page) -> None:
    assert page.find("#empty").is_displayed() and page.find("#summary").text == "No tasks"
    page.add("Buy groceries", "Milk, Cheese")
    page.wait_for(("Buy groceries", "Milk, Cheese", False))
    page.add("Learn Python")
    page.wait_for(("Buy groceries", "Milk, Cheese", False), ("Learn Python", "", False))
    page.tick("Buy groceries")
    wait_until(lambda: page.find("#summary").text == "1 of 2 done")
    page.edit("Learn Python", "Learn more Python")
    page.wait_for(("Buy groceries", "Milk, Cheese", True), ("Learn more Python", "", False))
    page.delete("Buy groceries")
    page.wait_for(("Learn more Python", "", False))
    page.driver.refresh()
    page.wait_for(("Learn more Python", "", False))
    assert page.complaints == []


def test_two_browsers_show_the_same_list(page: Page, system: System, new_page: Callable[[str], Page]) -> None:
    other = new_page(system.url)
    page.add("Buy groceries")
    other.wait_for(("Buy groceries", "", False))
    other.within("Buy groceries", ".edit").click()
    field = other.within("Buy groceries", ".change [name=title]")
    field.send_keys(" and flowers")
    page.tick("Buy groceries")
    other.wait_for(("Buy groceries", "", True))
    assert field.get_attribute("value") == "Buy groceries and flowers", "a change of another page disturbs no editor"
    field.send_keys(Keys.ENTER)
    page.wait_for(("Buy groceries and flowers", "", True))
    other.delete("Buy groceries and flowers")
    page.wait_for()


def test_a_killed_worker_is_not_noticed_and_without_workers_the_page_waits(
    tmp_path: Path, new_page: Callable[[str], Page]
) -> None:
    with System(tmp_path / "todo.db") as system:
        over_gateway(system)
        page, other = new_page(system.url), new_page(system.url)
        page.wait_for_connection()
        page.add("Task 0")
        page.wait_for(("Task 0", "", False))
        system.workers[0].kill()
        tasks = [(f"Task {number}", "", False) for number in range(5)]
        for number in range(1, 5):
            page.add(f"Task {number}")
            page.wait_for(*tasks[: number + 1])
        system.workers[1].kill()
        page.tick("Task 0")
        with page.asleep():
            system.start_workers(1)
        for each in (page, other):
            each.wait_for(("Task 0", "", True), *tasks[1:])
            each.wait_for_connection()
            assert each.error == ""


def test_a_gateway_that_comes_back_is_found(tmp_path: Path, new_page: Callable[[str], Page]) -> None:
    with System(tmp_path / "todo.db") as system:
        over_gateway(system)
        page = new_page(system.url)
        page.wait_for_connection()
        assert system.front.stop() == 0
        wait_until(lambda: page.find("#connection").text.startswith("Not connected"), what="a sign of it")
        page.add("Buy groceries")
        with page.asleep():
            system.start_gateway()
        page.wait_for(("Buy groceries", "", False))
        page.wait_for_connection()
        assert page.error == ""


def test_a_gateway_that_is_silent_is_noticed(tmp_path: Path, new_page: Callable[[str], Page]) -> None:
    with System(tmp_path / "todo.db") as system:
        over_gateway(system)
        page = new_page(system.url)
        page.wait_for_connection()
        os.killpg(system.front.pid, signal.SIGSTOP)
        page.add("Buy groceries")
        wait_until(lambda: page.find("#connection").text.startswith("Not connected"), what="a sign of it")
        os.killpg(system.front.pid, signal.SIGCONT)
        page.wait_for(("Buy groceries", "", False))
        page.wait_for_connection()
        assert page.error == ""


def test_clicks_are_done_in_their_order(page: Page) -> None:
    page.add("Buy groceries")
    page.wait_for(("Buy groceries", "", False))
    box, delete = (page.within("Buy groceries", control) for control in ("[type=checkbox]", ".delete"))
    page.driver.execute_script("for (let clicks = 0; clicks < 7; clicks += 1) arguments[0].click()", box)
    page.driver.execute_script("arguments[0].click(); arguments[0].click()", delete)
    times = wait_until(lambda: len(calls := page.calls_of("update") + page.calls_of("delete")) == 9 and calls)
    assert all(ends <= begins for (_, ends), (begins, _) in pairwise(times)), "a later click overtakes no earlier one"
    page.wait_for()
    assert page.error == "", "what is deleted twice is deleted"


def test_a_list_of_several_pages_is_shown_whole(page: Page, system: System) -> None:
    with system.connect() as client:
        titles = [client.call("todo/create", {"title": f"Task {number}"}).result()["title"] for number in range(101)]
    wait_until(lambda: page.find("#summary").text == "0 of 101 done")
    assert [title for title, _, _ in page.tasks] == titles


def test_an_error_is_shown_and_the_text_stays(page: Page) -> None:
    page.driver.execute_script("document.querySelector('#add [name=title]').maxLength = 300")
    page.add("x" * 201)
    wait_until(lambda: "Expected `str` of length <= 200" in page.error, what="the reason")
    assert page.find("#add [name=title]").get_attribute("value") == "x" * 201
    page.find("#error button").click()
    assert not page.find("#error").is_displayed() and page.tasks == []


def test_two_readers_may_edit_one_task(page: Page, system: System) -> None:
    page.add("Buy groceries", "Milk")
    page.wait_for(("Buy groceries", "Milk", False))
    page.within("Buy groceries", ".edit").click()
    field = page.within("Buy groceries", ".change [name=description]")
    field.send_keys(", Cheese")
    with system.connect() as client:
        client.call("todo/update", {"id": 1, "title": "Buy food"}).result()
        page.wait_for(("Buy food", "Milk", False))
        page.within("Buy food", ".change .main").click()
        page.wait_for(("Buy food", "Milk, Cheese", False))
        page.within("Buy food", ".edit").click()
        field.send_keys(", Fruit")
        client.call("todo/delete", {"id": 1}).result()
    page.add("Learn Python")
    page.wait_for(("Buy food", "Milk, Cheese", False), ("Learn Python", "", False))
    page.within("Buy food", ".change .main").click()
    wait_until(lambda: page.error == "there is no task 1", what="the reason")
    assert field.get_attribute("value") == "Milk, Cheese, Fruit"
    page.within("Buy food", ".cancel").click()
    page.wait_for(("Learn Python", "", False))


def test_the_page_asks_for_a_token_until_it_has_the_right_one(tmp_path: Path, new_page: Callable[[str], Page]) -> None:
    right = "the-token-of-tests-0123456789abcdef"
    with System(tmp_path / "todo.db") as system:
        over_gateway(system, MACAQUE_GATEWAY_TOKEN=right)
        page = new_page(system.url)
        for token in ("a-wrong-token-of-thirty-two-bytes", right):
            wait_until(page.find("#login").is_displayed, what="the question")
            assert page.find("#login p").is_displayed() is (token == right)
            page.find("#login [name=token]").send_keys(token + Keys.ENTER)
        page.wait_for_connection()
        page.add("Buy groceries")
        page.wait_for(("Buy groceries", "", False))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_every_control_has_a_name(page: Page, scheme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    size = {"width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.add("Buygroceries" * 16, "Milk" * 100)
    wait_until(lambda: page.tasks)
    wide, seen = page.driver.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= seen
    controls = page.driver.find_elements(By.CSS_SELECTOR, "input, textarea, button")
    shown = [control for control in controls if control.is_displayed()]
    assert len(shown) == 6 and all(control.accessible_name for control in shown)
    assert page.item("Buygroceries" * 16).find_element(By.CSS_SELECTOR, ".delete").accessible_name.endswith("s”")
