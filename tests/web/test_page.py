"""The page in a real Chromium, with a real front end, server and back ends behind it."""

from __future__ import annotations

import itertools
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from browsers import start_chromium
from processes import Server, start_server, wait_until

pytestmark = pytest.mark.browser

SENTENCE = "One, Two, Three, Four, Five, Once I Caught a Fish Alive"


class Page:
    """One browser with the page open, as a person uses it."""

    def __init__(self, profile: Path) -> None:
        self.driver = start_chromium(profile)

    def open(self, url: str) -> None:
        self.driver.get(url)
        wait_until(lambda: self.connection == "Connected", what="the connection of the page")

    def forget(self) -> None:
        """Leave the page, with its cookies, its complaints, and whatever the screen was set to."""
        self.driver.get("about:blank")
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        self.driver.get_log("browser")  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self.driver.quit()

    def find(self, name: str) -> WebElement:
        return self.driver.find_element(By.ID, name)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def emulate(self, scheme: str) -> None:
        """Set the colour scheme that the person prefers: light or dark."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def box(self, selector: str) -> dict[str, float]:
        """The bounding box of the first such element, in pixels from the window's corner."""
        script = "return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()"
        return dict(self.driver.execute_script(script, selector))

    def texts(self, selector: str) -> list[str]:
        """The text of all elements, read in one step, because words arrive at any time."""
        script = "return Array.from(document.querySelectorAll(arguments[0]), (node) => node.textContent)"
        return list(self.driver.execute_script(script, selector))

    def submit(self, sentence: str) -> None:
        """Type a sentence in place of the one that is there, and press Enter."""
        self.find("sentence").send_keys(Keys.CONTROL + "a")
        self.find("sentence").send_keys(sentence + Keys.ENTER)

    @property
    def words(self) -> list[str]:
        return self.texts("#words .word:not([data-kind=failed]) b")

    @property
    def failed(self) -> list[str]:
        return self.texts("#words .word[data-kind=failed] b")

    @property
    def workers(self) -> dict[str, int]:
        """The words of each worker, by its id."""
        names = [str(name.get_attribute("title")) for name in self.all("#workers .name")]
        counts = self.texts("#workers .count")  # a worker may have come between the two
        return dict(zip(names, map(int, counts[: len(names)]), strict=True))

    @property
    def cards(self) -> list[WebElement]:
        return self.all("#words .word")

    @property
    def status(self) -> str:
        """The line beside the button; empty when it has nothing to say."""
        return self.find("status").text

    @property
    def connection(self) -> str:
        return self.find("connection").text

    @property
    def progress(self) -> str:
        return self.find("progress-text").text

    @property
    def complaints(self) -> list[str]:
        """Chromium's complaints about the page: errors of the script, violations of its policy."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def wait_for_words(self, words: list[str], timeout: float = 20) -> None:
        wait_until(lambda: sorted(self.words) == sorted(words), timeout, f"the words {words}")


@pytest.fixture(scope="module")
def browsers() -> Iterator[list[Page]]:
    """The browsers that were started so far, for one test after the other: starting one takes a second."""
    pages: list[Page] = []
    yield pages
    for page in pages:
        page.close()


@pytest.fixture
def new_page(browsers: list[Page], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Page]]:
    """Get browsers that know nothing of each other, nor of earlier tests: `new_page()`."""
    taken = 0

    def get() -> Page:
        nonlocal taken
        if taken == len(browsers):
            browsers.append(Page(tmp_path_factory.mktemp("profile")))
        taken += 1
        return browsers[taken - 1]

    yield get
    for page in browsers[:taken]:
        page.forget()


@pytest.fixture
def page(new_page: Callable[[], Page], site: Any) -> Page:
    """The page of `site`, open and connected."""
    page = new_page()
    page.open(site.url)
    return page


def test_a_sentence_and_enter_bring_every_word_back_in_upper_case(page: Page, start_backend: Any) -> None:
    start_backend()
    page.submit("a sentence of six short words")
    page.wait_for_words(["A", "SENTENCE", "OF", "SIX", "SHORT", "WORDS"])
    wait_until(lambda: page.progress == "All 6 words are back.")
    assert page.failed == [] and page.texts("#errors p") == []
    assert page.complaints == []


def test_the_button_submits_the_sentence_that_is_there(page: Page, start_backend: Any) -> None:
    start_backend()
    assert page.find("sentence").get_attribute("value") == SENTENCE
    assert page.find("word-count").text == "11 words"
    page.find("submit").click()
    page.wait_for_words(SENTENCE.upper().split())


def test_each_word_shows_its_worker_and_its_time(page: Page, start_backend: Any) -> None:
    backend = start_backend()
    name = backend.expect(r"(backend_\w+) serves")[1]
    page.submit("fish")
    page.wait_for_words(["FISH"])
    (word,) = page.driver.find_elements(By.CSS_SELECTOR, "#words .word")
    assert word.get_attribute("data-kind") == "python"
    assert "worker 1" in word.text and " ms" in word.text
    assert name in str(word.get_attribute("title"))
    assert page.workers == {f"Python: {name}": 1}
    assert re.fullmatch(r"\S+ m?s waiting · \S+ m?s working", page.texts("#workers .pace")[0])


def test_with_two_backends_both_names_appear_and_the_counts_add_up(page: Page, start_backend: Any) -> None:
    names = {"Python: " + start_backend().expect(r"(backend_\w+) serves")[1] for _ in range(2)}
    page.submit("word " * 60)
    page.wait_for_words(["WORD"] * 60)
    assert set(page.workers) == names
    assert sum(page.workers.values()) == 60
    assert page.texts("#workers .name") == ["worker 1", "worker 2"]
    hues = {word.value_of_css_property("border-left-color") for word in page.cards}
    bars = {bar.value_of_css_property("background-color") for bar in page.all("#workers .fill")}
    assert len(hues) == 2 and hues == bars, "each worker's words have its colour"
    shares = [
        float(bar.get_attribute("style").partition("width:")[2].strip(" %;")) for bar in page.all("#workers .fill")
    ]
    assert sum(shares) == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize(
    ("backend", "kind"),
    [
        ("Node.js: n1", "node"),
        ("Ruby: r1", "ruby"),
        ("Liberty for Java: j1", "java"),
        ("Perl: p1", "other"),
    ],
)
def test_each_kind_of_backend_has_a_style_of_its_own(page: Page, start_service: Any, backend: str, kind: str) -> None:
    start_service(f'{{"word": data["word"].upper(), "backend": {backend!r}}}')
    page.submit("fish")
    page.wait_for_words(["FISH"])
    (word,) = page.driver.find_elements(By.CSS_SELECTOR, "#words .word")
    assert word.get_attribute("data-kind") == kind
    drawing = page.driver.find_element(By.CSS_SELECTOR, "#words .word use")
    assert drawing.get_attribute("href") == f"#fish-{kind}"
    sample = page.driver.find_element(By.CSS_SELECTOR, f".species .word[data-kind={kind}]")
    assert word.value_of_css_property("border-radius") == sample.value_of_css_property("border-radius")


def test_the_fish_of_all_kinds_stand_in_columns(page: Page) -> None:
    kinds = [str(card.get_attribute("data-kind")) for card in page.all(".species .word")]
    assert kinds == ["python", "node", "ruby", "java", "other", "failed"]
    page.resize(390, 844)
    lefts = [page.box(f".species .word[data-kind={kind}]")["x"] for kind in kinds]
    assert len(set(lefts)) == 2 and lefts[0::2] == lefts[:1] * 3 and lefts[1::2] == lefts[1:2] * 3


def test_with_no_backend_ever_each_word_fails_at_once_and_the_page_says_how_to_start_one(page: Page) -> None:
    page.submit(SENTENCE)
    wait_until(lambda: sorted(page.failed) == sorted(SENTENCE.split()), 5, "the failed words")
    assert page.progress == "All 11 words are back, 11 with an error."
    wait_until(lambda: "none has answered yet" in page.status and "-m backend" in page.status, 2, "the command")
    assert page.texts("#errors p") == [], "said once, with the command that works here"
    assert "No service listens" in page.texts("#words .word .from")[0]


def test_a_worker_that_fails_is_quoted_and_is_no_missing_worker(page: Page, start_service: Any) -> None:
    start_service('macaque.abort(418, "no such fish")')
    page.submit("fish")
    wait_until(lambda: page.texts("#errors p") == ["The worker failed: no such fish (code 418)"], what="the error")
    assert page.status == ""


def test_an_error_can_be_closed(page: Page, start_service: Any) -> None:
    start_service('macaque.abort(418, "no such fish")')
    page.submit("fish")
    wait_until(lambda: page.texts("#errors p"))
    page.driver.find_element(By.CSS_SELECTOR, "#errors button").click()
    wait_until(lambda: page.texts("#errors p") == [], what="that the message is gone")
    assert page.failed == ["fish"], "the word stays"


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844)])
def test_box_button_and_first_answers_are_seen_together(
    page: Page, start_backend: Any, width: int, height: int
) -> None:
    start_backend()
    page.resize(width, height)

    def is_seen(selector: str) -> bool:
        box = page.box(selector)
        return box["left"] >= 0 and box["top"] >= 0 and box["right"] <= width and box["bottom"] <= height

    before = ["#sentence", "#submit", "#progress-text"]
    assert [selector for selector in before if not is_seen(selector)] == []
    page.submit(SENTENCE)
    page.wait_for_words(SENTENCE.upper().split())
    after = [*before, "#words .word:nth-child(1)", "#words .word:nth-child(4)"]
    assert [selector for selector in after if not is_seen(selector)] == []
    assert page.driver.execute_script("return scrollY") == 0


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844)])
def test_without_a_worker_a_line_by_the_button_gives_the_command_within_2_seconds(
    page: Page, start_backend: Any, width: int, height: int
) -> None:
    start_backend().stop()
    page.resize(width, height)
    page.submit(SENTENCE)
    wait_until(lambda: "Waiting for a worker: none has answered yet. Start one:" in page.status, 2, "the line")
    assert "-m backend" in page.status
    for selector in ("#sentence", "#status", "#submit", "#progress-text"):
        assert page.box(selector)["top"] >= 0 and page.box(selector)["bottom"] <= height, selector
    start_backend()
    page.wait_for_words(SENTENCE.upper().split())
    wait_until(lambda: page.status == "", what="the end of the line")


def test_the_served_command_is_copied_runs_and_its_worker_is_seen(page: Page, spawn: Any, tmp_path: Path) -> None:
    wait_until(lambda: "MACAQUE_BROKER" in page.texts("#worker-command")[0], what="the command for this port")
    page.all("[data-copies=worker-command]")[0].click()
    wait_until(lambda: page.all("[data-copies=worker-command]")[0].text == "Copied")
    page.find("sentence").send_keys(Keys.CONTROL + "a")
    page.find("sentence").send_keys(Keys.CONTROL + "v")
    command = str(page.find("sentence").get_property("value"))
    assert command == page.texts("#worker-command")[0]
    spawn(command=["/bin/sh", "-c", command], cwd=tmp_path, ready=" serves ")
    page.submit("fish")
    page.wait_for_words(["FISH"])
    assert page.texts("#workers .name") == ["worker 1"]


def test_the_foot_links_to_the_console_of_a_server_that_has_one(page: Page, start_site: Any) -> None:
    assert not page.find("console").is_displayed()
    other = start_server("--console-port", "0")
    try:
        console = other.expect(r"console at (http://\S+)$")[1]
        page.open(start_site(other.url).url)
        wait_until(lambda: page.find("console").is_displayed(), what="the link to the console")
        assert page.find("console").get_attribute("href") == console
        page.find("console").click()
        wait_until(lambda: page.driver.current_url.startswith(console), what="the console")
    finally:
        other.close()


def test_the_command_for_slow_motion_is_the_same_with_a_delay(page: Page) -> None:
    wait_until(lambda: "MACAQUE_BROKER" in page.texts("#worker-command")[0], what="the command for this port")
    assert page.texts("#slow-command") == [page.texts("#worker-command")[0] + " --delay 0.5"]
    assert page.find("slow-motion").is_displayed()


def test_in_slow_motion_words_spread_and_those_of_a_killed_worker_move(page: Page, server: Server, spawn: Any) -> None:
    arguments = ["-m", "backend", "--delay", "0.3"]
    slow = [spawn(arguments, env={"MACAQUE_BROKER": server.url}, ready=" serves ") for _ in range(2)]
    page.submit("word " * 40)
    wait_until(lambda: len(page.texts("#workers .name")) == 2, what="words of both workers")
    slow[0].kill()
    wait_until(lambda: page.texts("#workers .quiet-worker .pace") == ["silent: its words go to other workers"], 15)
    page.wait_for_words(["WORD"] * 40)
    assert page.texts("#workers .name") == ["worker 1", "worker 2"]
    assert max(page.workers.values()) > 10


def test_the_switch_puts_words_into_the_sentences_order_and_back(page: Page, server: Server, spawn: Any) -> None:
    for delay in ("0.4", "0.05"):
        spawn(["-m", "backend", "--delay", delay], env={"MACAQUE_BROKER": server.url}, ready=" serves ")
    page.submit("one fish two fish three four")
    page.wait_for_words("ONE FISH TWO FISH THREE FOUR".split())
    arrived = page.words
    assert arrived != "ONE FISH TWO FISH THREE FOUR".split(), "the slow worker's word came later"
    page.all("label[for=in-order]")[0].click()
    wait_until(lambda: page.words == "ONE FISH TWO FISH THREE FOUR".split(), what="the sentence's order")
    page.submit("five six seven eight")
    wait_until(lambda: page.words == "ONE FISH TWO FISH THREE FOUR FIVE SIX SEVEN EIGHT".split(), what="the order")
    page.all("label[for=as-they-arrive]")[0].click()
    wait_until(lambda: page.words[:6] == arrived, what="the order of arrival")


def test_1000_words_cost_few_requests_few_frames_and_little_processor_time(page: Page, start_backend: Any) -> None:
    start_backend()
    words = [f"word{number}" for number in range(1000)]
    page.driver.execute_script("document.getElementById('sentence').value = arguments[0]", " ".join(words))
    page.driver.set_script_timeout(60)
    page.driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})

    def processor_seconds() -> float:
        metrics = page.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))

    before = processor_seconds()
    gets, paints = page.driver.execute_async_script("""
        const [done, list] = [arguments[0], document.getElementById("words")];
        const { fetch, requestAnimationFrame } = window;
        let [gets, paints] = [0, 0];
        window.fetch = (path, options) => {
          gets += path.startsWith("rest/wordsuppercase");
          return fetch(path, options);
        };
        window.requestAnimationFrame = (paint) => {
          paints += 1;
          return requestAnimationFrame(paint);
        };
        new MutationObserver((_, observer) => {
          if (list.childElementCount < 1000) return;
          observer.disconnect();
          Object.assign(window, { fetch, requestAnimationFrame });
          requestAnimationFrame(() => setTimeout(() => done([gets, paints]))); // painted
        }).observe(list, { childList: true });
        document.getElementById("submit").click();
        """)
    spent = processor_seconds() - before
    assert sorted(page.words) == sorted(word.upper() for word in words)
    assert gets <= 250 and paints <= 250, "many words at a time"
    assert spent <= 1, f"{spent} s; it takes 0.4"


def test_words_that_are_out_are_not_lost_when_the_page_is_loaded_again(page: Page, start_backend: Any) -> None:
    start_backend().stop()
    page.submit(SENTENCE)
    wait_until(lambda: page.progress == "0 of 11 words back, 11 still out" and page.find("submit").is_enabled())
    page.driver.refresh()
    wait_until(lambda: page.progress == "0 of 11 words back, 11 still out")
    start_backend()
    page.wait_for_words(SENTENCE.upper().split())


def test_two_browsers_do_not_take_each_others_words(
    new_page: Callable[[], Page], page: Page, site: Any, start_backend: Any
) -> None:
    start_backend()
    other = new_page()
    other.open(site.url)
    page.submit("mine " * 40)
    other.submit("yours " * 40)
    page.wait_for_words(["MINE"] * 40)
    other.wait_for_words(["YOURS"] * 40)


def test_markup_shows_as_text(page: Page, start_backend: Any) -> None:
    start_backend()
    page.submit("<b>x</b> <img/src=x/onerror=alert(1)>")
    page.wait_for_words(["<B>X</B>", "<IMG/SRC=X/ONERROR=ALERT(1)>"])
    assert page.driver.find_elements(By.CSS_SELECTOR, "#words img, #words b b") == []
    assert page.complaints == []


def test_markup_in_a_workers_name_or_error_shows_as_text(page: Page, start_service: Any) -> None:
    start_service('{"word": "W", "backend": "<img src=x>"} if data["word"] == "good" else macaque.abort(1, "<i>n</i>")')
    page.submit("good bad")
    page.wait_for_words(["W"])
    wait_until(lambda: page.failed == ["bad"])
    assert list(page.workers) == ["<img src=x>"]
    assert "<i>n</i>" in page.texts("#errors p")[0]
    assert page.driver.find_elements(By.CSS_SELECTOR, "main img, main .word i, #errors i") == []


def test_clear_removes_words_workers_and_errors(page: Page, start_service: Any) -> None:
    start_service('{"word": "W", "backend": "Python: x"} if data["word"] == "good" else macaque.abort(1, "no")')
    page.submit("good bad")
    wait_until(lambda: page.words and page.failed)
    page.find("clear").click()
    nothing: tuple[list[str], list[str], dict[str, int], list[str]] = ([], [], {}, [])
    wait_until(lambda: (page.words, page.failed, page.workers, page.texts("#errors p")) == nothing, what="the paint")
    assert page.find("empty").is_displayed()
    page.submit("good")
    page.wait_for_words(["W"])


def test_an_empty_sentence_shows_what_the_front_end_says(page: Page) -> None:
    page.submit("   ")
    wait_until(lambda: page.texts("#errors p") == ["Write at least one word."])


def test_a_lost_server_shows_on_the_page(page: Page, server: Server) -> None:
    server.kill()
    wait_until(lambda: page.connection == "Broker unreachable")
    page.submit("fish")
    wait_until(lambda: page.texts("#errors p"))
    assert "not connected to the broker" in page.texts("#errors p")[0]
    again = start_server(port=server.port)
    try:
        wait_until(lambda: page.connection == "Connected", 20)
        wait_until(lambda: page.texts("#errors p") == [] and page.status == "", what="the end of the message")
    finally:
        again.close()


def test_a_lost_front_end_shows_on_the_page(page: Page, site: Any) -> None:
    site.process.signal(signal.SIGTERM)
    wait_until(lambda: page.connection == "Front end unreachable")


def close_error(page: Page) -> str:
    """Close the one error that is shown, and return what it said."""
    (error,) = wait_until(lambda: page.texts("#errors p"), what="an error")
    page.driver.find_element(By.CSS_SELECTOR, "#errors button").click()
    wait_until(lambda: page.texts("#errors p") == [], what="that the message is gone")
    return error


def test_limits_show_as_what_the_front_end_says_and_can_be_closed(
    new_page: Callable[[], Page], server: Server, start_site: Any, start_backend: Any
) -> None:
    start_backend()
    page = new_page()
    limits = {"FRONTEND_MAX_WORDS": "3", "FRONTEND_MAX_WAITING": "2", "FRONTEND_RATE_PER_SESSION": "1"}
    page.open(start_site(server.url, **limits).url)
    page.submit("a b c d")
    assert "4 words, more than 3 (FRONTEND_MAX_WORDS)" in close_error(page)
    page.submit("a b c")
    assert "(FRONTEND_MAX_WAITING)" in close_error(page)
    for number in range(5):  # more than the rate's burst; what is refused goes out again by itself
        page.submit(f"word{number}")
        wait_until(lambda: f"WORD{number}" in page.words, what="the word")  # noqa: B023 (called at once)
    assert page.failed == [] and len(page.words) == 5


def test_a_front_end_that_was_started_anew_is_no_end_and_lost_words_are_told(
    page: Page, site: Any, server: Server, start_site: Any, start_backend: Any
) -> None:
    start_backend().stop()
    page.submit("a b c")
    wait_until(lambda: page.progress == "0 of 3 words back, 3 still out" and page.find("submit").is_enabled())
    site.process.close()  # the whole of it, as when its container ends
    start_site(server.url, PORT=str(urlsplit(site.url).port))
    wait_until(lambda: any("3 words did not come back" in each for each in page.texts("#errors p")))
    page.find("clear")
    start_backend()
    wait_until(lambda: page.connection == "Connected")
    page.submit("fish")
    page.wait_for_words(["FISH"])


def test_the_keyboard_reaches_everything_and_names_are_given(page: Page, start_backend: Any) -> None:
    start_backend()
    page.submit("fish")
    page.wait_for_words(["FISH"])
    page.driver.execute_script("document.querySelector('.skip').focus()")
    reached = []
    for _ in range(11):
        focused = page.driver.switch_to.active_element
        reached.append(focused.accessible_name)
        ring = focused if focused.get_attribute("type") != "radio" else focused.find_element(By.XPATH, "..")
        outline = ring.value_of_css_property("outline-style")
        assert outline == "solid", f"{focused.accessible_name} shows no focus"
        focused.send_keys(Keys.TAB)
    assert reached == [
        "Skip to the sentence",
        "Your sentence",
        "Submit Work",
        "Workers",
        "Copy the command for one more worker",
        "Copy the command for slow motion",
        "As they arrive",
        "Clear",
        "Words that came back",
        "Documentation",
        "Source",
    ]


def test_screen_readers_are_told_of_words(page: Page, start_backend: Any) -> None:
    start_backend()
    assert page.find("announce").get_attribute("aria-live") == "polite"
    page.submit("fish")
    wait_until(lambda: page.texts("#announce") == ["FISH arrived. No word is out."])


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_every_width_in_light_and_dark(page: Page, width: int, scheme: str) -> None:
    page.emulate(scheme)
    page.resize(width, 800)
    page.submit("a " + "x" * 300)
    wait_until(lambda: len(page.failed) == 2)
    assert page.driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert contrasts_that_are_too_low(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_hue_of_every_worker_can_be_read_and_differs_from_the_next(page: Page, scheme: str) -> None:
    page.emulate(scheme)
    hues = page.driver.execute_script(
        COLOURS
        + """
        return Array.from({ length: 8 }, (_, i) => {
          const word = document.createElement("li");
          word.className = "word";
          word.dataset.hue = i + 1;
          document.getElementById("words").append(word);
          const { borderLeftColor: hue, backgroundColor: tint } = getComputedStyle(word);
          const { backgroundColor: card } = getComputedStyle(document.querySelector(".card"));
          return [luminance(channels(hue)), contrast(hue, tint), contrast(hue, card)];
        });
        """
    )
    assert [number for number, (_, *ratios) in enumerate(hues, 1) if min(ratios) < 4.5] == []
    lightness = [luminance + 0.05 for luminance, *_ in hues]
    assert all(max(pair) / min(pair) > 1.2 for pair in itertools.pairwise(lightness)), lightness


COLOURS = """
    const channels = (colour) => { // color-mix() computes to color(srgb 0.1 0.2 0.3)
      const found = colour.match(/[\\d.]+/g).map(Number);
      return colour.startsWith("color(srgb") ? found.map((v, i) => (i < 3 ? v * 255 : v)) : found;
    };
    const luminance = ([r, g, b]) => [r, g, b]
      .map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const contrast = (one, other) => { // WCAG 2.2, 1.4.3
      const [a, b] = [one, other].map((colour) => luminance(channels(colour)));
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    };
"""


def contrasts_that_are_too_low(page: Page) -> list[str]:
    """Visible texts whose contrast with what is behind them is under 4.5, as `text: ratio`."""
    return list(
        page.driver.execute_script(
            COLOURS
            + """
        const behind = (node) => {
          for (; node; node = node.parentElement) {
            const colour = getComputedStyle(node).backgroundColor;
            if (channels(colour).length === 3 || channels(colour)[3] === 1) return colour;
          }
          return "rgb(255, 255, 255)";
        };
        const low = [];
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
          const text = walker.currentNode.textContent.trim();
          const node = walker.currentNode.parentElement;
          if (!text || !node.checkVisibility() || node.closest("svg, :disabled, noscript")) continue;
          const ratio = contrast(getComputedStyle(node).color, behind(node));
          if (ratio < 4.5) low.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)}`);
        }
        return low;
        """
        )
    )
