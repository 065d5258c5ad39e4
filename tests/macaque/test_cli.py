from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import macaque
from processes import ROOT, Server


@pytest.fixture
def app(shared_server: Server) -> Iterator[macaque.Server]:
    app = macaque.Server(broker=shared_server.url)
    app.service("echo")(lambda data: data)
    app.service("fails")(lambda data: macaque.abort(404, "no such task"))
    with app:
        yield app


class Command:
    """`python -m macaque` with arguments, as a shell would run it."""

    def __init__(self, *arguments: str, stdin: str = "", broker: str = "", cwd: Path = ROOT) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "macaque", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
            cwd=cwd,
            env={"PYTHONPATH": str(ROOT), "MACAQUE_BROKER": broker, "LC_ALL": "C.UTF-8"},
        )
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def failed(self, code: int) -> str:
        """The one line that says why."""
        assert (self.code, self.out) == (code, "")
        assert self.err.startswith("macaque: ") and self.err.count("\n") == 1, self.err
        return self.err


# call


@pytest.mark.parametrize(
    "json_text, answer",
    [('{"word": "one", "n": [1, 2]}', {"word": "one", "n": [1, 2]}), ('"grüße"', "grüße"), ("5", 5), ("null", None)],
)
def test_call_prints_the_answer_as_indented_json(
    shared_server: Server, app: macaque.Server, json_text: str, answer: Any
) -> None:
    done = Command("call", "echo", json_text, broker=shared_server.url)
    assert (done.code, done.err) == (0, "")
    assert done.out == json.dumps(answer, indent=4, ensure_ascii=False) + "\n"


def test_call_without_json_sends_null(shared_server: Server, app: macaque.Server) -> None:
    assert Command("call", "echo", broker=shared_server.url).out == "null\n"


def test_call_reads_json_from_standard_input(shared_server: Server, app: macaque.Server) -> None:
    done = Command("call", "echo", "-", "--broker", shared_server.url, stdin='["from", "stdin"]\n')
    assert json.loads(done.out) == ["from", "stdin"]


def test_an_error_of_the_service_is_one_line_and_status_1(shared_server: Server, app: macaque.Server) -> None:
    said = Command("call", "fails", broker=shared_server.url).failed(1)
    assert said == "macaque: no such task (code 404)\n"


def test_a_topic_on_which_nobody_listens_is_one_line_and_status_1(shared_server: Server) -> None:
    assert "Nobody listens on the topic 'nobody'" in Command("call", "nobody", broker=shared_server.url).failed(1)


def test_a_call_without_an_answer_is_one_line_and_status_1(shared_server: Server, app: macaque.Server) -> None:
    app.service("stuck", share_id="offline")(lambda data: data)
    app.connect()
    app.close()
    said = Command("call", "stuck", "--timeout", "0.3", broker=shared_server.url).failed(1)
    assert "No answer from 'stuck' within 0.3 s" in said


def test_an_unreachable_broker_is_one_line_and_status_2() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"amqp://127.0.0.1:{taken.getsockname()[1]}"
        assert url in Command("call", "echo", "1", broker=url).failed(2)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["echo", "{word: one}"], "'{word: one}' is not JSON"),
        (["echo", "[" * 5000], "is not JSON"),
        (["", "1"], "topic is empty"),
        (["echo", "1", "--timeout", "0"], "The timeout 0.0 is not between"),
        (["echo", "1", "--broker", "ftp://x"], "the URL in --broker cannot be used"),
        (["echo", "1", "--broker", "amqp://:x"], "not a valid URL"),
    ],
)
def test_a_call_that_cannot_work_is_one_line_and_status_2(
    shared_server: Server, arguments: list[str], said: str
) -> None:
    assert said in Command("call", *arguments, broker=shared_server.url).failed(2)


@pytest.mark.parametrize("arguments", [["call"], ["call", "echo", "1", "2"], ["call", "t", "--timeout", "x"], ["what"]])
def test_a_command_that_is_not_one_has_status_2_and_says_how_it_is_used(arguments: list[str]) -> None:
    done = Command(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Usage: macaque" in done.err


def test_help_names_the_commands() -> None:
    done = Command("--help")
    assert done.code == 0
    assert "call" in done.out and "run" in done.out


# run

SERVICES = """
import macaque
app = macaque.Server()
number = 5
def make():
    other = macaque.Server()
    other.service("made")(lambda data: "made")
    return other
def broken():
    raise ValueError("not today")
@app.service("listed")
def listed(data):
    return "listed"
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "services.py").write_text(SERVICES)
    (tmp_path / "typo.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "wrong.py").write_text("def (:\n")
    return tmp_path


@pytest.mark.parametrize("name, topic", [("services:app", "listed"), ("services:make", "made")])
def test_run_serves_the_server_or_what_the_factory_makes(
    shared_server: Server, spawn: Any, module: Path, name: str, topic: str
) -> None:
    env = {"MACAQUE_BROKER": shared_server.url}
    worker = spawn(["-m", "macaque", "run", name], ready=f"serves {topic}", env=env, cwd=module)
    with macaque.Client(broker=shared_server.url, timeout=10.0) as client:
        assert client.call(topic, None).result() == topic
    assert worker.stop() == 0
    assert "Traceback" not in worker.log()


@pytest.mark.parametrize(
    "name, said",
    [
        ("services", "is not MODULE:APP"),
        ("services:", "is not MODULE:APP"),
        ("missing:app", "there is no module missing"),
        ("services.sub:app", "there is no module services.sub"),
        ("typo:app", "typo cannot be imported: No module named 'nothing_of_that_name'"),
        ("wrong:app", "wrong cannot be imported: SyntaxError"),
        ("services:missing", "services has no missing"),
        ("services:number", "services:number is of type int"),
        ("services:listed", "services:listed failed: TypeError"),
        ("services:broken", "services:broken failed: ValueError: not today"),
    ],
)
def test_what_run_cannot_serve_is_one_line_and_status_2(module: Path, name: str, said: str) -> None:
    assert said in Command("run", name, cwd=module).failed(2)
