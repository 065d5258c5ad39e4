"""The parts that the commands share: error messages, output, and options."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

from macaque.broker import resolve
from mqlight.amqp.text import nearest, printable
from mqlight.errors import InvalidArgumentError

__all__ = [
    "Commands",
    "broker_option",
    "check_broker",
    "fail",
    "indented_json",
    "json_line",
    "mistakes",
    "print_json",
    "quiet",
    "sendable",
    "reload_dir_option",
    "shortened",
    "table",
    "unusable_broker",
    "workers_option",
]


class Commands(click.Group):
    """A group that answers a misspelt command with the nearest one, and Ctrl-C with one line."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            fail(130, "interrupted")

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            near = nearest(args[0], self.commands) if args else None
            if near is not None and "mean" not in error.message:
                raise click.UsageError(f"{error.message} Did you mean {near!r}?", error.ctx) from None
            raise


broker_option = click.option(
    "--broker", metavar="URL", help="The URL of the broker. [default: MACAQUE_BROKER, or amqp://127.0.0.1:5672]"
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar="COUNT",
    help="Run COUNT processes.",
)
reload_dir_option = click.option(
    "--reload-dir",
    "reload_dirs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    metavar="PATH",
    help="Watch the files below PATH. May be given several times. [default: the current folder and that of MODULE]",
)


def fail(code: int, reason: str) -> NoReturn:
    """End the command with one line on stderr."""
    click.echo(f"macaque: {printable(' '.join(reason.split()), 10_000)}", err=True)
    raise SystemExit(code)


def unusable_broker(broker: str | None, error: InvalidArgumentError) -> NoReturn:
    """End the command, because the URL of the broker cannot be used."""
    source = "MACAQUE_BROKER" if broker is None else "--broker"
    fail(2, f"the URL in {source} cannot be used ({error}); one that can is amqp://127.0.0.1:5672")


def check_broker(broker: str | None) -> None:
    """End the command if the URL in --broker cannot be used."""
    if broker is not None:
        try:
            resolve(broker, None, os.environ)
        except InvalidArgumentError as error:
            unusable_broker(broker, error)


@contextmanager
def mistakes(broker: str | None) -> Iterator[None]:
    """End the command with one line for an invalid argument in the block: of the broker, or of another option.

    The log of the library is silent.
    """
    quiet()
    try:
        yield
    except InvalidArgumentError as error:
        unusable_broker(broker, error)
    except (TypeError, ValueError) as error:
        fail(2, str(error))


def quiet() -> None:
    """Silence the log of the library: the command reports errors itself."""
    logging.getLogger("mqlight").setLevel(logging.CRITICAL)


def sendable(data: Any) -> Any:
    """Return data in a form that JSON can carry. A client that knows only AMQP may send other values."""
    try:
        msgspec.json.encode(data)
    except (TypeError, ValueError):
        return repr(data)
    return data


def print_json(value: Any) -> None:
    """Print a value as indented JSON, without control codes for a terminal."""
    click.echo(indented_json(value))


def indented_json(value: Any) -> str:
    """Return a value as indented JSON, without control codes for a terminal."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=4).decode()
    return "\n".join(map(_escaped, text.split("\n")))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns below their heads, which are bold on a terminal."""
    cells = [[printable(cell, 200) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for row in [list(heads), *cells]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(click.style(line, bold=True) if row == list(heads) else line)


def json_line(value: Any) -> str:
    """Return a value as one line of JSON, without control codes for a terminal."""
    return _escaped(msgspec.json.encode(value).decode())


def _escaped(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(
        character if printable(character) == character else json.dumps(character)[1:-1] for character in line
    )


def shortened(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= 60 else text[:57] + "...")
