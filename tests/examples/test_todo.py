"""The tests of examples/todo over each transport, with real processes. The tutorial runs them in memory."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM
from types import ModuleType
from typing import Any

import pytest

from todo_service import FOLDER, TRANSPORTS, System


def load(name: str) -> ModuleType:
    """Import a file of the example."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


load("todo")  # test_todo imports it
tests = load("test_todo")
del sys.modules["todo"], sys.modules["test_todo"]

globals().update({name: test for name, test in vars(tests).items() if name.startswith("test_")})


@pytest.fixture(scope="module", params=TRANSPORTS)
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("todo") / "todo.db") as system:
        TRANSPORTS[request.param](system)
        yield system


@pytest.fixture
def client(system: System) -> Iterator[Any]:
    """A client of services that have no tasks."""
    system.empty()
    with system.connect() as client:
        yield client


def test_a_killed_worker_loses_no_task_and_makes_none_twice(tmp_path: Path) -> None:
    with System(tmp_path / "todo.db") as system:
        TRANSPORTS["amqp"](system)
        with system.connect() as client:
            calls = [client.call("todo/create", {"title": f"Task {number}"}) for number in range(300)]
            calls[50].result()
            system.workers[0].kill()
            created = [call.result() for call in calls]
            found = list(pages(client))
    assert [task["title"] for task in created] == [f"Task {number}" for number in range(300)]
    assert found == sorted(created, key=lambda task: task["id"])


def pages(client: Any) -> Iterator[dict[str, Any]]:
    """All tasks, page by page."""
    after = 0
    while page := client.call("todo/list", {"after": after}).result():
        yield from page
        after = page[-1]["id"]


def test_a_worker_that_stops_ends_its_streams(tmp_path: Path) -> None:
    with System(tmp_path / "todo.db") as system:
        TRANSPORTS["amqp"](system)
        with system.connect() as client, client.stream("todo/changes", None) as summaries:
            assert next(summaries) == {"tasks": 0, "done": 0}
            for worker in system.workers:
                worker.signal(SIGTERM)
            assert list(summaries) == []
        for worker in system.workers:
            assert worker.wait() == 0
            assert "Traceback" not in worker.log()
