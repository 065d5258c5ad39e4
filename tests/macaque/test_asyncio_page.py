"""The programs of docs/asyncio.md run."""

from __future__ import annotations

import re
from pathlib import Path

import macaque
from processes import ROOT, Server, Spawn, wait_until

PAGE = (ROOT / "docs/asyncio.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"(?ms)^<!-- checked: (\S+) -->\n```python\n(.*?)^```$", PAGE))


def test_every_program_of_the_page_is_checked() -> None:
    assert list(BLOCKS) == ["await", "service.py"]
    assert PAGE.count("```python") == len(BLOCKS)


def test_the_program_of_the_page_awaits_its_calls(server: Server, spawn: Spawn) -> None:
    app = macaque.Server(broker=server.url)
    app.service("invoices/pay")(lambda invoice: {"paid": invoice["amount"]})
    with app:
        process = spawn(["-c", BLOCKS["await"]], env={"MACAQUE_BROKER": server.url})
        assert process.wait(20) == 0
    assert process.log() == f"{{'paid': 7}}\n{[{'paid': amount} for amount in range(10)]}\n"


def test_the_services_of_the_page_answer(server: Server, spawn: Spawn, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(BLOCKS["service.py"])
    spawn(
        ["-m", "macaque", "run", "service:app"],
        ready="serves invoices/pay-all",
        env={"MACAQUE_BROKER": server.url},
        cwd=tmp_path,
    )
    with macaque.Client(broker=server.url) as client:
        invoices = [{"amount": amount} for amount in range(20)]
        wait_until(lambda: client.call("invoices/pay", {"amount": 1}).exception() is None, what="the service")
        assert client.call("invoices/pay-all", invoices).result() == [{"paid": amount} for amount in range(20)]
