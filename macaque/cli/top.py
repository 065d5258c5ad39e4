"""`macaque top`: the console of the development server in a terminal, over the same API."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

import click
import msgspec

from macaque.cli.terminal import fail
from mqlight.amqp.text import printable

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

__all__ = ["top"]

ADDRESS = "http://127.0.0.1:9180/"
NEAR = {"127.0.0.1", "::1", "localhost"}
ROWS = 12
"""The most destinations, and the most messages, that are shown."""
PATIENCE = 30.0
"""Seconds of silence after which the server counts as lost. The server sends data at least every 15 s."""


@click.command()
@click.option(
    "--console", "address", metavar="URL",
    help=f"The server's console; http://USER:PASSWORD@HOST:PORT logs in. [default: MACAQUE_CONSOLE, or {ADDRESS}]",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Print the tables once, and end.")
def top(address: str | None, once: bool) -> None:
    """Show the development server live: its destinations, their members, and the newest messages."""
    try:
        from rich.console import Console
        from rich.live import Live
    except ModuleNotFoundError:
        fail(2, "top needs rich: pip install 'macaque-amqp[server]'")
    console, site = Console(highlight=False), _Site(address or os.environ.get("MACAQUE_CONSOLE") or ADDRESS)
    try:
        with site.logged_in():
            frames = site.frames()
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
            reason = _reason(error)
        fail(2, f"the console at {site.address} refused: {reason}")
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", None) or error)
        fail(2, f"there is no console at {site.address} ({reason}); give its address with --console")
    fail(2, f"the console at {site.address} has ended")


class _Site:
    """A console, and the login there. The URL may have a user and a password."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        self.address = urlunsplit((parts.scheme, host, parts.path.rstrip("/") + "/", "", ""))
        """The URL without the user and the password."""
        self._user = unquote(parts.username or "")
        self._password = unquote(parts.password or "")
        if self._user and parts.scheme != "https" and parts.hostname not in NEAR:
            fail(2, f"a password goes to {host} over https only, or through a tunnel to this machine")
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar())
        )

    @contextmanager
    def logged_in(self) -> Iterator[None]:
        """Log in if the console asks for it, and log out at the end.

        Raises:
            OSError: There is no console, or it refused the login.
            ValueError: The URL is invalid, or leads to something else.
        """
        with self._open("api/session") as response:
            session = msgspec.json.decode(response.read(), type=dict[str, Any])
        if not session.get("login"):
            yield
            return
        if not self._user and not sys.stdin.isatty():
            reason = "give http://USER:PASSWORD@HOST:PORT/ with --console or in MACAQUE_CONSOLE"
            fail(2, f"the console at {self.address} has users: {reason}")
        user = self._user or click.prompt("User", err=True)
        password = self._password or click.prompt("Password", hide_input=True, err=True)
        self._open("api/login", {"user": user, "password": password}).close()
        with self._open("api/session") as response:
            token = msgspec.json.decode(response.read(), type=dict[str, Any]).get("token", "")
        try:
            yield
        finally:
            with suppress(OSError):
                self._open("api/logout", {}, token).close()

    def _open(self, path: str, body: dict[str, str] | None = None, token: str = "page") -> Any:
        data = None if body is None else msgspec.json.encode(body)
        headers = {} if data is None else {"Content-Type": "application/json", "X-Console": token}
        return self._opener.open(urllib.request.Request(self.address + path, data, headers), timeout=PATIENCE)

    def frames(self) -> Iterator[dict[str, Any]]:
        """Yield the frames of the console, one dict each. Raises OSError and ValueError."""
        with self._open("api/stream?view=messages") as response:
            for line in response:
                if line.startswith(b"data: ") and line != b"data: {}\n":
                    yield msgspec.json.decode(line[6:])
        raise OSError("it has ended")


def _reason(error: urllib.error.HTTPError) -> str:
    """Return the sentence in the console's answer."""
    try:
        return str(msgspec.json.decode(error.read(), type=dict[str, Any])["error"])
    except (ValueError, KeyError, OSError):
        return str(error)


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
