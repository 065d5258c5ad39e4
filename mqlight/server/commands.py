"""``python -m mqlight.server destinations``: list and drop the destinations that a server keeps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

from mqlight.amqp.text import printable
from mqlight.server.control import ControlError, Row, ask
from mqlight.server.store import StoreError, WriteError

_COLUMNS = ("number", "messages", "bytes", "subscribers", "forgotten in", "user", "client id", "destination")


@click.group(context_settings={"show_default": False})
def destinations() -> None:
    """List or drop the destinations of a server."""


def _options(command: click.Command) -> click.Command:
    for option in (
        click.Option(["--client"], metavar="ID", help="Only destinations that clients with this id created."),
        click.Option(["--user"], metavar="USER", help="Only destinations that this user created."),
        click.Option(
            ["--data"],
            metavar="DIR",
            required=True,
            type=click.Path(path_type=Path),
            help="The data folder of the server.",
        ),
    ):
        command.params.insert(0, option)
    return command


@_options
@destinations.command("list")
def list_(data: Path, user: str | None, client: str | None) -> None:
    """List destinations with their waiting messages, user and client id."""
    rows = _ask(data, None, user, client, drop=False)
    table = [_COLUMNS, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@_options
@destinations.command()
@click.argument("numbers", nargs=-1, type=click.IntRange(1), metavar="[NUMBER...]")
def drop(data: Path, user: str | None, client: str | None, numbers: tuple[int, ...]) -> None:
    """Delete destinations and their messages.

    Choose the destinations by number, user or client id. A destination with subscribers is kept: stop the subscribers
    first.
    """
    if not numbers and user is None and client is None:
        fail('choose destinations by their numbers (see "destinations list"), --user or --client')
    rows = _ask(data, numbers, user, client, drop=True)
    gone = [row for row in rows if row["dropped"]]
    click.echo(f"dropped {len(gone)} destinations with {sum(row['messages'] for row in gone)} messages")
    left = [f"{row['number']} has subscribers ({row['subscribers']})" for row in rows if not row["dropped"]]
    left += [f"{number} does not exist" for number in sorted(set(numbers) - {row["number"] for row in rows})]
    if left:
        fail(f"not dropped: {', '.join(left)}")


def _ask(data: Path, numbers: tuple[int, ...] | None, user: str | None, client: str | None, *, drop: bool) -> list[Row]:
    try:
        return ask(data, {"drop": drop, "numbers": numbers, "user": user, "client": client})
    except (ControlError, StoreError, WriteError) as error:
        fail(str(error))


def _cells(row: Row) -> tuple[str, ...]:
    life = "-" if row["forget_in"] is None else f"{row['forget_in']:.0f} s"
    user = "-" if row["user"] is None else printable(row["user"])
    figures = (str(row[name]) for name in ("number", "messages", "bytes", "subscribers"))
    return (*figures, life, user, printable(row["client"]) or "-", printable(row["name"]))


def fail(reason: str) -> NoReturn:
    """End the command with one line on stderr and status 2."""
    click.echo(reason, err=True)
    sys.exit(2)
