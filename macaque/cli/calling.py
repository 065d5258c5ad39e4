"""The shared parts of the commands that call services: a client, the data, and the report of an error."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NoReturn

import click
import msgspec

from macaque.cli.terminal import fail, json_line, mistakes, shortened
from macaque.client import TIMEOUT, Client
from macaque.errors import ConnectionLost, MacaqueError, RemoteError
from mqlight.amqp.text import printable

__all__ = ["CallCommand", "data_argument", "json_option", "opened", "read_data", "report", "timeout_option"]

data_argument = click.argument("json", default="null", metavar="[JSON]")
timeout_option = click.option(
    "--timeout", default=TIMEOUT, show_default=True, metavar="SECONDS", help="Wait at most SECONDS."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print errors as JSON objects on stderr.")


class CallCommand(click.Command):
    """A command with data. A number below 0 is data, and no option. As the value of an option it stays where it is."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        for at, (before, word) in enumerate(pairwise(args), 1):
            if re.match(r"-\d", word) and not before.startswith("-") and "--" not in args:
                args = [*args[:at], *args[at + 1 :], "--", word]
        return super().parse_args(context, args)


def read_data(text: str) -> Any:
    """Return the data of a call, which is read from standard input if the argument is `-`."""
    if text == "-":
        text = sys.stdin.read()
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        fail(2, f"{shortened(text)} is not JSON ({error}); a string needs its quotes, as in '\"text\"'")


@contextmanager
def opened(broker: str | None, timeout: float, *, as_json: bool = False) -> Iterator[Client]:
    """Connect a client for the time of a block. An error in the block ends the command with its exit code."""
    with mistakes(broker):
        client = Client(broker=broker, timeout=timeout)
        try:
            with client:
                client.connect(min(timeout, TIMEOUT))
                yield client
        except MacaqueError as error:
            report(error, as_json)


def report(error: MacaqueError, as_json: bool) -> NoReturn:
    """End the command with the error of a call: 2 without a connection, otherwise 1."""
    code = 2 if isinstance(error, ConnectionLost) else 1
    if as_json:
        click.echo(json_line({"error": _members(error)}), err=True)
        raise SystemExit(code)
    if isinstance(error, RemoteError) and error.traceback is not None:
        for line in error.traceback.splitlines():
            click.echo(printable(line, 10_000), err=True)
    fail(code, str(error))


def _members(error: MacaqueError) -> dict[str, Any]:
    """Return the members of an error: for the error of a service those of its reply, else its class as the code."""
    if not isinstance(error, RemoteError):
        return {"code": type(error).__name__, "message": str(error)}
    names = ("code", "message", "type", "details", "retryable", "traceback")
    return {name: value for name in names if (value := getattr(error, name)) is not None}
