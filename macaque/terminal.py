"""What the commands share: how a mistake is said, and how the server is named."""

from __future__ import annotations

import json
import logging
from typing import Any, NoReturn

import click
import msgspec

from mqlight.errors import InvalidArgumentError
from mqlight.wire.text import nearest, printable

__all__ = ["Commands", "broker_option", "fail", "json_line", "print_json", "quiet", "shortened", "unusable_broker"]


class Commands(click.Group):
    """A group that answers a misspelt command with the nearest one."""

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            near = nearest(args[0], self.commands) if args else None
            if near is not None and "mean" not in error.message:
                raise click.UsageError(f"{error.message} Did you mean {near!r}?", error.ctx) from None
            raise


broker_option = click.option(
    "--broker", metavar="URL", help="The server. [default: MACAQUE_BROKER, or amqp://127.0.0.1:5672]"
)


def fail(code: int, reason: str) -> NoReturn:
    """End the command with one line on stderr."""
    click.echo(f"macaque: {printable(' '.join(reason.split()), 10_000)}", err=True)
    raise SystemExit(code)


def unusable_broker(broker: str | None, error: InvalidArgumentError) -> NoReturn:
    """The URL of the server is none."""
    source = "MACAQUE_BROKER" if broker is None else "--broker"
    fail(2, f"the URL in {source} cannot be used ({error}); one that can is amqp://127.0.0.1:5672")


def quiet() -> None:
    """What goes wrong is said by the command, in one line."""
    logging.getLogger("mqlight").setLevel(logging.CRITICAL)


def print_json(value: Any) -> None:
    """Print a value as indented JSON, in which a terminal finds no commands."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=4).decode()
    click.echo("\n".join(map(_escaped, text.split("\n"))))


def json_line(value: Any) -> str:
    """Return a value as one line of JSON, in which a terminal finds no commands."""
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
