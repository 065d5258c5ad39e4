"""`macaque stream`: call a service that streams its replies, from a shell."""

from __future__ import annotations

import click

from macaque.cli.calling import CallCommand, data_argument, json_option, opened, read_data, timeout_option
from macaque.cli.terminal import broker_option, json_line

__all__ = ["stream"]


@click.command(cls=CallCommand)
@click.argument("topic")
@data_argument
@timeout_option
@click.option("--count", type=click.IntRange(min=1), metavar="COUNT", help="End the stream after COUNT parts.")
@json_option
@broker_option
def stream(topic: str, json: str, timeout: float, count: int | None, as_json: bool, broker: str | None) -> None:
    """Call the service at TOPIC with JSON, and print each part of its reply as one line of JSON.

    JSON is the data of the call, by default null. If it is -, the data is read from standard input.
    """
    data = read_data(json)
    with opened(broker, timeout, as_json=as_json) as client, client.stream(topic, data) as parts:
        for number, part in enumerate(parts, 1):
            click.echo(json_line(part))
            if number == count:
                break
