from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import macaque
from commands import Command
from processes import Server

SERVICES = """
import macaque
app = macaque.Server()
few = macaque.Server()
few.config["CREDIT"] = 0
few.service("few")(len)
def make():
    other = macaque.Server()
    other.service("made")(lambda data: "made")
    return other
@app.service("listed")
def listed(data):
    return "listed"
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "services.py").write_text(SERVICES)
    service = "import macaque\napp = macaque.Server()\nclass Own: ...\n@app.service('work')\ndef work(data: {}): ...\n"
    (tmp_path / "undefined.py").write_text(service.format("'Missing'"))
    (tmp_path / "untyped.py").write_text(service.format("Own"))
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
        ("services:few", "macaque: The setting CREDIT 0 is not between 1 and 1000.\n"),
        ("undefined:app", "undefined.py, line 4) is annotated with Missing, which is not defined"),
        ("untyped:app", "untyped cannot be imported: TypeError: The parameter 'data' of the service 'work'"),
    ],
)
def test_what_run_cannot_serve_is_one_line_and_status_2(module: Path, name: str, said: str) -> None:
    assert said in Command("run", name, cwd=module).failed(2)
