from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import Command
from macaque.cli.loading import Target, load, target_of

SERVICES = """
import macaque
first = macaque.Server()
first.service("first")(len)
"""
SECOND = """
second = macaque.Server()
second.service("second")(len)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def topics(text: str) -> list[str]:
    return [service.topic for service in load(text)._registry]


def failure(text: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        load(text)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_a_module_may_be_named_by_its_file_also_in_a_package(folder: Path) -> None:
    (folder / "shop/orders").mkdir(parents=True)
    for name in ("alone.py", "shop/__init__.py", "shop/orders/__init__.py", "shop/orders/services.py"):
        (folder / name).touch()
    assert target_of("alone.py") == Target(folder, "alone", None)
    assert target_of("shop/orders/services.py:app") == Target(folder, "shop.orders.services", "app")
    assert target_of("shop.orders.services") == Target(folder, "shop.orders.services", None)
    (folder / "shop/__init__.py").unlink()
    assert target_of(str(folder / "shop/orders/services.py")) == Target(folder / "shop", "orders.services", None)


@pytest.mark.parametrize("text", ["one_server", "one_server.py", "one_server:first", "./one_server.py:first"])
def test_the_only_server_of_a_module_needs_no_name(folder: Path, text: str) -> None:
    (folder / "one_server.py").write_text(SERVICES)
    assert topics(text) == ["first"]


def test_of_several_servers_the_one_with_the_usual_name_is_meant(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "two_servers.py").write_text(SERVICES + SECOND)
    assert "two_servers has 2 servers: name one, two_servers:first or two_servers:second" in failure(
        "two_servers.py", capsys
    )
    (folder / "usual.py").write_text(SERVICES + SECOND.replace("second =", "app = second ="))
    assert topics("usual") == ["second"]


def test_a_module_without_a_server_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "no_server.py").write_text("number = 5\n")
    assert "no_server has no macaque.Server; name a function" in failure("no_server", capsys)
    assert "no_server has no app; is it the name" in failure("no_server:app", capsys)
    assert "there is no file missing.py in " in failure("missing.py", capsys)
    assert ":app is not MODULE:APP" in failure(":app", capsys)


NAMED = """
import macaque
app = macaque.Server()
number = 5
def broken():
    raise ValueError("not today")
@app.service("listed")
def listed(data):
    return "listed"
"""


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("services")
    (folder / "services.py").write_text(NAMED)
    (folder / "runs.py").write_text(NAMED + "app.run()\n")
    (folder / "typo.py").write_text("import nothing_of_that_name\n")
    (folder / "wrong.py").write_text("def (:\n")
    return folder


@pytest.mark.parametrize(
    "name, said",
    [
        ("services:", "is not MODULE:APP"),
        ("services.pyc.py", "there is no file services.pyc.py in "),
        ("missing:app", "there is no module missing"),
        ("services.sub:app", "there is no module services.sub"),
        ("typo:app", "typo cannot be imported: No module named 'nothing_of_that_name'"),
        (
            "runs:app",
            "runs cannot be imported: RuntimeError: the module calls run() when it is imported; write it below",
        ),
        ("wrong:app", "wrong cannot be imported: SyntaxError"),
        ("services:missing", "services has no missing; did you mean services:app?"),
        ("services:number", "services:number is of type int"),
        ("services:listed", "services:listed failed: TypeError"),
        ("services:broken", "services:broken failed: ValueError: not today"),
    ],
)
def test_a_name_of_no_server_is_one_line_and_status_2(named: Path, name: str, said: str) -> None:
    assert said in Command("run", name, cwd=named).failed(2)
