"""What the commands share: how a mistake is said, and how the server is named."""

from __future__ import annotations

import logging
from typing import NoReturn

import click

from mqlight.errors import InvalidArgumentError

__all__ = ["broker_option", "fail", "quiet", "shortened", "unusable_broker"]

broker_option = click.option(
    "--broker", metavar="URL", help="The server. [default: MACAQUE_BROKER, or amqp://127.0.0.1:5672]"
)


def fail(code: int, reason: str) -> NoReturn:
    """End the command with one line on stderr."""
    click.echo(f"macaque: {' '.join(reason.split())}", err=True)
    raise SystemExit(code)


def unusable_broker(broker: str | None, error: InvalidArgumentError) -> NoReturn:
    """The URL of the server is none."""
    source = "MACAQUE_BROKER" if broker is None else "--broker"
    fail(2, f"the URL in {source} cannot be used ({error}); one that can is amqp://127.0.0.1:5672")


def quiet() -> None:
    """What goes wrong is said by the command, in one line."""
    logging.getLogger("mqlight").setLevel(logging.CRITICAL)


def shortened(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= 60 else text[:57] + "...")
