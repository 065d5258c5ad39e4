"""Type checkers know the types of a user's program: mypy --strict accepts it, and finds its mistakes."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from processes import ROOT

PROGRAM = """
from dataclasses import dataclass
from typing import Any

from typing_extensions import assert_type

import macaque

app = macaque.Server()
orders = macaque.Blueprint("orders")


@dataclass
class Order:
    total: int


@app.service("shop/+/paid", share_id="shop")
def paid(order: Order, request: macaque.Request) -> list[str]:
    assert_type(request.remaining(), float | None)
    assert_type(macaque.request.uuid, str)
    with macaque.detached():
        return [request.topic]


@orders.service("cancel")
def cancel(order: Any) -> None: ...


@app.before_request
def authenticate() -> None:
    if macaque.request.properties.get("token") != "secret":
        macaque.abort(401, "no")


@app.after_request
def replace(reply: macaque.Reply) -> macaque.Reply:
    return reply


@app.after_request
def note(reply: macaque.Reply) -> None:
    print(reply.error)


@app.errorhandler(KeyError)
def missing(error: KeyError) -> dict[str, str]:
    return {"missing": str(error)}


app.register_blueprint(orders, topic_prefix="shop")
app.config["CREDIT"] = 10
assert_type(paid(Order(1), macaque.request), list[str])


def done(order: Order) -> None: ...


async def main() -> None:
    async with macaque.Client() as client:
        assert_type(await client.call("a", 1), Any)
        assert_type(await client.call("a", 1, returns=Order), Order)
        assert_type(await client.call("a", 1, returns=list[Order]), list[Order])
        assert_type(await client.call("a", 1, returns=Order | None), Any)
        call = client.call("a", 1, returns=Order)
        assert_type(call, macaque.Call[Order])
        assert_type(call.result(), Order)
        assert_type(client.call("a", 1, done, returns=Order), macaque.Call[Order])
        client.call("a", 1, lambda order: print(order.total), returns=Order)
        plain: macaque.Call = client.call("a", 1)
        assert_type(plain.result(), Any)
        assert_type(client.notify("a", 1).result(), None)
        assert_type(client.gather("a", 1).result(), list[Any])
        assert_type(client.gather("a", 1, returns=Order).result(), list[Order | macaque.RemoteError])
        client.gather("a", 1, done, returns=Order)
"""

WRONG = """
import macaque

app = macaque.Server()


@app.before_request
def before(data: int) -> None: ...


@app.after_request
def after(reply: macaque.Reply) -> int:
    return 1


with macaque.Client() as client:
    total: int = client.call("a", 1, returns=str).result()
    client.call("a", 1, timeout="5")
"""


PAGES = ["types.md", "requests.md"]


def programs(page: str) -> dict[str, str]:
    """The Python files of a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return dict(re.findall(r"(?ms)^<!-- checked: file (\S+\.py) -->\n```python\n(.*?)^```$", text))


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """The lines in which mypy --strict finds an error, for each file that has some. One run for all is quick."""
    folder = tmp_path_factory.mktemp("programs")
    files = {"program.py": PROGRAM, "wrong.py": WRONG}
    for page in PAGES:
        files |= programs(page)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--python-version=3.10", *files]
    environ = {**os.environ, "MYPYPATH": str(ROOT), "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache/user")}
    printed = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, timeout=240).stdout
    assert "Found" in printed, printed
    found: dict[str, list[int]] = {}
    for name, line in re.findall(r"^([^:]+):(\d+): error", printed, re.MULTILINE):
        found.setdefault(name, []).append(int(line))
    return found


def test_mypy_accepts_a_program_and_knows_its_types(wrong: dict[str, list[int]]) -> None:
    assert "program.py" not in wrong, wrong


def test_mypy_finds_mistakes(wrong: dict[str, list[int]]) -> None:
    lines = WRONG.splitlines()
    assert {lines[line - 1].strip() for line in wrong["wrong.py"]} >= {
        "@app.before_request",
        "@app.after_request",
        'total: int = client.call("a", 1, returns=str).result()',
        'client.call("a", 1, timeout="5")',
    }


@pytest.mark.parametrize("page", PAGES)
def test_mypy_accepts_the_programs_of_a_page(page: str, wrong: dict[str, list[int]]) -> None:
    assert programs(page)
    assert [name for name in programs(page) if name in wrong] == []
