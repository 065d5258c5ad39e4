"""`cf push`, as far as that goes without a Cloud Foundry: what it uploads, installs, sets and starts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml

from environments import bare_environ, copy_tree, install, make_environment
from processes import ROOT, Process, Server, wait_until
from visitors import HttpVisitor

APPS: dict[str, dict[str, Any]] = {
    app["name"]: app
    for manifest in ("manifest.yml", "examples/todo/manifest.yml")
    for app in yaml.safe_load((ROOT / manifest).read_text(encoding="utf-8"))["applications"]
}
TOKEN = "the-token-of-the-tests-0123456789"
HOST = "fishalive-frontend-brave-fish.apps.example.com"


@pytest.fixture(scope="module")
def droplet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The application's folder and its Python, after the buildpack has staged it."""
    folder = tmp_path_factory.mktemp("droplet")
    app = copy_tree(folder / "app", ROOT / ".cfignore")
    python = make_environment(folder / "deps")
    install(python, "-r", "requirements.txt", cwd=app)
    return app, python


@pytest.fixture
def push(droplet: tuple[Path, Path], server: Server) -> Iterator[Any]:
    """Start an application by the command of its manifest: `push("fishalive-backend")`."""
    folder, python = droplet
    started: list[Process] = []
    credentials = {"url": server.url}

    def start(name: str) -> Process:
        (service,) = APPS[name]["services"]
        bound = {"user-provided": [{"name": service, "tags": [], "credentials": credentials}]}
        environ = {
            "PATH": os.pathsep.join([str(python.parent), os.environ["PATH"]]),
            "PYTHONPATH": str(folder.parent),  # the buildpack's, where nothing is; the tests' own stays out
            "PORT": "0",
            "VCAP_APPLICATION": json.dumps({"application_name": name, "application_uris": [HOST], "uris": [HOST]}),
            "VCAP_SERVICES": json.dumps(bound),
            **{variable: value.replace("((token))", TOKEN) for variable, value in APPS[name].get("env", {}).items()},
        }
        process = Process(["bash", "-c", APPS[name]["command"]], environ, folder, base=bare_environ())
        started.append(process)
        return process

    yield start
    for process in started:
        process.close()


def test_the_pushed_page_sends_a_sentence_to_the_pushed_back_end_and_gets_it_back(push: Any) -> None:
    backend, frontend = push("fishalive-backend"), push("fishalive-frontend")
    port = frontend.expect(r"The page is at http://\S+?:(\d+)/")[1]
    routed = {"Host": HOST, "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": HOST}

    def ask(path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json", **routed})
        try:
            response = urlopen(request, timeout=30)
        except HTTPError as error:
            response = error
        with response:
            return response.status, response.read()

    status, page = ask("/")
    assert status == 200 and b"<h1>" in page
    wait_until(lambda: ask("/readyz")[0] == 200, what="the front end's connection to the bound service")
    backend.expect("serv(es|ing) ")
    status, body = ask("/rest/words", {"words": "once I caught"})
    assert (status, json.loads(body)["msgCount"]) == (200, 3)
    replies = [json.loads(ask("/rest/wordsuppercase?wait=20")[1]) for _ in range(3)]
    assert sorted(reply["word"] for reply in replies) == ["CAUGHT", "I", "ONCE"]
    for app in (backend, frontend):
        assert app.stop(10) == 0, app.log()
        assert "Traceback" not in app.log()


def test_the_pushed_todo_list_asks_for_its_token(push: Any) -> None:
    worker, gateway = push("todo-worker"), push("todo-gateway")
    port = gateway.expect(r"The gateway is at http://\S+?:(\d+)/")[1]
    worker.expect("serves todo/changes")
    visitor = HttpVisitor(f"http://127.0.0.1:{port}", timeout=30)
    page = visitor.get("/", Host=HOST)
    assert page.status == 200 and b"<title>Todo</title>" in page.body
    assert visitor.get("/todo/list", Host=HOST).status == 401
    tasks = visitor.get("/todo/list", Host=HOST, Authorization=f"Bearer {TOKEN}")
    assert (tasks.status, tasks.body) == (200, [])
    for app in (worker, gateway):
        assert app.stop(10) == 0, app.log()
        assert "Traceback" not in app.log()


def test_the_runtime_is_a_python_that_the_project_claims() -> None:
    version = re.fullmatch(r"python-(3\.\d+)\.x\n", (ROOT / "runtime.txt").read_text(encoding="utf-8"))
    assert version
    assert f'"Programming Language :: Python :: {version[1]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
