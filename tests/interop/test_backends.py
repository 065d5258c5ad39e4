"""The back ends of examples/ in Node.js and Java beside the one in Python: each kind answers every word."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import foreign
import macaque
from processes import Process, Server, Spawn, start_server, wait_until
from web.test_page import SENTENCE, Page

SERVICE = "mqlight/sample/wordsuppercase"


def start(command: list[str], url: str) -> Process:
    process = Process(command, {"MACAQUE_BROKER": url})
    try:
        process.expect(" serves ")
    except BaseException:
        process.close()
        raise
    return process


@pytest.fixture(scope="module")
def backends(shared_server: Server) -> Iterator[dict[str, Process]]:
    """One back end of each kind, running."""
    commands = {
        "Python": [sys.executable, "-m", "backend"],
        "Node.js": foreign.node(foreign.NODE_BACKEND, "backend.js"),
        "Liberty for Java": foreign.java_backend(),
    }
    running: dict[str, Process] = {}
    try:
        for kind, command in commands.items():
            running[kind] = start(command, shared_server.url)
        yield running
    finally:
        for process in running.values():
            process.close()


@pytest.fixture
def client(shared_server: Server) -> Iterator[macaque.Client]:
    with macaque.Client(shared_server.url) as client:
        yield client


def kind_of(answer: Any) -> str:
    return str(answer["backend"]).partition(":")[0]


def test_each_kind_of_back_end_answers_every_word(client: macaque.Client, backends: dict[str, Process]) -> None:
    calls = [client.gather(SERVICE, {"word": f"poisson-{number}-é"}, timeout=20, replies=3) for number in range(50)]
    for number, call in enumerate(calls):
        answers = call.result()
        assert {kind_of(answer) for answer in answers} == set(backends)
        assert {answer["word"] for answer in answers} == {f"POISSON-{number}-É"}


@pytest.mark.usefixtures("backends")
@pytest.mark.parametrize("data", [{"word": 7}, {}, "fish", None, [1]])
def test_each_kind_answers_nonsense_with_an_error(client: macaque.Client, data: Any) -> None:
    errors = client.gather(SERVICE, data, timeout=20, replies=3).result()
    assert [(type(error), error.code) for error in errors] == [(macaque.RemoteError, 400)] * 3


@pytest.mark.usefixtures("backends")
@pytest.mark.browser
def test_the_page_shows_a_notification_of_each_kind_for_every_word(
    shared_server: Server, spawn: Spawn, tmp_path: Path
) -> None:
    site = spawn(["-m", "frontend"], env={"MACAQUE_BROKER": shared_server.url, "PORT": "0"})
    page = Page(tmp_path)
    try:
        page.open(site.expect(r"The page is at (http://\S+)")[1])
        page.submit(SENTENCE)
        page.wait_for_words(SENTENCE.upper().split() * 3)
        assert page.progress == "All 11 words are back."
        for kind in ("python", "node", "java"):
            assert sorted(page.texts(f"#words .word[data-kind={kind}] b")) == sorted(SENTENCE.upper().split())
        assert list(page.workers.values()) == [11, 11, 11]
        assert page.failed == [] and page.complaints == []
    finally:
        page.close()


def test_the_node_back_end_comes_back_with_the_server(spawn: Spawn) -> None:
    command = foreign.node(foreign.NODE_BACKEND, "backend.js")
    server = start_server()
    process = spawn(command=command, ready=" serves ", env={"MACAQUE_BROKER": server.url})
    server.kill()
    server.close()
    server = start_server(port=server.port)
    try:
        wait_until(lambda: process.log().count(" serves ") == 2, 20.0, "the second connection")
        with macaque.Client(server.url) as client:
            answers = [client.call(SERVICE, {"word": "fish"}, timeout=10).result() for _ in range(3)]
        assert {kind_of(answer) for answer in answers} == {"Node.js"}
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    finally:
        server.close()


def test_words_wait_for_a_node_back_end_that_was_killed(server: Server, spawn: Spawn) -> None:
    command = foreign.node(foreign.NODE_BACKEND, "backend.js")
    environment = {"MACAQUE_BROKER": server.url}
    with macaque.Client(server.url) as client:
        spawn(command=command, ready=" serves ", env=environment).kill()
        calls = [client.call(SERVICE, {"word": f"w{number}"}, timeout=30) for number in range(20)]
        spawn(command=command, ready=" serves ", env=environment)
        assert [call.result()["word"] for call in calls] == [f"W{number}" for number in range(20)]
