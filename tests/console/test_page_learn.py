"""The exercises in a real Chromium, followed as a person would."""

from __future__ import annotations

import shlex

import pytest

from console.browser import Browser, commands, run_in_terminal
from console.conftest import Site
from processes import Spawn, wait_until

pytestmark = pytest.mark.browser


def test_an_empty_console_says_what_to_do_next(site: Site, browser: Browser) -> None:
    browser.open(site.console)
    browser.wait_for(".empty", "Nobody is connected yet")
    assert site.url in browser.text(".empty")
    for page in ("calls", "destinations", "clients", "dead", "topics"):
        browser.click(f".tabs a[href='/{page}']")
        wait_until(lambda: browser.text(".page .empty"), what=f"the empty page {page}")
        assert browser.has(".page .empty a[href='/learn']"), page


def test_the_exercises_can_be_followed_and_notice_it(site: Site, browser: Browser, spawn: Spawn) -> None:
    browser.open(f"{site.console}learn")

    def done(exercise: str) -> None:
        browser.wait_for(f"#learn-{exercise} .tick", "Done", 15)

    service, call = commands(browser, "hello")
    first = run_in_terminal(spawn, service)
    wait_until(lambda: site.visitor().get("api/route?topic=learn/upper").body["destinations"], 20)
    called = run_in_terminal(spawn, call)
    assert called.wait(20) == 0 and "HELLO" in called.log()
    done("hello")

    service, calls = commands(browser, "offload")
    second = run_in_terminal(spawn, service)
    wait_until(lambda: site.visitor().get("api/route?topic=learn/upper").body["destinations"][0]["members"] == 2, 20)
    assert run_in_terminal(spawn, calls).wait(30) == 0
    done("offload")

    [call] = commands(browser, "wrong")
    assert run_in_terminal(spawn, call).wait(20) != 0
    done("wrong")

    first.close()
    second.close()
    [call] = commands(browser, "life")
    assert run_in_terminal(spawn, call).wait(20) != 0
    done("life")
    assert shlex.split(call)
    browser.click("#learn-life .learned a")
    browser.wait_for(".row .why", "Its time to live of 2 s ran out while it waited in the share learn")
