"""`macaque top`: the console of the development server in a terminal, over the same API."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import msgspec

from macaque.cli.terminal import fail
from mqlight.amqp.text import printable

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

__all__ = ["top"]

ADDRESS = "http://127.0.0.1:9180/"
ROWS = 12
"""The most destinations, and the most messages, that are shown."""
PATIENCE = 30.0
"""Seconds of silence after which the server counts as lost. The server sends data at least every 15 s."""


@click.command()
@click.option("--console", "address", default=ADDRESS, show_default=True, metavar="URL", help="The server's console.")
@click.option("--once", is_flag=True, help="Print one picture, and end.")
def top(address: str, once: bool) -> None:
    """Show the development server live: its destinations, their members, and the newest messages."""
    try:
        from rich.console import Console
        from rich.live import Live
    except ModuleNotFoundError:
        fail(2, "top needs rich: pip install 'macaque-amqp[server]'")
    console = Console(highlight=False)
    try:
        frames = _frames(address)
        picture = _picture(next(frames))
        if once:
            console.print(picture)
            return
        with Live(picture, console=console, screen=True, auto_refresh=False) as live:
            for frame in frames:
                live.update(_picture(frame), refresh=True)
    except KeyboardInterrupt:
        return
    except urllib.error.HTTPError as error:
        with error:
            known = error.code == 401
        fail(2, f"the console at {address} has users: open it in a browser" if known else f"{address}: {error}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        fail(2, f"there is no console at {address} ({reason}); give its address with --console")
    fail(2, f"the console at {address} has ended")


def _frames(address: str) -> Iterator[dict[str, Any]]:
    """Yield the frames of the console, one dict each. Raises OSError and ValueError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{address.rstrip('/')}/api/stream?view=messages", timeout=PATIENCE) as response:
        for line in response:
            if line.startswith(b"data: ") and line != b"data: {}\n":
                yield msgspec.json.decode(line[6:])
    raise OSError("it has ended")


def _picture(frame: dict[str, Any]) -> Group:
    from rich.console import Group
    from rich.text import Text

    totals = frame["totals"]
    head = Text.assemble(
        ("macaque top  ", "bold"),
        f"{totals['rate']:g}/s  messages: {totals['messages']}  connected: {totals['connected']}  ",
        f"to nobody: {totals['nobody']}  refused: {totals['refused']}  expired: {totals['expired']}  ",
        (f"dead letters: {totals['dead']}", "red" if totals["dead"] else ""),
    )
    lines = [Text(f"! {printable(each['text'], 200)}", "yellow") for each in frame["attention"]]
    return Group(head, *lines, _destinations(frame), _messages(frame))


def _destinations(frame: dict[str, Any]) -> Table:
    table = _table("destination", "waiting", "in hand", "in/s", "out/s", "members (messages given)")
    found = [each for each in frame["destinations"] if not each["pattern"].startswith("response/")]
    found.sort(key=lambda each: (-each["waiting"], -each["leaving"]))
    for each in found[:ROWS]:
        members = ", ".join(f"{member['client']} {member['taken']}" for member in each["members"][:6])
        figures = (each["waiting"], each["unsettled"], each["arriving"], each["leaving"])
        _row(table, each["name"], *(f"{figure:g}" for figure in figures), members or "nobody")
    return table


def _messages(frame: dict[str, Any]) -> Table:
    table = _table("age", "state", "topic", "from", "message", "why")
    for each in frame["messages"][:ROWS]:
        age = max(0.0, (frame["now"] - each["at"]) / 1000)
        why = "" if each["why"] is None else each["why"]["text"]
        _row(table, f"{age:.0f} s", each["state"], each["topic"], each["from"], each["preview"], why)
    return table


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, expand=True, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column != "why", overflow="ellipsis")
    return table


def _row(table: Table, *cells: str) -> None:
    from rich.text import Text

    table.add_row(*(Text(printable(cell, 200)) for cell in cells))  # without markup, because names come from outside
