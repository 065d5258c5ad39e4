"""The log of a program with services: its start, aborted requests, and one line for any text from outside."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

import macaque
from macaque.logs import log_to_stderr
from processes import Server, Spawn

SERVICES = """
import macaque
app = macaque.Server()
@app.service("listed")
def listed(data):
    macaque.abort(404, "no\\x1b[31m\\nsuch task")
if __name__ == "__main__":
    app.run()
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "services.py").write_text(SERVICES)
    return tmp_path


def call(server: Server) -> None:
    with macaque.Client(server.url, timeout=10) as client:
        assert client.call("listed", 1).exception().code == 404


def test_run_says_what_it_serves_and_where_without_a_word_about_logging(
    shared_server: Server, spawn: Spawn, module: Path
) -> None:
    url = shared_server.url.replace("amqp://", "amqp://fish:secret@")
    worker = spawn(["services.py"], env={"MACAQUE_BROKER": url}, cwd=module, ready=r"serves listed at amqp://127")
    call(shared_server)
    aborted = r"listed aborted the request \S+ from \S+: no\\x1b\[31m\\nsuch task \(code 404\)$"
    worker.expect(rf"INFO macaque.worker: {aborted}")
    assert worker.stop() == 0
    assert "secret" not in worker.log() and "DEBUG" not in worker.log()


@pytest.mark.parametrize(("options", "more"), [(["--debug"], True), (["--log-level", "debug"], True), ([], False)])
def test_debug_logs_a_line_for_each_request(
    shared_server: Server, spawn: Spawn, module: Path, options: list[str], more: bool
) -> None:
    command = ["-m", "macaque", "run", "services:app", "--log-format", "json", *options]
    worker = spawn(command, env={"MACAQUE_BROKER": shared_server.url}, cwd=module, ready="serves listed")
    call(shared_server)
    worker.expect("aborted the request")
    assert worker.stop() == 0
    lines: list[dict[str, Any]] = [json.loads(line) for line in worker.log().splitlines()]
    assert any("listed worked on the request" in line["message"] for line in lines) is more


def test_an_application_that_has_set_up_logging_keeps_it(caplog: pytest.LogCaptureFixture) -> None:
    root, ours = list(logging.getLogger().handlers), list(logging.getLogger("macaque").handlers)
    log_to_stderr("debug")
    assert logging.getLogger().handlers == root and logging.getLogger("macaque").handlers == ours
