"""The spread of work in a real Chromium."""

from __future__ import annotations

import pytest

import macaque
from console.browser import Browser, send
from console.conftest import Site, serve
from processes import Process, Spawn, wait_until

pytestmark = pytest.mark.browser


WORKER = """
import time
import macaque
app = macaque.Server()
@app.service("work", share_id="workers", credit=1)
def work(data):
    time.sleep(0.05)
    return data
app.run()
"""


def test_work_spreads_over_workers_and_moves_when_one_is_killed(site: Site, browser: Browser, spawn: Spawn) -> None:
    def start() -> Process:
        return serve(spawn, site, WORKER)

    def counts() -> list[int]:
        return [int(each.replace(",", "")) for each in browser.texts("#receiving [data-number] .member .count")]

    first = start()
    browser.open(site.console)
    with macaque.Client(site.url, "web") as client:
        for i in range(5):
            client.call("work", i).result()
        wait_until(lambda: counts() == [5], what="the work of one worker")
        start(), start()
        wait_until(lambda: len(counts()) == 3, what="three members")
        for call in [client.call("work", i) for i in range(30)]:
            call.result()
        wait_until(lambda: sum(counts()) == 35 and min(counts()) >= 5, what="work for each")
        calls = [client.call("work", i) for i in range(20)]
        first.kill()
        wait_until(lambda: len(counts()) == 2, what="two members")
        for call in calls:
            call.result()
    browser.wait_for("#messages .state", "delivered")


def test_purging_names_what_is_lost_and_asks(site: Site, browser: Browser, spawn: Spawn) -> None:
    process = spawn(["-c", WORKER], env={"MACAQUE_BROKER": site.url})
    browser.open(f"{site.console}destinations")
    browser.wait_for(".table", "share workers")
    process.kill()
    wait_until(lambda: not site.visitor().get("api/route?topic=work").body["destinations"][0]["members"])
    for _ in range(3):
        send(browser, site, "work")
    browser.wait_for("#attention", "share:workers:work has 3 messages and no member")
    browser.click("#attention a")
    browser.wait_for(".pane .deeds", "Purge 3 messages")
    assert len(browser.texts(".peek tbody tr")) == 3
    browser.click(".pane .deeds button")
    browser.wait_for("dialog[open]", "3 messages that wait in share:workers:work will be lost")
    browser.click("dialog[open] .danger")
    browser.wait_for(".pane", "Nothing waits here")
    browser.wait_for("#toast", "3 messages purged from share:workers:work")
    browser.click("#toast button")
    browser.wait_for("#toast", "3 messages are back")
    wait_until(lambda: len(browser.texts(".peek tbody tr")) == 3)
