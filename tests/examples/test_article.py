"""The article's listings, run as they are printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from processes import ROOT, Server

GROCERIES = {"title": "Buy groceries", "done": False, "description": "Milk, Cheese, Pizza, Fruit, Tylenol", "id": 1}
PYTHON = {
    "title": "Learn Python",
    "done": False,
    "description": "Need to find a good Python tutorial on the web",
    "id": 2,
}


@pytest.mark.parametrize(
    "service, caller, answer",
    [
        ("todo/step1.py", "todo/step1_client.py", {"tasks": [GROCERIES, PYTHON]}),
        ("todo/step2.py", "todo/step2_client.py", {"task": [GROCERIES]}),
    ],
)
def test_the_caller_prints_what_the_article_shows(
    server: Server, spawn: Any, service: str, caller: str, answer: Any
) -> None:
    env = {"MACAQUE_BROKER": server.url}
    worker = spawn([f"examples/{service}"], ready="serves /todo/api/v1.0/tasks", env=env)
    client = spawn([f"examples/{caller}"], env=env)
    assert client.wait(20) == 0, client.log()
    assert json.loads(client.log()) == answer
    assert client.log() == json.dumps(json.loads(client.log()), indent=4) + "\n"
    assert worker.stop() == 0
    assert "Traceback" not in worker.log()


@pytest.mark.parametrize("status", [0, 3])
def test_the_status_that_a_callback_gives_to_exit_is_that_of_the_process(
    server: Server, spawn: Any, tmp_path: Path, status: int
) -> None:
    worker = spawn(["examples/todo/step1.py"], ready="serves", env={"MACAQUE_BROKER": server.url})
    text = (ROOT / "examples/todo/step1_client.py").read_text().replace("exit(0)", f"exit({status})")
    (tmp_path / "caller.py").write_text(text)
    client = spawn([str(tmp_path / "caller.py")], env={"MACAQUE_BROKER": server.url})
    assert client.wait(20) == status, client.log()
    assert worker.returncode is None


def test_a_caller_whose_callback_does_not_exit_ends_after_it(server: Server, spawn: Any, tmp_path: Path) -> None:
    spawn(["examples/todo/step1.py"], ready="serves", env={"MACAQUE_BROKER": server.url})
    text = (ROOT / "examples/todo/step1_client.py").read_text().replace("    exit(0)\n", "")
    (tmp_path / "caller.py").write_text(text)
    client = spawn([str(tmp_path / "caller.py")], env={"MACAQUE_BROKER": server.url})
    assert client.wait(20) == 0, client.log()
    assert json.loads(client.log()) == {"tasks": [GROCERIES, PYTHON]}


def test_a_caller_whom_nobody_answers_says_so_once_and_ends(server: Server, spawn: Any) -> None:
    client = spawn(["examples/todo/step1_client.py"], env={"MACAQUE_BROKER": server.url})
    assert client.wait(20) == 0
    assert client.log().splitlines() == [
        "the call of '/todo/api/v1.0/tasks' failed: No service listens on the topic '/todo/api/v1.0/tasks': "
        "start it, or check the spelling."
    ]
